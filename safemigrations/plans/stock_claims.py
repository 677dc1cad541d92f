"""Claims that a stock operation takes, from the states of models alone, without rendering them.

A contract that is still open must not find another column than it was made for: it would forbid null in one that a
later release allows it in, or drop one that a later release added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import migrations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from ..postgres.names import Name
from . import claims, tables
from .claims import Claim
from .column import bound


def taken_by(operation: Operation, app_label: str, before: ProjectState) -> Iterator[Claim]:
    """The columns, indexes and tables that a stock operation creates or changes."""
    if isinstance(operation, migrations.AddIndex):
        state = _model(before, app_label, operation.model_name)
        yield claims.index(_name(state) if state else "", Name.from_django(operation.index.name).raw)
    elif isinstance(operation, migrations.AddField | migrations.AlterField):
        yield from _of_field(operation, operation.field, _model(before, app_label, operation.model_name))
    elif isinstance(operation, migrations.RemoveField | migrations.RenameField):
        yield from _of_field_that_goes(operation, _model(before, app_label, operation.model_name))
    elif isinstance(operation, migrations.CreateModel):
        yield from tables_made_by(operation, app_label, before)
    elif isinstance(operation, migrations.RenameModel | migrations.AlterModelTable | migrations.DeleteModel):
        if state := _model(before, app_label, _former_name(operation)):
            yield claims.table(_name(state))
        yield from tables_made_by(operation, app_label, before)


def tables_of(state: ModelState) -> Iterator[Claim]:
    """The model's table and those of its many-to-many fields."""
    yield claims.table(_name(state))
    yield from tables_through(tables.db_table_of(state), state.fields.items())


def tables_through(db_table: str, fields: Any) -> Iterator[Claim]:
    return map(_table, tables.db_tables_through(db_table, fields))


def tables_made_by(operation: Operation, app_label: str, before: ProjectState) -> Iterator[Claim]:
    """The tables that an operation makes, and the new names of those that it renames."""
    if isinstance(operation, migrations.CreateModel):
        table = operation.options.get("db_table") or tables.default_name(app_label, operation.name)
        yield _table(table)
        yield from tables_through(table, operation.fields)
    elif state := _model(before, app_label, getattr(operation, "model_name", "") or _former_name(operation)):
        if isinstance(operation, migrations.AddField):
            yield from tables_through(tables.db_table_of(state), [(operation.name, operation.field)])
        elif isinstance(operation, migrations.RenameModel | migrations.AlterModelTable):
            yield from _renamed(operation, state)


def _renamed(operation: migrations.RenameModel | migrations.AlterModelTable, state: ModelState) -> Iterator[Claim]:
    table: str | None
    if isinstance(operation, migrations.AlterModelTable):
        table = operation.table or tables.default_name(state.app_label, state.name)
    elif not (table := state.options.get("db_table")):
        table = tables.default_name(state.app_label, operation.new_name)
    else:
        return
    yield _table(table)
    yield from tables_through(table, state.fields.items())


def _table(db_table: str) -> Claim:
    return claims.table(Name.from_django(db_table))


def _name(state: ModelState) -> Name:
    return Name.from_django(tables.db_table_of(state))


def _model(state: ProjectState, app_label: str, name: str) -> ModelState | None:
    return state.models.get((app_label, name.lower()))


def _former_name(operation: Any) -> str:
    return str(getattr(operation, "old_name", None) or getattr(operation, "name", ""))


# Columns.


def _of_field_that_goes(operation: Any, model: ModelState | None) -> Iterator[Claim]:
    field = model.fields.get(_former_name(operation)) if model else None
    if field is not None:
        yield from _of_field(operation, field, model)


def _of_field(operation: Any, field: Any, model: ModelState | None) -> Iterator[Claim]:
    if model is None:
        return
    column = claims.column(_name(model), Name.from_django(bound(field, operation.name).column or "").raw)
    if isinstance(operation, migrations.AlterField) and operation.name in model.fields:
        if _alters_the_type(operation, model):
            yield claims.view_of(_name(model))
        if not _is_the_contracts_business(operation, model):
            if _alters_the_column(operation, model):
                yield column.twin
            return
    if field.many_to_many:
        yield from tables_through(tables.db_table_of(model), [(operation.name, field)])
    elif column.name:
        yield column


def _is_the_contracts_business(operation: migrations.AlterField, model: ModelState) -> bool:
    """Does it alter something that an open contract may decide: the column's name, null, db_default or foreign key?"""
    return _of_contract(model.fields[operation.name]) != _of_contract(operation.field)


def _of_contract(field: Any) -> dict[str, Any]:
    options = field.deconstruct()[3]
    return {key: options.get(key) for key in ("null", "db_default", "db_column", "to", "to_field", "db_constraint")}


def _alters_the_column(operation: migrations.AlterField, model: ModelState) -> bool:
    """Does it alter the column? A twin that is altered alone can't hold what the other holds, such as a longer text."""
    return _differ(operation, model, operation.field.non_db_attrs)


NOT_OF_THE_TYPE = ("null", "unique", "db_index", "db_default", "db_comment", "db_constraint", "on_delete")


def _alters_the_type(operation: migrations.AlterField, model: ModelState) -> bool:
    return _differ(operation, model, (*operation.field.non_db_attrs, *NOT_OF_THE_TYPE))


def _differ(operation: migrations.AlterField, model: ModelState, but_for: Sequence[str]) -> bool:
    old, new = (
        (path, args, {key: value for key, value in options.items() if key not in but_for})
        for _, path, args, options in (model.fields[operation.name].deconstruct(), operation.field.deconstruct())
    )
    return old != new
