"""A field goes, another one comes, and the two have one column: the column stays, and its values with it.

Such as `rep_id = IntegerField()` that becomes `rep = ForeignKey(...)`. Django would drop the column, and add an empty
one of the same name. So the old field is first renamed in Python alone, before Django compares the two states; what is
left is an AlterField as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db.migrations.autodetector import OperationDependency
from django.db.migrations.operations import AlterField, RenameField
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from ..data import Data
from ..plans.column import bound
from ..typed import set_on


class Succession(Data):
    """A field that is removed and a field that is added with the same column."""

    app_label: str
    model_name: str
    old_name: str
    new_name: str
    column: str
    field: Any  # the old one

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that rename the old field in Python alone, so that its column stays."""
        kept = self.field.clone()
        kept.db_column = self.column
        named = (AlterField(self.model_name, self.old_name, kept),) if self.field.db_column != self.column else ()
        return (*named, RenameField(self.model_name, self.old_name, self.new_name))

    def __str__(self) -> str:
        return (
            f"{self.model_name}.{self.new_name} takes over the column {self.column} of "
            f"{self.model_name}.{self.old_name}, with its values"
        )


def successions(before: ProjectState, after: ProjectState) -> Iterator[Succession]:
    for key in sorted(before.models.keys() & after.models.keys()):
        old, new = before.models[key], after.models[key]
        if all(model.options.get("managed", True) and not model.options.get("proxy") for model in (old, new)):
            yield from _in_model(key, old, new)


def _in_model(key: tuple[str, str], old: ModelState, new: ModelState) -> Iterator[Succession]:
    coming = {_column(name, field): name for name, field in new.fields.items() if name not in old.fields}
    for name, field in old.fields.items():
        column = _column(name, field)
        if name in new.fields or not column or column not in coming:
            continue
        successor: Any = new.fields[coming[column]]
        if field.primary_key == successor.primary_key and _described(field) != _described(successor):
            yield Succession(*key, name, coming[column], column, field)


def _column(name: str, field: Any) -> str:
    """Empty for a field that has none, or whose values the database computes."""
    if field.many_to_many or field.generated:
        return ""
    return str(bound(field, name).column or "")


def _described(field: Any) -> tuple[Any, ...]:
    """The field without its name. If only the name changes, Django asks itself whether the field was renamed."""
    _, path, args, kwargs = field.deconstruct()
    return path, args, {name: value for name, value in kwargs.items() if name != "db_column"}


def follow_each_other(operations: Mapping[str, list[Any]], kept: Iterable[Any]) -> None:
    """Let the rename in Python wait for the operation that keeps the column, and what alters the new field for both.

    Where a relation takes over the column, and its target is renamed in the same release, some of them wait for that.
    """
    kinds = OperationDependency.Type
    for each in kept:
        if not isinstance(each, Succession):
            continue
        key = (each.app_label, each.model_name)
        renamed = RenameField(each.model_name, each.old_name, each.new_name).deconstruct()
        for operation in operations.get(each.app_label, ()):
            if operation.deconstruct() == renamed:
                needed = OperationDependency(*key, each.old_name, kinds.ALTER)
            elif isinstance(operation, AlterField) and (operation.model_name_lower, operation.name) == (
                each.model_name,
                each.new_name,
            ):
                needed = OperationDependency(*key, each.new_name, kinds.CREATE)
            else:
                continue
            set_on(operation, _auto_deps=[*operation._auto_deps, needed])
