"""The objects that PostgreSQL rebuilds for a new type, even if the new type costs the column itself nothing.

ALTER TYPE keeps an index where values of the new type stand in the same order: a plain one, whose operator class stays.
It builds any other anew, and reads every row for a check. https://www.postgresql.org/docs/current/sql-altertable.html
Django drops the foreign keys that point at the column, alters their columns too, and makes the foreign keys again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import get_references
from django.db.models import F, OrderBy

from ..data import Data
from ..plans.casts import parse
from ..plans.expressions import parts

Key = tuple[str, str]  # app and model, in lower case


class Relied(Data):
    """A field whose column gets another type, and the models around it."""

    state: ProjectState
    key: Key
    name: str
    old_type: str
    new_type: str

    @property
    def is_made_anew(self) -> bool:
        """Does a rebuild, of anything that the models know, take longer than the column itself?"""
        pointing = any(self._points_here(*each) for each in self._pointing())
        return self.is_made_anew_with_it or pointing or self._has_many_to_many(self.state.models[self.key])

    @property
    def is_made_anew_with_it(self) -> bool:
        """Does a rebuild of anything of its own table take longer than the column itself, whoever changes the type?"""
        model = self.state.models[self.key]
        return (
            (self._is_ordered_anew and self._is_indexed(model))
            or any(self._breaks(each) for each in _of_meta(model))
            or any(field.generated and self.name in _named([field.expression]) for field in model.fields.values())
        )

    @property
    def _is_ordered_anew(self) -> bool:
        """Does the index get another operator class, as with citext? That of varchar is the one of text."""
        return ("citext" in parse(self.old_type)) != ("citext" in parse(self.new_type))

    def _is_indexed(self, model: ModelState) -> bool:
        field: Any = model.fields[self.name]
        together = model.options.get("unique_together") or ()
        return bool(field.db_index or field.unique or any(self.name in names for names in together))

    def _breaks(self, found: Any) -> bool:
        """Is this index or constraint one that PostgreSQL rebuilds?"""
        plain, computed = _plain(found), list(_computed(found))
        if self.name in _named(computed):
            return True
        if self.name not in (*plain, *(getattr(found, "include", None) or ())):
            return False
        return bool(computed) or (self._is_ordered_anew and self.name in plain and not getattr(found, "opclasses", ()))

    # Foreign keys.

    def _pointing(self) -> Iterator[tuple[Key, str, Any]]:
        field = self.state.models[self.key].fields[self.name]
        for model, name, other, reference in get_references(self.state, self.key, (self.name, field)):
            if reference.to and (field.primary_key or not other.many_to_many):
                yield (model.app_label, model.name_lower), name, other

    def _points_here(self, key: Key, name: str, field: Any) -> bool:
        """Is it a foreign key, or a column with something of its own that is made anew?"""
        if field.many_to_many or field.db_constraint or "text" in (self.old_type, self.new_type):
            return True
        return Relied(self.state, key, name, self.old_type, self.new_type).is_made_anew

    def _has_many_to_many(self, model: ModelState) -> bool:
        return bool(model.fields[self.name].primary_key) and any(f.many_to_many for f in model.fields.values())


def _of_meta(model: ModelState) -> Iterator[Any]:
    yield from model.options.get("indexes", ())
    yield from model.options.get("constraints", ())


def _plain(found: Any) -> list[str]:
    """The columns that stand in an index or constraint as they are, in either direction."""
    listed = [name.removeprefix("-") for name in getattr(found, "fields", ())]
    return [*listed, *_named(one for one in map(_in_order, _expressions(found)) if isinstance(one, F))]


def _computed(found: Any) -> Iterator[Any]:
    yield from (one for one in _expressions(found) if not isinstance(_in_order(one), F))
    if condition := getattr(found, "condition", None):
        yield condition


def _expressions(found: Any) -> Iterator[Any]:
    """Those of an exclusion constraint are pairs with operators."""
    for each in getattr(found, "expressions", ()):
        one = each[0] if isinstance(each, tuple | list) else each
        yield F(one) if isinstance(one, str) else one


def _in_order(expression: Any) -> Any:
    return expression.expression if isinstance(expression, OrderBy) else expression


def _named(expressions: Iterable[Any]) -> set[str]:
    """The fields that expressions name."""
    paths = (getattr(part, "name", "") for one in expressions for part in parts(one) if isinstance(part, F))
    return {str(path).partition("__")[0] for path in paths}
