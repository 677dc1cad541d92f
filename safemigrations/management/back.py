"""migrate --to-release: unapplies what a release doesn't know, with what Django does around an unapply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import AmbiguityError, NodeNotFoundError

from safemigrations import conf
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.hooks.going_back import WayBack, release_before_contract, release_called, way_back
from safemigrations.management.leaving import refuse_while_needed
from safemigrations.typed import applied_state


def go_back(migrating: Any, options: dict[str, Any]) -> None:
    """Print the way back, and with neither --plan nor a reason against it go it."""
    command, connection = migrating.command, migrating.connection
    if options["plan"]:
        way = _way(connection, options)
        _say(command, way)
        for migration in way.migrations:
            command.stdout.write(f"  Would unapply {migration}")
        return
    with migrating.alone("migrate --to-release"):
        way = _way(connection, options)
        if migrating.verbosity:
            _say(command, way)
        if not options["force"]:
            refuse_while_needed(connection, way.migrations, watch_for=conf.gate_watch())
        if way.migrations:
            _go(command, connection, way)
            migrating.report.sum_up()


def unapplied_by(connection: BaseDatabaseWrapper, targets: Callable[[MigrationExecutor], list[Any]]) -> list[Migration]:
    """What Django would unapply on the way to these targets; nothing where it will say that there is no such name."""
    executor = MigrationExecutor(connection)
    try:
        plan = executor.migration_plan(targets(executor))
    except (AmbiguityError, KeyError, NodeNotFoundError):
        return []
    return [migration for migration, backwards in plan if backwards]


def _way(connection: BaseDatabaseWrapper, options: dict[str, Any]) -> WayBack:
    name = options["to_release"]
    release = release_called(connection, name) if name else release_before_contract(connection)
    return way_back(MigrationExecutor(connection), release)


def _say(command: Any, way: WayBack) -> None:
    command.stdout.write(command.style.MIGRATE_HEADING(f"Going back to {way.release}:"))
    if not way.migrations:
        command.stdout.write("  It knows everything that is applied.")


def _go(command: Any, connection: BaseDatabaseWrapper, way: WayBack) -> None:
    executor = MigrationExecutor(connection, command.migration_progress_callback)
    executor.loader.check_consistent_history(connection)
    before, alias = applied_state(executor), connection.alias
    emit_pre_migrate_signal(command.verbosity, False, alias, apps=before.apps, stdout=command.stdout, plan=way.plan)
    after = executor.migrate(None, plan=way.plan, state=before.clone())
    after.clear_delayed_apps_cache()
    emit_post_migrate_signal(command.verbosity, False, alias, apps=after.apps, stdout=command.stdout, plan=way.plan)
