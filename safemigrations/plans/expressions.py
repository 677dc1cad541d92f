"""Expressions that give each row one value, as far as the models' fields tell.

PostgreSQL finds out only while rows are filled, and then says no more than that a subquery returned several rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models import Aggregate, F, Field, Model, Q, Subquery

BY_HAND = "Compute it by a function that is given the row, or write a Subquery into the migration by hand."


def gives_one_value(model: type[Model], expression: Any) -> None:
    """Raises FieldError, which says what to do, for an aggregate and for what follows a relation to many rows."""
    for part in parts(expression):
        if isinstance(part, Aggregate):
            raise FieldError(f"{type(part).__name__} is an aggregate over many rows, and this is about one. {BY_HAND}")
        for _, name, field in along(model, part):
            if field is not None and (field.many_to_many or field.one_to_many):
                raise FieldError(f"{part.name} leads to many rows, by {name}, and each row gets one value. {BY_HAND}")


def refuse_many(model: type[Model], field: Field[Any, Any], expression: Any) -> None:
    """The same where a plan is made; raises NotComputable, naming model and field."""
    from .triggers import NotComputable  # loads psycopg, which `check` doesn't need

    try:
        gives_one_value(model, expression)
    except FieldError as error:
        raise NotComputable(f"The backfill of {model._meta.label}.{field.name} can't be computed: {error}") from error


def missing(model: type[Model], expression: Any) -> Iterator[tuple[type[Model], str]]:
    """What the expression reads and the models don't have: the model, and the name that it lacks."""
    for part in parts(expression):
        for owner, name, field in along(model, part):
            if field is None:
                yield owner, name


def parts(expression: Any) -> Iterator[Any]:
    """The expression and whatever it consists of, the names in a Q as F; a subquery has rows of its own."""
    yield expression
    if isinstance(expression, Subquery):
        return
    if isinstance(expression, Q):
        for child in expression.children:
            name, value = child if isinstance(child, tuple) else ("", child)
            yield from (F(name),) if name else ()
            yield from parts(value)
    elif hasattr(expression, "get_source_expressions"):
        for part in expression.get_source_expressions():
            yield from parts(part)


def along(model: type[Model], part: Any) -> Iterator[tuple[type[Model], str, Any]]:
    """Each name of the path that F has, with the model that it belongs to and its field, if that has one."""
    path = str(getattr(part, "name", "")) if isinstance(part, F) else ""
    for name in path.split("__") if path else ():
        if name == "pk":
            return
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            yield model, name, None
            return
        yield model, name, field
        if not field.is_relation or not field.related_model:
            return  # what follows is a transform or a lookup
        model = field.related_model
