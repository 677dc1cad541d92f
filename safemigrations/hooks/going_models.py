"""Models that go together and point at each other: Django removes their keys first, one by one.

It forgets that a set of unique_together, an index or a constraint of such a model may be over the key. What is left
names a field that isn't there, so nobody could make the table again on the way back, and
AlterUniqueTogether fails. So what is over a key is removed before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Any

from django.db.migrations.autodetector import OperationDependency
from django.db.migrations.operations import RemoveConstraint, RemoveField, RemoveIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Index, Q

from ..operations.add_unique_constraint import names_of


def sets_before_keys(app_label: str, detected: Iterable[Any], going: Collection[tuple[str, str]]) -> None:
    """Let the removal of a key come after the operation that empties the unique_together over it."""
    for operation in detected:
        if isinstance(operation, RemoveField) and (app_label, operation.model_name_lower) in going:
            kind = OperationDependency.Type.ALTER_FOO_TOGETHER
            key: Any = OperationDependency(app_label, operation.model_name, operation.name, kind)
            dependent: Any = operation
            dependent._auto_deps.append(key)


def what_is_over(operation: Operation, app_label: str, state: ProjectState) -> Iterator[Operation]:
    """The operations that remove the indexes and constraints over a field that is removed."""
    if not isinstance(operation, RemoveField):
        return
    options = state.models[app_label, operation.model_name_lower].options
    for each in (*options.get("indexes", ()), *options.get("constraints", ())):
        if operation.name in _names_in(each):
            removal: Any = RemoveIndex if isinstance(each, Index) else RemoveConstraint
            yield removal(operation.model_name, each.name)


def _names_in(each: Any) -> set[str]:
    """The fields that an index or a constraint is over."""
    pairs = [pair if isinstance(pair, tuple | list) else (pair, "") for pair in getattr(each, "expressions", ())]
    parts = [getattr(each, "condition", None), *(expression for expression, _ in pairs)]  # those of EXCLUDE are pairs
    named = [name.removeprefix("-") for name in (*getattr(each, "fields", ()), *getattr(each, "include", ()))]
    return {*named, *chain.from_iterable(map(_names_of, parts))}


def _names_of(part: Any) -> Iterable[str]:
    if part is None or isinstance(part, str):
        return [part or ""]
    return part.referenced_base_fields if isinstance(part, Q) else names_of(part)
