"""The target of a foreign key before and after: whether the rows are the same, and which field leads from one to the
other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation

from ..data import Data
from ..plans.column import bound
from ..plans.tables import db_table_of, default_name
from ..postgres.names import Name
from .forms import concrete
from .parts import Altered
from .rule import Context


def are_same_rows(context: Context, old: str, new: str) -> bool:
    """Is one of the two models the other's proxy, parent or child? Or have both one table, since a model moved?"""
    if _table(context.before, old) == _table(context.after, new):
        return True
    return new in _lineage(context.before, old) or old in _lineage(context.after, new)


def _table(state: ProjectState, label: str) -> str:
    model = state.models.get(resolve_relation(label))
    return db_table_of(model) if model else default_name(*resolve_relation(label))


def _lineage(state: ProjectState, label: str) -> set[str]:
    model = state.models.get(resolve_relation(label))
    bases = [base for base in model.bases if isinstance(base, str)] if model else []
    return {label}.union(*(_lineage(state, base) for base in bases))


def points_at_other_rows(whole: Altered, context: Context) -> bool:
    return whole.change.retargets and not are_same_rows(context, *targets(whole, context))


def targets(whole: Altered, context: Context) -> tuple[str, str]:
    """The models that the foreign key points at, before and after, such as shop.customer."""
    own = context.app_label, whole.operation.model_name.lower()
    forms = (whole.change.old, context.before), (whole.change.new, context.after)
    old, new = (concrete(state, resolve_relation(form.field.remote_field.model, *own)) for form, state in forms)
    return ".".join(old), ".".join(new)


class Link(Data):
    """A foreign key between two models, which leads from a row of either to a row of the other."""

    name: str  # model and field, for people
    table: Name
    own: Name  # the column with the keys of its model
    other: Name  # the column of the foreign key
    is_of_new: bool  # does it stand in the model that is pointed at from now on?

    @property
    def using(self) -> str:
        """SQL that computes the new key from the old one, {}."""
        return self._of(self.other, self.own) if self.is_of_new else self._of(self.own, self.other)

    @property
    def back(self) -> str:
        return self._of(self.own, self.other) if self.is_of_new else self._of(self.other, self.own)

    def _of(self, given: Name, wanted: Name) -> str:
        return f"(SELECT {wanted} FROM {self.table} WHERE {given} = {{}} ORDER BY {self.own} LIMIT 1)"


def links(context: Context, old: str, new: str, *, one_to_one: bool = False) -> Iterator[Link]:
    """The foreign keys between the two models that both releases have.

    One of the new model counts only if it is unique. With `one_to_one` every one has to be unique.
    """
    for label, to, is_of_new in ((new, old, True), (old, new, False)):
        model = context.before.models.get(resolve_relation(label))
        for name, field in model.fields.items() if model else ():
            if _points_at(field, model, to) and (field.unique or not (is_of_new or one_to_one)):
                yield _link(model, name, field, is_of_new)


def _points_at(field: Any, model: Any, label: str) -> bool:
    if not field.remote_field or field.many_to_many or not hasattr(field, "to_fields") or field.to_fields[0]:
        return False
    return ".".join(resolve_relation(field.remote_field.model, model.app_label, model.name_lower)) == label


def _link(model: Any, name: str, field: Any, is_of_new: bool) -> Link:
    own, other = _key(model), str(bound(field, name).column)
    table = Name.from_django(db_table_of(model))
    return Link(f"{model.name}.{name}", table, Name.from_django(own), Name.from_django(other), is_of_new)


def _key(model: ModelState) -> str:
    keys = [(name, field) for name, field in model.fields.items() if field.primary_key]
    return str(bound(keys[0][1], keys[0][0]).column)
