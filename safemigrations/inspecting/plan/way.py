"""Finds who is in the way of steps now, and what the way back of an operation loses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import migrations, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation

from ...operations.base import Change, Situation
from ...plans.work import Work
from ...postgres.lock import Lock
from ...running.locking.blockers import Blocker, blockers
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
    builds = step.work is Work.BUILDS or any("CONCURRENTLY" in sql for sql in step.statements)
    return not step.is_done and (builds or step.for_newer_snapshots)


def _said(blocker: Blocker) -> str:
    yields = " and yields" if blocker.is_autovacuum and not blocker.prevents_wraparound else ""
    return f"{blocker}{yields}"


def is_migrated(operation: Operation, at: Situation) -> bool:
    """Do the routers let the operation do anything in this database?"""
    alias = at.connection.alias
    match operation:
        case Change():
            return operation.is_migrated_here(at)
        case migrations.RunPython() | migrations.RunSQL():
            return router.allow_migrate(alias, at.app_label, **operation.hints)
        case migrations.AddField() | migrations.CreateModel():
            return operation.allow_migrate_model(alias, at.new(_model_of(operation)))
        case migrations.RemoveField() | migrations.DeleteModel():
            return operation.allow_migrate_model(alias, at.old(_model_of(operation)))
    return True


def _model_of(operation: Any) -> str:
    return str(getattr(operation, "model_name", operation.name))


def lost_on_the_way_back(operation: Operation) -> str:
    """What the way back loses; empty if nothing."""
    if isinstance(operation, migrations.AddField):
        return f"what is written into {operation.model_name}.{operation.name}"
    if isinstance(operation, migrations.CreateModel):
        return f"the rows of {operation.name}"
    when = "after the contract, " if isinstance(operation, Change) else ""
    if isinstance(operation, migrations.RemoveField):
        return f"{when}what was in {operation.model_name}.{operation.name}"
    if isinstance(operation, migrations.DeleteModel):
        return f"{when}the rows of {operation.name}"
    return ""
