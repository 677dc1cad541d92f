"""Finds who is in the way of steps now, and what the way back of an operation loses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation

from ...operations.base import Change
from ...plans.work import Work
from ...postgres.lock import Lock
from ...running.blockers import Blocker, blockers
from ...running.online import old_snapshots
from .facts import StepFacts


def in_the_way(connection: BaseDatabaseWrapper, steps: Sequence[StepFacts]) -> list[str]:
    """Those that steps would have to wait for now: who holds a lock for long, whose snapshot is old, autovacuum."""
    found = [each for each in blockers(connection, _strongest(steps)) if each.is_long or each.is_autovacuum]
    if any(_waits_for_snapshots(step) for step in steps):
        known = {each.pid for each in found}
        found += [each for each in old_snapshots(connection) if each.pid not in known]
    return [_said(each) for each in found]


def _strongest(steps: Iterable[StepFacts]) -> dict[str, Lock]:
    found: dict[str, Lock] = {}
    for step in steps:
        for table, lock in () if step.is_done else step.locks.items():
            # CONCURRENTLY begins with a wait for everybody who writes to the table.
            wanted = _stronger(lock, Lock.SHARE) if step.work is Work.BUILDS else lock
            found[table] = _stronger(wanted, found.get(table, wanted))
    return found


def _stronger(first: Lock, second: Lock) -> Lock:
    return max(first, second, key=lambda lock: lock.strength)


def _waits_for_snapshots(step: StepFacts) -> bool:
    return not step.is_done and (step.work is Work.BUILDS or any("CONCURRENTLY" in sql for sql in step.statements))


def _said(blocker: Blocker) -> str:
    yields = " and yields" if blocker.is_autovacuum and not blocker.prevents_wraparound else ""
    return f"{blocker}{yields}"


def lost_on_the_way_back(operation: Operation) -> str:
    """What the way back loses; empty if nothing."""
    if isinstance(operation, migrations.AddField):
        return f"what is written into {operation.model_name}.{operation.name}"
    if isinstance(operation, migrations.CreateModel):
        return f"the rows of {operation.name}"
    if isinstance(operation, migrations.RemoveField | migrations.DeleteModel):
        model = getattr(operation, "model_name", "")
        what = f"{model}.{operation.name}" if model else operation.name
        when = "after the contract, " if isinstance(operation, Change) else ""
        return f"{when}what was in {what}"
    return ""
