"""What a migration takes from a backfill that an earlier one left for later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from ..operations.base import Change, Situation
from ..operations.move_model import MoveModelIn
from ..plans.claims import Claim, Kind
from ..plans.stock_claims import taken_by
from ..running.run import Run
from .of_migration import Placed, unwrapped


class Needing(Protocol):
    """An unfinished backfill that needs what a migration takes."""

    def is_left_by(self, migration: Migration) -> bool: ...

    def needs(self, claim: Claim) -> bool: ...


RENAMES_TABLES = migrations.RenameModel | migrations.AlterModelTable | MoveModelIn
TAKES_AWAY = (
    RENAMES_TABLES | migrations.DeleteModel | migrations.RemoveField | migrations.RenameField | migrations.AlterField
)


def takes_away(operation: Operation) -> bool:
    """Does the operation rename, drop or alter a column or a table at once?

    Our operations leave that to the contract.
    """
    return isinstance(operation, RENAMES_TABLES if isinstance(operation, Change) else TAKES_AWAY)


def taken_from_a_backfill(placed: Placed, run: Run, unfinished: Sequence[Needing]) -> tuple[Claim, Needing] | None:
    """The first table or column that a backfill still reads or fills, and the backfill."""
    others = [backfill for backfill in unfinished if not backfill.is_left_by(placed.migration)]
    if not others or not any(map(takes_away, unwrapped(placed.migration))):
        return None
    for operation, at in placed:
        for claim in sorted(_taken(operation, at, run), key=str):
            for backfill in others:
                if backfill.needs(claim):
                    return claim, backfill
    return None


def _taken(operation: Operation, at: Situation, run: Run) -> Iterator[Claim]:
    """A twin as the column that it is."""
    if not takes_away(operation):
        return
    if not isinstance(operation, Change):
        claims = taken_by(operation, at.app_label, at.before)
    else:
        claims = operation.takes(at) if operation.has_plans(at, run) else iter(())
    for claim in claims:
        if claim.kind is not Kind.VIEW:
            yield replace(claim, kind=Kind.COLUMN) if claim.kind is Kind.TWIN else claim
