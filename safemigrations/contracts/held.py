"""What a contract holds until it has run: a migration that takes or changes it has to wait for that.

Without this a column of the same name would count as already added, and the contract would drop it.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.migrations import Migration

from ..data import Data
from ..errors import to_type
from ..plans import claims
from ..plans.claims import Claim, Kind
from ..plans.steps import Plan, nested, tables_of


class Left:
    """Something that a migration has left for later."""

    app_label: str
    migration: str

    def is_left_by(self, migration: Migration) -> bool:
        """Was it left by the migration, or by a migration that was squashed into it?"""
        return self.app_label == migration.app_label and self.migration in names_of(migration)


class Holder(Left, Data):
    """A contract that has not run yet."""

    app_label: str
    migration: str
    label: str
    holds: frozenset[Claim]
    frees: frozenset[Claim]

    def __str__(self) -> str:
        return f"{self.app_label}.{self.migration}"

    def how_to_contract(self, alias: str) -> str:
        """The command that runs this contract and what it needs, and nothing else."""
        return to_type(f"migrate {self.app_label} {self.migration} --contract --only", alias)

    def how_to_migrate(self, alias: str) -> str:
        """The command that goes as far as its migration."""
        return to_type(f"migrate {self.app_label} {self.migration}", alias)


def names_of(migration: Migration) -> set[str]:
    """The migration's own name, and the names of the migrations that were squashed into it."""
    return {migration.name, *(name for _, name in migration.replaces)}


def holder_of(claim: Claim, holders: Iterable[Holder]) -> Holder | None:
    return next((holder for holder in holders if claim.is_in(holder.holds)), None)


def held_by(plan: Plan) -> frozenset[Claim]:
    """Everything that a plan works on: no other migration may touch it before the plan has run."""
    said = {claim for step in plan for claim in (*step.takes, *step.frees, *step.works_on)}
    return frozenset(said | _tables(plan))


def kept_by(plan: Plan) -> frozenset[Claim]:
    """What its own migration must leave alone: what the plan removes, what the foreign keys that it makes or removes
    point at, and the names of the tables that it looks for.
    """
    renamed = [claim for step in plan for claim in step.takes]
    keys = {claim for step in plan for claim in step.works_on if claim.kind is Kind.KEY}
    return freed_by(plan) | keys | {table for table in _tables(plan) if not table.is_in(renamed)}


def freed_by(plan: Plan) -> frozenset[Claim]:
    """Everything that is gone after the plan has run."""
    return frozenset(claim for step in plan for claim in step.frees)


def freed_by_all(holders: Iterable[Holder]) -> set[Claim]:
    return {claim for holder in holders for claim in holder.frees}


def dropped_by(plan: Plan) -> list[Claim]:
    """The claims that the plan frees, without the former name of a column: what has the new name isn't gone."""
    return [claim for step in plan if not step.altered_column for claim in step.frees]


def _tables(plan: Plan) -> set[Claim]:
    said = {claim for step in plan for claim in (*step.takes, *step.frees) if claim.kind is Kind.TABLE}
    return said | {claims.table(table) for step in nested(plan) for table in tables_of(step)}
