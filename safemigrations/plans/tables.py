"""Plans for a whole table: what uses it, dropping it, creating it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement as Reference
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model

from ..postgres.dependents import users_of_table
from ..postgres.lock import Lock
from ..postgres.names import NAME_LENGTH, Name
from ..postgres.tables import table_exists, table_missing
from ..postgres.triggers import functions_using
from . import claims
from .column import Column, table_of
from .steps import Plan, Proof, Together


def through_tables(model: type[Model]) -> list[type[Model]]:
    """The tables of the model's many-to-many fields that Django creates and drops together with the model's."""
    through: list[Any] = [field.remote_field.through for field in model._meta.local_many_to_many]
    return [table for table in through if table._meta.auto_created]


def foreign_keys(editor: BaseDatabaseSchemaEditor, model: type[Model], state: ProjectState) -> list[Column]:
    """The columns of the model's table and its through tables that have a foreign key in the database.

    If the link of a child to its parent was removed before the child, Django makes one up; the parent may be gone by
    then.
    """
    found = [
        Column(editor, each, field)
        for each in (*through_tables(model), model)
        for field in each._meta.local_concrete_fields
    ]
    return [column for column in found if column.has_foreign_key and not _has_lost_its_parent(column, state)]


def _has_lost_its_parent(column: Column, state: ProjectState) -> bool:
    parent = column.field.target_field.model
    return column.field.auto_created and _is_gone(parent, state)


def _is_gone(parent: type[Model], state: ProjectState) -> bool:
    key = parent._meta.app_label, parent._meta.model_name
    return key not in state.models and key[0] not in state.real_apps


def when_parent_goes(column: Column) -> str:
    """The ON DELETE by which a release that doesn't know the table leaves its rows readable for the other release."""
    keeps_row = column.field.null and column.field.remote_field.on_delete not in CASCADES
    return "SET NULL" if keeps_row else "CASCADE"


# Django 6.1 has one that the database does, too.
CASCADES = (models.CASCADE, getattr(models, "DB_CASCADE", models.CASCADE))


# ON DELETE of foreign keys that are no reason to keep a table: those that the migration gave one; all of them.
GIVEN, ANY = "cn", "acdnr"


def nothing_uses(model: type[Model], *, but_on_delete: str = "") -> Proof:
    """A proof that nothing uses the tables.

    Django's own DROP TABLE says CASCADE, so views of the project would vanish silently.
    """
    tables = _names(model)
    label = tables[-1].raw
    return Proof(
        why=f"{label}: no view, foreign key or function of yours uses it",
        query=" UNION ".join(
            users_of_table(table, also_dropped=tables, but_on_delete=but_on_delete) for table in tables
        ),
        failure=(
            f"The contract can't drop {label} as long as these use it: {{rows}}. Nothing was changed. Replace them "
            "first, then run the same command again."
        ),
    )


def drop(editor: BaseDatabaseSchemaEditor, why: str, model: type[Model], state: ProjectState) -> Plan:
    """Drops the table and those of its many-to-many fields, behind one LOCK of every table that DROP TABLE locks."""
    tables = _names(model)
    children = foreign_keys(editor, model, state)
    named = [*model._meta.indexes, *model._meta.constraints]
    return (
        nothing_uses(model),
        _no_function_uses(tables),
        Together(
            why=f"{tables[-1].raw}: {why}",
            sql=tuple(f"DROP TABLE IF EXISTS {table}" for table in tables),
            locks=dict.fromkeys([*(child.parent for child in children), *tables], Lock.ACCESS_EXCLUSIVE),
            done=table_missing(tables[-1]),
            undo=(_create_again(editor, model, state),),
            frees=(
                *map(claims.table, tables),
                *(claims.index(tables[-1], Name.from_django(index.name).raw) for index in named),
            ),
            works_on=tuple(key for child in children for key in child.points_at),
        ),
    )


def _no_function_uses(tables: list[Name]) -> Proof:
    """The contract asks this, as the same release may give a trigger that uses the table another function."""
    return Proof(
        why=f"{tables[-1].raw}: no function of your triggers uses it",
        query=functions_using(tables),
        failure=(
            f"{tables[-1].raw} can't be dropped yet, because functions of other tables' triggers use it, and writes "
            "would fail. They are: {rows}. Nothing was changed. Let them do without it, and run the same command again."
        ),
        done=table_missing(tables[-1]),
    )


def _create_again(editor: BaseDatabaseSchemaEditor, model: type[Model], state: ProjectState) -> Together:
    tables = _names(model)
    parents = [column.parent for column in foreign_keys(editor, model, state) if column.parent not in tables]
    with editor.connection.schema_editor(collect_sql=True, atomic=False) as collecting:
        collecting.create_model(model)
        collecting.deferred_sql = [sql for sql in collecting.deferred_sql if not _points_at_nothing(sql, model, state)]
    return Together(
        why=f"{tables[-1].raw}: create the table again, empty",
        sql=tuple(sql.rstrip(";") for sql in collecting.collected_sql),
        locks=dict.fromkeys(parents, Lock.SHARE_ROW_EXCLUSIVE),
        done=table_exists(tables[-1]),
        takes=tuple(map(claims.table, tables)),
    )


def _points_at_nothing(sql: Any, model: type[Model], state: ProjectState) -> bool:
    gone = [parent for parent in model._meta.parents if _is_gone(parent, state)]
    return isinstance(sql, Reference) and any(sql.references_table(parent._meta.db_table) for parent in gone)


def _names(model: type[Model]) -> list[Name]:
    """The names of the tables, in the order in which they can be dropped."""
    return [table_of(each) for each in (*through_tables(model), model)]


# The names of tables, from a state alone: nothing is rendered for them.


def bare_name(db_table: str) -> str:
    """The db_table without schema and quotes."""
    return Name.from_django(db_table).raw


def name_of(state: ModelState) -> str:
    return bare_name(db_table_of(state))


def db_table_of(state: ModelState) -> str:
    return str(state.options.get("db_table") or default_name(state.app_label, state.name))


def default_name(app_label: str, model_name: str) -> str:
    return truncate_name(f"{app_label}_{model_name.lower()}", NAME_LENGTH)


def db_tables_through(db_table: str, fields: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """ManyToManyField._get_m2m_db_table(), of fields that have no `through`."""
    for name, field in fields:
        if field.many_to_many and field.remote_field.through is None:
            made = truncate_name(f"{strip_quotes(db_table)}_{name}", NAME_LENGTH)
            yield str(field.db_table or made)
