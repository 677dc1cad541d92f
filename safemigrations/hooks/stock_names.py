"""The tables and columns that Django's own operations give another name or another type."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.migrations.operations.base import Operation

from ..operations.base import Situation
from ..plans import old_table_name
from ..plans.carried import Carried, Renamed, carried
from ..plans.column import Column
from ..typed import field_of


def renamed_by_stock(operation: Operation, at: Situation) -> tuple[Renamed, ...]:
    return old_table_name.renames(_tables(operation, at))


def carried_by_stock(operation: Operation, at: Situation) -> tuple[Carried, ...]:
    pairs = old_table_name.carries(at.editor, _tables(operation, at))
    columns = _columns(operation, at)
    if columns is None or columns[0].field.column is None or columns[1].field.column is None:
        return pairs
    old, new = columns
    value = "{}" if old.type == new.type else f"{{}}::{new.type}"
    return (*pairs, carried(old, new, value))


def _tables(operation: Operation, at: Situation) -> list[old_table_name.Pair]:
    match operation:
        case migrations.RenameModel(old_name=old, new_name=new):
            return old_table_name.renamed_with_model(at.old(old), at.new(new))
        case migrations.AlterModelTable(name=name):
            return old_table_name.renamed_with_table(at.old(name), at.new(name))
    columns = _columns(operation, at)
    many_to_many = columns is not None and all(column.field.many_to_many for column in columns)
    return old_table_name.renamed_with_field(columns[0].field, columns[1].field) if columns and many_to_many else []


def _columns(operation: Operation, at: Situation) -> tuple[Column, Column] | None:
    if not (fields := fields_of(operation, at)):
        return None
    old, new = fields
    return Column(at.editor, old.model, old), Column(at.editor, new.model, new)


def fields_of(operation: Operation, at: Situation) -> tuple[Any, Any] | None:
    """The field that the operation alters or renames, in the state before and in the state after."""
    match operation:
        case migrations.AlterField(name=before):
            after = before
        case migrations.RenameField(old_name=before, new_name=after):
            pass
        case _:
            return None
    old, new = at.old(operation.model_name), at.new(operation.model_name)
    return field_of(old, before), field_of(new, after)
