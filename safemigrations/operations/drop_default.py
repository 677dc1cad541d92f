"""AlterField that drops db_default -> DropDefaultLater.

Dropping the default is instant. But the old release leaves the column to the database: its INSERT
says DEFAULT, which then is NULL.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-DEFAULT

So the default stays until the contract. The new release doesn't mind: it sends a value.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations import AlterField
from django.db.models import Field

from ..plans import defaults
from ..plans.column import Column
from ..plans.steps import Plan
from .alteration import Alteration, refuse_besides
from .base import Change, Situation
from .forms import alteration_at
from .parts import Part
from .rule import Context, Finding, Rule


class DropDefaultLater(Change, AlterField):
    """Drop the database default when the old release, whose INSERTs rely on it, has gone."""

    category = AlterField.category

    def __init__(self, model_name: str, name: str, field: Field[Any, Any], preserve_default: bool = True) -> None:
        if field.has_db_default():
            raise ValueError(f"DropDefaultLater {model_name}.{name}: the field still has a db_default.")
        AlterField.__init__(self, model_name, name, field, preserve_default)
        self.wrap(AlterField(model_name, name, field, preserve_default))

    def describe(self) -> str:
        return f"{AlterField.describe(self)}; its database default is dropped by the contract"

    @property
    def identity(self) -> str:
        return f"DropDefaultLater({self.model_name_lower}.{self.name_lower})"

    def refuse(self, change: Alteration) -> None:
        refuse_besides(change, self, "drops_default")

    def _column(self, at: Situation) -> Column:
        self.refuse(alteration_at(at, self.model_name, self.name))
        return Column(at.editor, at.old(self.model_name), at.old(self.model_name)._meta.get_field(self.name))

    def contract_label(self, at: Situation) -> str:
        column = self._column(at)
        return f"drop the default of {column.name} of {column.label}"

    def contract(self, at: Situation) -> Plan:
        column = self._column(at)
        if not column.field.has_db_default():
            return ()
        return (column.drop_default(undo=(column.set_default(defaults.sql(at.connection, column.field)),)),)


def find(part: Part, context: Context) -> Finding | None:
    operation, change = part.operation, part.change
    if change.rewrites or not change.drops_default:
        return None
    return Finding(
        f"AlterField {operation.name} of {operation.model_name} drops its db_default at once: the old release "
        "inserts rows that rely on it, and they get NULL or fail.",
        (DropDefaultLater(operation.model_name, operation.name, operation.field, operation.preserve_default),),
    )


rule = Rule("safemigrations.E042", Part, find)
