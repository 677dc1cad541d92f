"""Applied migrations of whose contract the queue knows nothing: a restore may have left out the table, or its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from ...contracts import queue
from ...contracts.held import names_of
from ...contracts.table import Contract
from ...errors import to_type
from ...hooks.states import name_before
from ...operations.base import Change
from ...operations.of_migration import situations
from ...plans.steps import Plan
from ...postgres.names import Name
from ...running.storage import has_table
from .explained import told_by
from .inspection import Inspection
from .line import Line

QUEUE = Name.of("safemigrations_contract")


def with_their_migrations(inspection: Inspection, left: Iterable[Line]) -> Iterator[Line]:
    """What seems left over; in the place of what such a contract may need, a line for its migration."""
    lines = list(left)
    for migration, plan in _without_row(inspection) if lines else ():
        told = told_by(plan)
        if needed := [line for line in lines if told.mentions(line.table, line.name)]:
            yield _line(inspection, migration, needed)
            lines = [line for line in lines if line not in needed]
    yield from lines


def _without_row(inspection: Inspection) -> Iterator[tuple[Migration, Plan]]:
    """The plans, both halves, of operations that leave a contract, and have no row: neither open nor done."""
    rows = {(row.app_label, row.migration, row.operation) for row in queue.rows(inspection.connection)}
    for migration, state in _applied(inspection):
        for operation, at in situations(migration, state, inspection.connection):
            if not isinstance(operation, Change) or not operation.is_migrated_here(at):
                continue
            is_known = any((migration.app_label, name, operation.identity) in rows for name in names_of(migration))
            if not is_known and (contract := operation.contract(at)):
                yield migration, (*operation.expand(at), *contract)


def _applied(inspection: Inspection) -> Iterator[tuple[Migration, ProjectState]]:
    """Those with operations of ours, each with the state before it. No other state is rendered, which takes long."""
    loader = inspection.loader
    state, applied = ProjectState(real_apps=loader.unmigrated_apps), set(inspection.applied())
    for migration, _ in inspection.executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True):
        if migration in applied:
            if any(isinstance(operation, Change) for operation in migration.operations):
                yield migration, state.clone()
            state = migration.mutate_state(state, preserve=False)


def _line(inspection: Inspection, migration: Migration, needed: list[Line]) -> Line:
    connection, app = inspection.connection, migration.app_label
    lacks = f"has no row of {migration}" if has_table(connection, Contract) else "is missing"
    back = to_type(f"migrate {app} {name_before(inspection.loader, migration)}", connection.alias)
    again = to_type("migrate", connection.alias)
    return Line(
        "contract_missing",
        QUEUE,
        str(migration),
        f"the table {lacks}, and nobody else knows whether the contract of {migration} has run. It may still need "
        f"{', '.join(line.name for line in needed)}",
        (f"-- Restore its rows from the backup. Or take the migration back and apply it again: {back} and {again}",),
    )
