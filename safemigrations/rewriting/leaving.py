"""Finds the migrations that can be written with Django's own operations: their contract is done everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ModelState, ProjectState

from ..checking import disk
from ..checking.history import History, Key
from ..contracts import loaded
from ..contracts.table import HOLDING
from ..data import Data
from ..errors import NOTHING_WAS_CHANGED, to_type
from ..operations import ExpandRename, ExpandRenameModel
from ..running.own_tables import ALL
from ..typed import is_configured
from .ejecting import Ejector, has_ours
from .file import CannotRewrite
from .fixing import Fix

DROP = f"DROP TABLE IF EXISTS {', '.join(ALL)};"


class Leaving(Data):
    """`refused`: a sentence for each migration that stays as it is."""

    made: list[Fix] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def leaving(labels: Iterable[str]) -> Leaving:
    """The fixes of these apps, or of all that are checked, and why other migrations stay."""
    history, chosen, result = History(), set(labels) or set(disk.labels()), Leaving()
    used = [connection for connection in _databases() if _is_used(connection)]
    for migration, state in _with_states(history):
        if migration.app_label not in chosen or not any(map(has_ours, migration.operations)):
            continue
        try:
            _refuse_old_names(migration, state)
            for connection in used:
                _refuse_open(migration, connection)
            result.made.append(Ejector(migration).eject())
        except CannotRewrite as error:
            result.refused.append(f"{migration} stays as it is: {error}.")
    return result


def _with_states(history: History) -> Iterator[tuple[Migration, ProjectState]]:
    """Each migration, and a copy of the state before it."""
    state = ProjectState(real_apps=history.loader.unmigrated_apps)
    for key in history.order:
        migration = history.migration(key)
        yield migration, state.clone()
        state = migration.mutate_state(state, preserve=False)


def _databases() -> Iterator[BaseDatabaseWrapper]:
    for connection in map(connections.__getitem__, connections):
        if is_configured(connection) and connection.vendor == "postgresql":
            yield connection


def _is_used(connection: BaseDatabaseWrapper) -> bool:
    try:
        return bool(MigrationRecorder(connection).applied_migrations())
    except DatabaseError as error:
        raise CommandError(
            f'The database "{connection.alias}" doesn\'t say whether its contract is done: '
            f"{str(error).strip().splitlines()[0]}. {NOTHING_WAS_CHANGED} Run this where its databases can be reached."
        ) from error


def _refuse_old_names(migration: Migration, state: ProjectState) -> None:
    """Raise CannotRewrite where Django's operation leaves an old name in the state, which then has no classes."""
    for operation in migration.operations:
        stock = state.clone()
        operation.state_forwards(migration.app_label, state)
        if isinstance(operation, ExpandRename | ExpandRenameModel):
            operation.stock.state_forwards(migration.app_label, stock)
            if left := [
                model.name for key, model in state.models.items() if _named(model) != _named(stock.models[key])
            ]:
                raise CannotRewrite(
                    f"Django's {type(operation.stock).__name__} leaves the old name in {', '.join(sorted(left))}, and "
                    "then can't make its class"
                )


def _named(model: ModelState) -> tuple[Any, ...]:
    return model.bases, model.options.get("order_with_respect_to")


def _refuse_open(migration: Migration, connection: BaseDatabaseWrapper) -> None:
    """Raise CannotRewrite where the schema isn't Django's own yet."""
    names = [name for _, name in migration.replaces] + [migration.name]
    applied: Iterable[Key] = MigrationRecorder(connection).applied_migrations()
    if not any((migration.app_label, name) in applied for name in names):
        raise CannotRewrite(
            f'it isn\'t applied in the database "{connection.alias}": {to_type("migrate", connection.alias)}'
        )
    open_rows = loaded().queue.rows(connection, app_label=migration.app_label, migration__in=names, status__in=HOLDING)
    if row := open_rows.first():
        what = to_type("safemigrations status", connection.alias)
        raise CannotRewrite(f'its contract isn\'t done in the database "{connection.alias}" ({row.label}): {what}')
    for backfill in loaded().unfinished.backfills(connection):
        if backfill.is_left_by(migration):
            run = to_type("safemigrations backfill run", connection.alias)
            raise CannotRewrite(f'a backfill of it isn\'t finished in the database "{connection.alias}": {run}')
