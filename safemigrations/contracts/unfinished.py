"""Backfills that aren't finished: what they read and fill stays as it is until they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from ..data import Data
from ..errors import NOTHING_WAS_CHANGED, to_type
from ..plans.claims import Claim, Kind
from ..plans.steps import Backfill, Plan, Step
from ..postgres.names import Name
from ..postgres.tables import is_table
from ..running.backfill import progress
from ..running.backfill.later import is_left, may_leave
from ..running.backfill.order import is_about, order_matters
from ..running.backfill.progress import does
from ..running.backfill.table import fetch
from ..running.run import Run
from .held import Left, held_by


class Unfinished(Left, Data):
    """A backfill that isn't finished."""

    number: int
    label: str
    app_label: str
    migration: str
    step: Backfill
    has_table: bool  # is there a table with the name that it knows?
    is_coming: bool = False  # is an earlier migration of the same run going to leave it?

    def __str__(self) -> str:
        return self.label

    def is_in(self, plan: Iterable[Step]) -> bool:
        """Does the plan itself run or continue this backfill?"""
        return any(isinstance(step, Backfill) and does(step) == does(self.step) for step in plan)

    def needs_one_of(self, claims: Iterable[Claim]) -> bool:
        """Does it read or fill one of these tables, or a table that contains one of them?

        Nobody knows what a function reads, nor the present name of a table that was renamed meanwhile: then the answer
        is yes.
        """
        tables = {claim.quoted_table for claim in claims if claim.table}
        return bool(tables) and (not self.has_table or self.step.function is not None or self._names(tables))

    def needs(self, claim: Claim) -> bool:
        """Does it read or fill this table or column?"""
        if not self.needs_one_of([claim]):
            return False
        of_column = claim.kind in (Kind.COLUMN, Kind.TWIN)
        return not of_column or self.step.function is not None or Name.of(claim.name) in self._sql

    def comes_before(self, step: Backfill, *, is_left: bool) -> bool:
        """Has it to be finished before the step begins? One that `is_left` for later waits by itself.

        Two of the same that fill each row again can't be told apart while both wait.
        """
        if is_left:
            return does(self.step) == does(step) and not step.clears
        return order_matters(self.step, step)

    def fills_what_is_in(self, plan: Plan) -> bool:
        return is_about(plan, self.step)

    def _names(self, tables: Iterable[Name]) -> bool:
        return any(table.bare in self._sql for table in tables)

    @property
    def _sql(self) -> str:
        key = " ".join(self.step.key)
        return f"{self.step.table} {key} {self.step.assign} {self.step.guard}"


def backfills(connection: BaseDatabaseWrapper) -> list[Unfinished]:
    found = [(row, row.backfill) for row in progress.rows(connection, status__in=progress.UNFINISHED)]
    tables = {table: bool(fetch(connection, is_table(table))) for table in {step.table for _, step in found}}
    return [
        Unfinished(
            number=row.pk,
            label=str(row),
            app_label=row.app_label,
            migration=row.migration,
            step=step,
            has_table=tables[step.table],
        )
        for row, step in found
    ]


def coming(
    connection: BaseDatabaseWrapper, run: Run, plan: Plan, *, current: Callable[[Backfill], Backfill]
) -> list[Unfinished]:
    """Those of the plan that the run is going to leave for later; `current` gives a step the current names."""
    if run.migration is None:
        return []
    return [
        Unfinished(
            number=0,
            label=step.why,
            app_label=run.migration.app_label,
            migration=run.migration.name,
            step=step,
            has_table=True,
            is_coming=True,
        )
        for step in plan
        if isinstance(step, Backfill) and leaves(connection, run, current(step))
    ]


def leaves(connection: BaseDatabaseWrapper, run: Run, step: Backfill) -> bool:
    """Is the run going to leave the step for later?"""
    return may_leave(run) and is_left(connection, step)


def needed_by(plan: Plan, found: Iterable[Unfinished], own: Iterable[Step]) -> tuple[Unfinished, ...]:
    """The backfills that still read or fill what the plan forbids or drops, without those among the steps `own`."""
    held, own = held_by(plan), tuple(own)
    return tuple(one for one in found if one.needs_one_of(held) and not one.is_in(own))


def refusal(connection: BaseDatabaseWrapper, migration: Migration, claim: Claim, backfill: Unfinished) -> str:
    if backfill.is_coming:
        return (
            f"{migration} takes the {claim} from {_who(backfill)}. {NOTHING_WAS_CHANGED} "
            f"{_how_to_end_it(connection, backfill)}"
        )
    return (
        f"The {claim} is still needed by a backfill that isn't finished: {backfill}. Nothing of {migration} was done. "
        f"{how_to_end(connection, [backfill])}"
    )


def out_of_order(connection: BaseDatabaseWrapper, migration: Migration, step: Backfill, backfill: Unfinished) -> str:
    return (
        f"{migration} would fill rows ({step.why}) before {_who(backfill)}, and one of the two needs what the other "
        f"fills. {NOTHING_WAS_CHANGED} {_how_to_end_it(connection, backfill)}"
    )


def who_fills(connection: BaseDatabaseWrapper, backfill: Unfinished) -> str:
    """What to add to a refusal of rows that are going to be filled."""
    return f"Such rows are filled by {_who(backfill)}. {_how_to_end_it(connection, backfill)}"


def _who(backfill: Unfinished) -> str:
    if not backfill.is_coming:
        return f"a backfill that isn't finished ({backfill})"
    return f"a backfill that {backfill.app_label}.{backfill.migration} is going to leave for later ({backfill})"


def _how_to_end_it(connection: BaseDatabaseWrapper, backfill: Unfinished) -> str:
    if backfill.is_coming:
        return _how_to_end_before(connection.alias, backfill)
    return how_to_end(connection, [backfill])


def _how_to_end_before(alias: str, backfill: Unfinished) -> str:
    migrate = to_type(f"migrate {backfill.app_label} {backfill.migration}", alias)
    return (
        f"Fill these rows first: {migrate}, then: {to_type('safemigrations backfill run', alias)}. Then run the same "
        "command again. Where no other release is connected, as on a staging server, all of it is done in one run: "
        f"{to_type('migrate --catch-up', alias)}"
    )


def how_to_end(connection: BaseDatabaseWrapper, unfilled: Sequence[Unfinished]) -> str:
    cancel = (to_type(f"safemigrations backfill cancel {one.number}", connection.alias) for one in unfilled)
    run = to_type("safemigrations backfill run", connection.alias)
    return f"Finish them with: {run}. Where nobody needs them any more: {', '.join(cancel)}"
