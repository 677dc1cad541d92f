"""What a migration takes or changes while a contract that has not run yet holds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from ..contracts.held import Holder, freed_by, held_by, holder_of, kept_by
from ..data import Data
from ..errors import NOTHING_WAS_CHANGED, to_type
from ..operations.base import Change, Situation
from ..operations.of_migration import Placed
from ..plans.claims import Claim, Kind
from ..plans.steps import Plan
from ..plans.stock_claims import taken_by
from ..running.run import Run


class Conflict(Data):
    """What a migration takes or changes, and the contract that holds it."""

    migration: Migration
    claim: Claim
    holder: Holder
    operation: Operation
    is_own: bool  # does an earlier operation of the same migration leave that contract?
    is_coming: bool = False  # or an earlier migration of the same run?

    def explain(self, connection: BaseDatabaseWrapper) -> str:
        if self.is_own:
            return (
                f"{self.holder} needs the {self.claim} in its contract ({self.holder.label}), and another of "
                "its operations takes or changes that name. Nothing was changed. Put the two operations into two "
                "migrations, and run migrate --contract between them."
            )
        alias, of_contract = connection.alias, f"the contract of {self.holder} ({self.holder.label})"
        said = f"The {self.claim} still belongs to {of_contract}. {NOTHING_WAS_CHANGED}"
        if self.is_coming:
            said = (
                f"{self.migration} needs the {self.claim}, which will belong to {of_contract} until that has run. "
                f"{NOTHING_WAS_CHANGED} Type first: {self.holder.how_to_migrate(alias)}\nThen roll that release out."
            )
        return (
            f"{said} When no server runs the release before that migration any more, type: "
            f"{self.holder.how_to_contract(alias)}\nWhere no other release is connected, as on a staging server that "
            f"is several releases behind: {to_type('migrate --catch-up', alias)}"
        )


def conflict(placed: Placed, run: Run, holders: Sequence[Holder]) -> Conflict | None:
    """The first conflict of a migration, found before any statement of the migration is sent.

    Contracts that an earlier, killed run of the same migration left don't count. Contracts that the migration is going
    to leave do.

    What the migration left in a run that was killed doesn't count; what it is going to leave does.
    """
    migration = placed.migration
    others = [holder for holder in holders if not holder.is_left_by(migration)]
    own: list[Holder] = []
    if not others and not _may_leave_before_the_last(migration):
        return None  # going through the states of a large project takes as long as applying them
    for operation, at in placed:
        found = _first(_wanted(operation, at, run), [*own, *others])
        reworked = list(_reworked(operation, at, run))
        keys = [claim for claim in reworked if claim.kind is Kind.KEY]
        if found := found or _first(reworked, others) or _first(keys, own):
            claim, holder = found
            return Conflict(migration, claim, holder, operation, is_own=holder in own)
        own += _left_by(operation, at, run)
    return None


def left_by(placed: Placed, run: Run) -> Iterator[Holder]:
    """The contracts that its operations are going to leave."""
    for operation, at in placed:
        yield from _left_by(operation, at, run)


def held_later(operation: Change, at: Situation, later: Plan) -> Holder:
    """The contract of an operation, as later migrations will find it in the queue."""
    return Holder(at.app_label, at.migration_name, operation.contract_label(at), held_by(later), freed_by(later))


def _may_leave_before_the_last(migration: Migration) -> bool:
    changes = [type(operation) for operation in migration.operations if isinstance(operation, Change)]
    return any(change.contract is not Change.contract for change in changes[:-1])


def _left_by(operation: Operation, at: Situation, run: Run) -> Iterator[Holder]:
    if isinstance(operation, Change) and (later := operation.leaves(at, run)):
        names = at.app_label, at.migration_name, operation.contract_label(at)
        yield Holder(*names, holds=kept_by(later), frees=freed_by(later))


def _wanted(operation: Operation, at: Situation, run: Run) -> Iterable[Claim]:
    """The claims that must be free of other contracts, and of the contracts that the same migration leaves."""
    return operation.takes(at) if isinstance(operation, Change) and operation.has_plans(at, run) else ()


def _reworked(operation: Operation, at: Situation, run: Run) -> Iterable[Claim]:
    """The claims that must be free of contracts of other migrations.

    A stock operation may touch what its own migration leaves.
    """
    if not isinstance(operation, Change):
        return taken_by(operation, at.app_label, at.before)
    return operation.reworks(at) if operation.has_plans(at, run) else ()


def _first(claims: Iterable[Claim], holders: Sequence[Holder]) -> tuple[Claim, Holder] | None:
    found = ((claim, holder_of(claim, holders)) for claim in sorted(claims, key=str))
    return next(((claim, holder) for claim, holder in found if holder), None)
