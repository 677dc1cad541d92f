"""The operations of a migration that touch the database: where each stands, what it makes and what it locks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

from django.db import migrations, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..plans.steps import Step
from ..plans.tables import db_table_of
from ..postgres.names import Name
from ..running.run import Run
from .base import Change, Situation
from .home import is_made_by_migrations
from .move_model import MoveModelIn
from .split import is_split


def situations(
    migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper
) -> Iterator[tuple[Operation, Situation]]:
    """Each operation and where it will stand; nothing is sent."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        for operation, before, after in _with_states(migration.operations, migration.app_label, state):
            yield operation, Situation(migration.app_label, editor, before=before, after=after, migration=migration)


class Placed:
    """The operations of a migration with their situations.

    They are computed once: rendering the models takes as long as applying most migrations.
    """

    def __init__(self, migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper) -> None:
        self.migration, self.state, self.connection = migration, state, connection

    def __iter__(self) -> Iterator[tuple[Operation, Situation]]:
        return iter(self._situations)

    @cached_property
    def _situations(self) -> list[tuple[Operation, Situation]]:
        return list(situations(self.migration, self.state, self.connection))


def steps_of(placed: Placed, run: Run) -> Iterator[Step]:
    """The steps of both halves of the migration's operations; nothing is sent."""
    for operation, at in placed:
        if isinstance(operation, Change) and operation.has_plans(at, run):
            yield from (*operation.expand(at), *operation.contract(at))


def steps_back_of(placed: Placed, run: Run) -> Iterator[Step]:
    """The steps that take the migration's operations back; nothing is sent."""
    for operation, at in changes_back(placed, run):
        yield from operation.way_back(at)


def changes_back(placed: Placed, run: Run) -> Iterator[tuple[Change, Situation]]:
    """The operations that have plans, in the order in which they are taken back."""
    for operation, at in reversed(list(placed)):
        if isinstance(operation, Change) and operation.has_plans(at, run):
            yield operation, at


def _with_states(
    operations: Any, app_label: str, state: ProjectState
) -> Iterator[tuple[Operation, ProjectState, ProjectState]]:
    for operation in operations:
        after = state.clone()
        operation.state_forwards(app_label, after)
        if is_split(operation):  # its database half goes through states of its own
            yield from _with_states(operation.database_operations, app_label, state)
        else:
            yield operation, state, after
        state = after


def unwrapped(migration: Migration) -> Iterator[Any]:
    for operation in migration.operations:
        yield from operation.database_operations if is_split(operation) else (operation,)


def created_by(migration: Migration, before: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """The models that the migration creates, and those that it moves here if they are among `before`."""
    return {
        (migration.app_label, operation.name.lower())
        for operation in unwrapped(migration)
        if isinstance(operation, migrations.CreateModel)
        or (isinstance(operation, MoveModelIn) and (operation.from_app, operation.name.lower()) in before)
    }


def tables_locked_by(migration: Migration, state: ProjectState) -> list[Name]:
    """The tables of the models that operations name, and those of their parents."""
    keys = (key for operation in unwrapped(migration) for key in _models_named(operation, migration.app_label, state))
    models = (state.models.get(key) for key in keys)
    return list(dict.fromkeys(Name.from_django(db_table_of(model)) for model in models if model))


def stock_tables(migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper) -> list[Name]:
    """The existing tables that stock operations of the migration change in this database, according to the routers."""
    stock = [operation for operation in unwrapped(migration) if not isinstance(operation, Change)]
    keys = {(migration.app_label, name) for operation in stock for name in _models_of(operation)}
    models = [state.models[key] for key in sorted(keys & state.models.keys())]
    return [
        Name.from_django(db_table_of(model))
        for model in models
        if is_made_by_migrations(model)
        and router.allow_migrate(connection.alias, migration.app_label, model_name=model.name_lower)
    ]


def _models_named(operation: Any, app_label: str, state: ProjectState) -> Iterator[tuple[str, str]]:
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    key = (app_label, str(name).lower())
    yield key
    fields = [getattr(operation, "field", None)]  # of an operation of somebody else perhaps no field at all
    fields += dict(operation.fields).values() if isinstance(operation, migrations.CreateModel) else []
    fields += state.models[key].fields.values() if key in state.models else []
    for field in fields:
        target = getattr(getattr(field, "remote_field", None), "model", None)
        if target is not None:
            yield _key_of(target, app_label)


def models_touched(migration: Migration, state: ProjectState) -> set[tuple[str, str]]:
    """The models whose tables the migration may change, under each name that it uses for them.

    `state` is the one before the migration.
    """
    found = {(migration.app_label, name) for one in _each(migration.operations) for name in _models_of(one)}
    return found | (_pointing_at(found, state) if any(map(_alters_a_key, unwrapped(migration))) else set())


def _each(operations: Any) -> Iterator[Any]:
    """The operations, and both halves of each SeparateDatabaseAndState.

    A table that only the state half mentions was changed in some other way.
    """
    for operation in operations:
        if is_split(operation):
            yield from _each([*operation.database_operations, *operation.state_operations])
        else:
            yield operation


def _models_of(operation: Any) -> Iterator[str]:
    names = ["model_name"] if hasattr(operation, "model_name") else ["name"]
    if isinstance(operation, migrations.RenameModel):
        names = ["old_name", "new_name"]
    yield from (str(getattr(operation, name, "")).lower() for name in names)


def _alters_a_key(operation: Any) -> bool:
    """Columns that point at a key follow its type."""
    is_key = isinstance(operation, migrations.AlterField) and operation.field.primary_key
    return is_key or getattr(operation, "reaches_others", False)


def _pointing_at(keys: set[tuple[str, str]], state: ProjectState) -> set[tuple[str, str]]:
    """The models that point at these keys, or at a key that points at one of them, as the key of a child does."""
    found, last = set[tuple[str, str]](), keys
    while last:
        named = {key: [field for field, to in _relations(key, state) if to in last] for key in state.models}
        pointing = {key for key, fields in named.items() if fields} - found
        last = {key for key in pointing if any(field.primary_key for field in named[key])}
        found |= pointing
    return found


def _relations(key: tuple[str, str], state: ProjectState) -> Iterator[tuple[Any, tuple[str, str]]]:
    """Fields of the model, each with the model at which it points."""
    for field in state.models[key].fields.values():
        target = getattr(getattr(field, "remote_field", None), "model", None)
        if target is not None:
            yield field, _key_of(target, key[0])


def _key_of(model: Any, app_label: str) -> tuple[str, str]:
    if not isinstance(model, str):
        return model._meta.app_label, model._meta.model_name
    label, _, name = model.rpartition(".")
    return label or app_label, name.lower()


def fits_a_transaction(migration: Migration, run: Run) -> bool:
    """Do only our operations keep the migration from being atomic, on tables that no other run knows?"""
    return any(isinstance(operation, Change) for operation in migration.operations) and all(
        _fits_a_transaction(operation, migration, run) for operation in migration.operations
    )


SPECIAL = migrations.RunPython | migrations.RunSQL | SeparateDatabaseAndState


def _fits_a_transaction(operation: Operation, migration: Migration, run: Run) -> bool:
    if isinstance(operation, Change):
        return operation.stock_when_alone and operation.is_alone(migration.app_label, run)
    # django.contrib.postgres marks so what PostgreSQL does only outside of a transaction.
    concurrently = hasattr(operation, "_ensure_not_in_transaction")
    if migration.replaces and not concurrently:
        return True  # squashmigrations put our operations beside this one
    stock = type(operation).__module__.startswith("django.db.migrations.operations")
    return stock and not concurrently and not isinstance(operation, SPECIAL)
