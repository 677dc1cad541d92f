"""The triggers on which open contracts count: whether they are there, and do what they were made for.

A restore may leave them out, a loader disables them, a person may drop one. Then the two releases drift apart without a
word. What was written meanwhile nobody can fix: the contract names such rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from ..checking.of_migration import situations
from ..contracts import loaded
from ..operations.base import Change
from ..plans.steps import Together
from ..plans.triggers import put_back
from ..running.run import Report

Key = tuple[str, str]  # app label and name of a migration


def put_triggers_back(connection: BaseDatabaseWrapper, loader: MigrationLoader, report: Report) -> None:
    """Make those anew that aren't as they were made; those of a way back that began are going anyhow."""
    rows = loaded().queue.open_rows(connection)
    half_way = loaded().reversals.keys(connection) if rows else set()
    for row in rows:
        key = row.app_label, row.migration
        if key in half_way:
            continue
        triggers = _triggers_of(key, row.operation, connection, loader)
        plan = tuple(put_back(one, may_be_over=row.attempts > 0) for one in triggers)
        if plan:
            loaded().Runner(connection, report).run(plan)


def _triggers_of(
    key: Key, identity: str, connection: BaseDatabaseWrapper, loader: MigrationLoader
) -> Iterator[Together]:
    """Those of one operation of a migration; none where that was pruned."""
    migration = _migration_of(key, loader)
    if migration is None or not any(map(_keeps_triggers, migration.operations)):
        return
    state = loader.project_state((migration.app_label, migration.name), at_end=False)
    for operation, at in situations(migration, state, connection):
        if isinstance(operation, Change) and _keeps_triggers(operation) and operation.identity == identity:
            yield from operation.triggers(at)


def _migration_of(key: Key, loader: MigrationLoader) -> Migration | None:
    """The one that left it, or what that was squashed into; None where it was pruned."""
    known = (loader.graph.nodes[node] for node in loader.graph.nodes if node[0] == key[0])
    return next((one for one in known if (one.app_label, one.name) == key or key in one.replaces), None)


def _keeps_triggers(operation: object) -> bool:
    return isinstance(operation, Change) and type(operation).triggers is not Change.triggers
