"""The states of the models at which migrations are applied and taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from ..typed import applied_state, without_classes

Plan = Sequence[tuple[Migration, bool]]
States = Mapping[Migration, ProjectState]
Keys = Collection[tuple[str, str]]


def name_before(loader: MigrationLoader, migration: Migration) -> str:
    """The name to which the app goes back without this migration."""
    parents = (parent.key for parent in loader.graph.node_map[(migration.app_label, migration.name)].parents)
    return next((name for label, name in sorted(parents) if label == migration.app_label), "zero")


def states_along(executor: MigrationExecutor, plan: Plan) -> Iterator[tuple[Migration, ProjectState]]:
    """The migrations of a plan in either direction, each with the state before it."""
    if any(backwards for _, backwards in plan):
        return states_before(executor, plan, rendered_before(executor, plan))
    return states_after(plan, applied_state(executor))


def states_after(plan: Plan, state: ProjectState) -> Iterator[tuple[Migration, ProjectState]]:
    """Those that are to be applied, each with the state before it; `state` is the one before the first."""
    state.apps  # noqa: B018  # as Django does: a model may go before those that inherit from it
    for number, (migration, _) in enumerate(plan):
        if number:
            state = plan[number - 1][0].mutate_state(state)
        yield migration, state


def rendered_before(executor: MigrationExecutor, plan: Plan) -> States:
    """The states before the migrations that are going to be unapplied, created and reported as Django does."""
    state, before = ProjectState(real_apps=executor.loader.unmigrated_apps), dict[Migration, ProjectState]()
    wanted = {migration for migration, _ in plan}
    tell = executor.progress_callback or (lambda action: None)
    tell("render_start")
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True):
        if (migration.app_label, migration.name) in executor.loader.applied_migrations:
            if migration in wanted:
                state.apps  # noqa: B018  # as Django does
                before[migration] = state
            if len(before) == len(wanted):
                break
            state = migration.mutate_state(state, preserve=migration in wanted)
    tell("render_success")
    return before


def states_before(executor: MigrationExecutor, plan: Plan, before: States) -> Iterator[tuple[Migration, ProjectState]]:
    """Those that are to be unapplied, the last one first, each with the state before it."""
    applied = set(executor.loader.applied_migrations)
    for migration, _ in plan:
        at = before[migration]
        yield migration, with_later_ones(executor, at, migration, applied) if reaches_others(migration) else at
        applied.discard((migration.app_label, migration.name))


def state_without(executor: MigrationExecutor, plan: Plan, full_plan: Plan, before: States) -> ProjectState:
    """The state after all of the plan is unapplied, computed from the state before the last of them."""
    gone = {migration for migration, _ in plan}
    last = plan[-1][0]
    state = without_classes(before[last])
    order = [migration for migration, _ in full_plan]
    for migration in order[order.index(last) :]:
        if migration not in gone and (migration.app_label, migration.name) in executor.loader.applied_migrations:
            migration.mutate_state(state, preserve=False)
    return state


def reaches_others(migration: Migration) -> bool:
    """Does the migration change tables of other models, such as those that point at a key?"""
    return any(getattr(operation, "reaches_others", False) for operation in migration.operations)


def with_later_ones(
    executor: MigrationExecutor, state: ProjectState, migration: Migration, applied: Keys
) -> ProjectState:
    """The state with applied migrations of other apps that Django leaves out.

    Django leaves out what comes later in its order.
    """
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    order = [other for other, _ in plan]
    still_applied = executor.loader.applied_migrations.keys() & set(applied)
    state = state.clone()
    for other in order[order.index(migration) + 1 :]:
        if (other.app_label, other.name) in still_applied:
            other.mutate_state(state, preserve=False)
    return state
