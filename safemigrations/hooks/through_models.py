"""A many-to-many field gets a model of its own for its table: the table stays, and its rows with it.

Django can't alter `through`, and would make an empty table. So the new model first takes over the table as it is, in
Python alone, before Django compares the two states. What the model has besides Django detects as any other change:
another name of the table, further columns, an index, a unique set that goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations.operations import AlterField, CreateModel, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation
from django.db.models import CASCADE, NOT_PROVIDED, ForeignKey, OneToOneField
from django.db.models.fields import AutoFieldMixin

from ..data import Data
from ..plans.column import bound
from ..typed import field_of, through

Key = tuple[str, str]  # app and model, in lower case
OF_THE_DATABASE = ("indexes", "constraints", "unique_together", "db_table", "db_table_comment", "order_with_respect_to")


class Adoption(Data):
    """A many-to-many field and the new model that takes over its table."""

    app_label: str
    field_of: str
    name: str
    field: Any
    table: str
    create: CreateModel

    @property
    def operations(self) -> tuple[Operation, ...]:
        alter = AlterField(self.field_of, self.name, self.field)
        return (SeparateDatabaseAndState(state_operations=[self.create, alter]),)

    def __str__(self) -> str:
        return f"{self.create.name} takes over the table {self.table} of {self.field_of}.{self.name}, with its rows"


def adoptions(before: ProjectState, after: ProjectState) -> Iterator[Adoption]:
    for key in sorted(before.models.keys() & after.models.keys()):
        for name, field in after.models[key].fields.items():
            old: Any = before.models[key].fields.get(name)
            if old is not None and old.many_to_many and field.many_to_many and _has_own_table(old):
                yield from _of_field(key, name, old, field, before, after)


def have_one_table(old: Any, new: Any) -> bool:
    """Are both many-to-many, each with a table that Django makes or both with that of one model?"""
    if not old.many_to_many or not new.many_to_many:
        return False
    named = [str(field.remote_field.through or "").lower() for field in (old, new)]
    return named[0] == named[1]


def _has_own_table(field: Any) -> bool:
    return field.remote_field.through is None and hasattr(field, "db_table")


def _of_field(key: Key, name: str, old: Any, new: Any, before: ProjectState, after: ProjectState) -> Iterator[Adoption]:
    if new.remote_field.through is None or _target(old, key) != _target(new, key):
        return
    model = resolve_relation(new.remote_field.through, *key)
    state = after.models.get(model)
    if state is None or model in before.models or model[0] != key[0] or not state.options.get("managed", True):
        return
    table = through(field_of(before.clone().apps.get_model(*key), name))
    if create := _as_it_is(state, _ends(new, key, state), table):
        yield Adoption(key[0], before.models[key].name, name, new, str(table._meta.db_table), create)


def _target(field: Any, key: Key) -> Any:
    return resolve_relation(field.remote_field.model, *key)


def _ends(field: Any, key: Key, state: ModelState) -> list[str]:
    """The names of the two foreign keys, the one to the model of the field first."""
    if given := field.remote_field.through_fields:
        return list(given[:2])
    pointing = [
        (name, _target(each, (state.app_label, state.name_lower)))
        for name, each in state.fields.items()
        if isinstance(each, ForeignKey)
    ]
    first = next((name for name, target in pointing if target == key), "")
    second = next((name for name, target in pointing if target == _target(field, key) and name != first), "")
    return [first, second]


def _as_it_is(state: ModelState, ends: list[str], table: Any) -> CreateModel | None:
    """The model that describes the table as it is now; None if its keys differ."""
    key: Any = state.fields.get("id")
    columns = [each for each in table._meta.local_fields if each.remote_field]
    fields: list[Any] = [state.fields.get(name) for name in ends]
    if not isinstance(key, AutoFieldMixin) or not all(map(_can_be_of_it, fields)):
        return None
    named = [(name, _end(name, field, each.column)) for name, field, each in zip(ends, fields, columns, strict=True)]
    options = {name: value for name, value in state.options.items() if name not in OF_THE_DATABASE}
    options |= {"db_table": table._meta.db_table, "unique_together": {tuple(ends)}}
    return CreateModel(state.name, [("id", _key(key, table)), *named], options, state.bases, state.managers)


def _can_be_of_it(field: Any) -> bool:
    return isinstance(field, ForeignKey) and not isinstance(field, OneToOneField) and not field.to_fields[0]


def _key(field: Any, table: Any) -> Any:
    """The primary key as the model spells it, if its type is that of the table."""
    own = table._meta.pk
    return field.clone() if own.get_internal_type() == field.get_internal_type() else own.clone()


def _end(name: str, field: Any, column: str) -> Any:
    now = field.clone()
    now.null, now.db_index, now._unique, now.db_constraint, now.db_default = False, True, False, True, NOT_PROVIDED
    if getattr(now.remote_field.on_delete, "operation", ""):  # Django 6.1: an ON DELETE of the database
        now.remote_field.on_delete = CASCADE
    now.db_column = None
    if bound(now, name).column != column:
        now.db_column = column
    elif field.db_column:
        now.db_column = field.db_column
    return now
