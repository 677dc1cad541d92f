"""AlterField of a many-to-many field.

Such a field has a table, and no column. Django leaves the table alone, renames it, or fails. PostgreSQL renames a table
in an instant, but the old release names it in every query. So a view has the old name until the contract.

Where the field points at another model: many_to_many_to_another_model.py.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations import AlterField
from django.db.migrations.utils import resolve_relation

from ..plans.old_table_name import OTHER_SCHEMA, moves_to_another_schema
from . import many_to_many_to_another_model
from .alter_field_type import ExpandAlterField
from .rule import Context, Finding


def find(operation: AlterField, context: Context) -> Finding | None:
    old: Any = context.model_before(operation.model_name).fields.get(operation.name)
    new: Any = operation.field
    if old is None or not (old.many_to_many and new.many_to_many):
        return None
    what = f"AlterField {operation.name} of {operation.model_name}"
    if _through(old, context) != _through(new, context):
        return Finding(
            f"{what} changes `through`, which Django can't: migrate fails.",
            way_by_hand=(
                "Let the model of `through` take the table that is there: put CreateModel for it, with the db_table "
                "and the columns of the present table, and this AlterField into state_operations of a "
                "SeparateDatabaseAndState."
            ),
        )
    if new.remote_field.through:
        return None  # the table is that of a model, whose foreign key changes
    if _target(old, context) != _target(new, context):
        return many_to_many_to_another_model.find(operation, context)
    # A relation of somebody else (TaggableManager) has no table of its own.
    if getattr(old, "db_table", None) == getattr(new, "db_table", None):
        return None
    names = [many_to_many_to_another_model.table(field, operation, context) for field in (old, new)]
    if moves_to_another_schema(*names):
        return Finding(f"{what} fails in PostgreSQL.", way_by_hand=OTHER_SCHEMA)
    if names[0] == names[1]:
        return None
    return Finding(
        f"{what} renames its table at once: the old release names it in every query.",
        (ExpandAlterField(operation.model_name, operation.name, new, operation.preserve_default),),
    )


def _through(field: Any, context: Context) -> Any:
    through = field.remote_field.through
    return through and resolve_relation(through, context.app_label)


def _target(field: Any, context: Context) -> Any:
    return resolve_relation(field.remote_field.model, context.app_label)
