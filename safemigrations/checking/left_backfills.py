"""What a migration takes from a backfill that an earlier one left for later, or does before its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from ..operations.base import Change, Situation
from ..operations.move_model import MoveModelIn
from ..operations.of_migration import Placed, unwrapped
from ..plans import claims
from ..plans.claims import Claim, Kind
from ..plans.steps import Backfill, Plan
from ..plans.stock_claims import taken_by
from ..running.backfill.order import is_about
from ..running.backfill.table import columns_set
from ..running.run import Run


class Needing(Protocol):
    """An unfinished backfill that needs what a migration takes."""

    def is_left_by(self, migration: Migration) -> bool: ...

    def needs(self, claim: Claim) -> bool: ...


class Filling(Needing, Protocol):
    """One whose rows others may need."""

    def comes_before(self, step: Backfill, *, is_left: bool) -> bool: ...

    def fills_what_is_in(self, plan: Plan) -> bool: ...


RENAMES_TABLES = migrations.RenameModel | migrations.AlterModelTable | MoveModelIn
TAKES_AWAY = (
    RENAMES_TABLES | migrations.DeleteModel | migrations.RemoveField | migrations.RenameField | migrations.AlterField
)


def takes_away(operation: Operation) -> bool:
    """Does the operation rename, drop or alter a column or a table at once?

    Our operations leave that to the contract.
    """
    return isinstance(operation, RENAMES_TABLES if isinstance(operation, Change) else TAKES_AWAY)


def fills_at_once(placed: Placed) -> bool:
    """Does the migration itself go on with what it would leave for later: take it away, or look at it?"""
    if any(map(takes_away, unwrapped(placed.migration))):
        return True
    operations = [*unwrapped(placed.migration)]
    if not any(getattr(operation, "can_wait", False) for operation in operations[:-1]):
        return False
    left: list[Backfill] = []
    for operation, at in placed:
        if not isinstance(operation, Change):
            if left and isinstance(operation, READS_ANYTHING):
                return True
            continue
        plan = (*operation.expand(at), *operation.contract(at))
        waiting = [step for step in plan if isinstance(step, Backfill) and step.can_wait]
        if any(is_about(plan, backfill) for backfill in left) and not waiting:
            return True
        left += waiting
    return False


READS_ANYTHING = migrations.RunPython | migrations.RunSQL


def filled_too_early(
    placed: Placed, run: Run, unfinished: Sequence[Filling], *, is_left: Callable[[Backfill], bool]
) -> tuple[Backfill, Filling] | None:
    """The first backfill of the migration that an unfinished one has to come before, and that one."""
    others = [backfill for backfill in unfinished if not backfill.is_left_by(placed.migration)]
    for operation, at in placed if others else ():
        for step in _filled(operation, at, run):
            waits = is_left(step)
            for backfill in others:
                if backfill.comes_before(step, is_left=waits):
                    return step, backfill
    return None


def _filled(operation: Operation, at: Situation, run: Run) -> Iterator[Backfill]:
    """What it fills now, but for the second column of two that triggers keep equal from the first row on."""
    if not isinstance(operation, Change) or not operation.has_plans(at, run):
        return
    equal = [one.column for one in operation.carries(at)]
    plan = operation.expand(at) if operation.leaves(at, run) else (*operation.expand(at), *operation.contract(at))
    for step in plan:
        if isinstance(step, Backfill):
            columns = [claims.column(step.table, name) for name in columns_set(step)]
            if not columns or not all(column.is_in(equal) for column in columns):
                yield step


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
        taken = taken_by(operation, at.app_label, at.before)
    else:
        taken = operation.takes(at) if operation.has_plans(at, run) else iter(())
    for claim in taken:
        if claim.kind is not Kind.VIEW:
            yield replace(claim, kind=Kind.COLUMN) if claim.kind is Kind.TWIN else claim
