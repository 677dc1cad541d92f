"""AlterField that gives a column another name -> ExpandAlterField.

RENAME COLUMN is instant, but the release that is still running names the old column in every SELECT and INSERT. So what
db_column moves is renamed as RenameField renames it: both names live until the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.migrations.operations import AlterField
from django.db.models import Field

from ..columns import Column
from ..steps import Plan
from .alteration import Alteration, alteration_at, alteration_in
from .base import Change, Context, Finding, Rule, Situation
from .rename_field import no_second_name

if TYPE_CHECKING:
    from ..twins import TwoNames


class ExpandAlterField(Change, AlterField):
    """Move a field to another column; both names work until the contract."""

    category = AlterField.category

    def __init__(self, model_name: str, name: str, field: Field[Any, Any], preserve_default: bool = True) -> None:
        AlterField.__init__(self, model_name, name, field, preserve_default)
        self.wrap(AlterField(model_name, name, field, preserve_default))

    def deconstruct(self):  # type: ignore[no-untyped-def]
        return AlterField.deconstruct(self)

    def describe(self) -> str:
        return f"{AlterField.describe(self)}; both releases can use it until the contract"

    @property
    def identity(self) -> str:
        return f"ExpandAlterField({self.model_name_lower}.{self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        return self._names(at).contract_label

    def _names(self, at: Situation) -> TwoNames:
        from ..twins import TwoNames  # see ExpandRename

        change = alteration_at(at, self.model_name, self.name)
        others = _others(change)
        if not change.renames_column or others:
            raise ValueError(
                f"ExpandAlterField {self.model_name}.{self.name} gives a column another name and does nothing else. "
                "Use AlterField for the rest, in the release after the contract, or let makemigrations write it."
            )
        return TwoNames(
            Column(at.editor, at.old(self.model_name), change.old.field),
            Column(at.editor, at.new(self.model_name), change.new.field),
        )

    def expand(self, at: Situation) -> Plan:
        return self._names(at).expand()

    def contract(self, at: Situation) -> Plan:
        return self._names(at).contract()


def _others(change: Alteration) -> str:
    """What the change does to the column besides."""
    return ", ".join(name.replace("_", " ") for name in change.work)


def find(operation: AlterField, context: Context) -> Finding | None:
    if type(operation) is not AlterField:
        return None
    change = alteration_in(context, operation)
    if change is None or not change.rewrites:
        return None
    return _of_name(operation, change, context) if change.renames_column else _of_type(operation)


def _of_name(operation: AlterField, change: Alteration, context: Context) -> Finding:
    old, new = change.old.field, change.new.field
    harm = (
        f"AlterField {operation.name} of {operation.model_name} gives its column another name ({old.column} becomes "
        f"{new.column}): the release that is still running names it in every query."
    )
    if others := _others(change):
        return Finding(
            harm,
            way_by_hand=f"It also {others}: do that in the release before, or in the one after the contract.",
        )
    if reason := no_second_name(operation, operation.name, operation.name, old, context):
        return Finding(harm, way_by_hand=reason)
    safe = ExpandAlterField(operation.model_name, operation.name, operation.field, operation.preserve_default)
    return Finding(
        harm,
        (safe,),
        notice=(
            f"{operation.model_name}.{operation.name}: the column is renamed, which copies it for a while. Keeping "
            f'db_column="{old.column}" costs nothing.'
        ),
    )


def _of_type(operation: AlterField) -> Finding:
    return Finding(
        f"AlterField {operation.name} of {operation.model_name} gives its column another type: the release that is "
        "still running fails, or nobody can use the table while it is rewritten.",
        way_by_hand=(
            "Add a new field beside it (AddFieldNullableThenBackfill fills it for both releases), let the code use "
            "that one, and remove the old one in a later release; or decide that the table is small, with "
            "allow_unsafe on the migration."
        ),
    )


rule = Rule("safemigrations.E043", find)
