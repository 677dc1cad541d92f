"""AlterField of a many-to-many field: refused.

Such a field has a table, and no column. Django leaves the table alone, renames it, or fails. PostgreSQL renames a table
in an instant, but the old release names it in every query.

So the rule says what can be done instead, and a person decides.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations import AlterField
from django.db.migrations.utils import resolve_relation

from .rule import Context, Finding

ANOTHER_TABLE = (
    "Add a second relation beside it, let one release write both and fill the new one for the rows that are there, let "
    "the next release read that, and remove the old one in a third. Or decide that the table is small and the site can "
    "wait, with allow_unsafe on the migration."
)


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
    if _target(old, context) != _target(new, context):
        return Finding(
            f"{what} points at another table: either release takes the keys that the other writes for its own.",
            way_by_hand=ANOTHER_TABLE,
        )
    # A relation of somebody else (TaggableManager) has no table of its own.
    if getattr(old, "db_table", None) != getattr(new, "db_table", None) and not new.remote_field.through:
        return Finding(
            f"{what} renames its table at once: the old release names it in every query.",
            way_by_hand="Keep its db_table; or rename it while no server runs, with allow_unsafe on the migration.",
        )
    return None


def _through(field: Any, context: Context) -> Any:
    through = field.remote_field.through
    return through and resolve_relation(through, context.app_label)


def _target(field: Any, context: Context) -> Any:
    return resolve_relation(field.remote_field.model, context.app_label)
