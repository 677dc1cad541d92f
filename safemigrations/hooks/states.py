"""The states of the models at which migrations are applied and taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from ..typed import applied_state

Plan = Sequence[tuple[Migration, bool]]
Keys = Collection[tuple[str, str]]


def states_after(executor: MigrationExecutor, plan: Plan) -> Iterator[tuple[Migration, ProjectState]]:
    """Those that are to be applied, each with the state before it."""
    state = applied_state(executor)
    state.apps  # noqa: B018  # as Django does: a model may go before those that inherit from it
    for migration, _ in plan:
        yield migration, state
        state = migration.mutate_state(state)


def states_before(executor: MigrationExecutor, plan: Plan) -> Iterator[tuple[Migration, ProjectState]]:
    """Those that are to be unapplied, the last one first, each with the state before it."""
    state, before = ProjectState(real_apps=executor.loader.unmigrated_apps), dict[Migration, ProjectState]()
    wanted = [migration for migration, _ in plan]
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True):
        if (migration.app_label, migration.name) in executor.loader.applied_migrations:
            if migration in wanted:
                state.apps  # noqa: B018  # as Django does
                before[migration] = state
            state = migration.mutate_state(state, preserve=migration in wanted)
    applied = set(executor.loader.applied_migrations)
    for migration in wanted:
        at = before[migration]
        yield migration, with_later_ones(executor, at, migration, applied) if reaches_others(migration) else at
        applied.discard((migration.app_label, migration.name))


def reaches_others(migration: Migration) -> bool:
    """Does it work on tables of other models, such as those that point at a key?"""
    return any(getattr(operation, "reaches_others", False) for operation in migration.operations)


def with_later_ones(
    executor: MigrationExecutor, state: ProjectState, migration: Migration, applied: Keys
) -> ProjectState:
    """The state with what is applied of other apps: Django leaves out what comes later in its order of all."""
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    order = [other for other, _ in plan]
    still_applied = executor.loader.applied_migrations.keys() & set(applied)
    state = state.clone()
    for other in order[order.index(migration) + 1 :]:
        if (other.app_label, other.name) in still_applied:
            other.mutate_state(state, preserve=False)
    return state
