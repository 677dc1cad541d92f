"""Expressions that give one value for each row: a check by the models' fields, and their SQL.

PostgreSQL finds out only while rows are filled, and then says no more than that a subquery returned several rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Aggregate, ExpressionWrapper, F, Field, Model, Q, Subquery
from django.db.models.sql.datastructures import BaseTable

from ..errors import NotComputable
from ..postgres.names import Name
from ..typed import compose

BY_HAND = "Compute it by a function that is given the row, or write a Subquery into the migration by hand."


def gives_one_value(model: type[Model], expression: Any) -> None:
    """Raises FieldError, which says what to do, for an aggregate and for a path along a relation to many rows."""
    for part in parts(expression):
        if isinstance(part, Aggregate):
            raise FieldError(f"{type(part).__name__} is an aggregate over many rows, and this is about one. {BY_HAND}")
        for _, name, field in along(model, part):
            if field is not None and (field.many_to_many or field.one_to_many):
                raise FieldError(f"{part.name} leads to many rows, by {name}, and each row gets one value. {BY_HAND}")


def refuse_many(model: type[Model], field: Field[Any, Any], expression: Any) -> None:
    """Raises NotComputable, naming model and field, for what gives_one_value() refuses."""
    try:
        gives_one_value(model, expression)
    except FieldError as error:
        raise NotComputable(f"The backfill of {model._meta.label}.{field.name} can't be computed: {error}") from error


def missing(model: type[Model], expression: Any) -> Iterator[tuple[type[Model], str]]:
    """What the expression reads and the models lack: the model and the name."""
    for part in parts(expression):
        for owner, name, field in along(model, part):
            if field is None:
                yield owner, name


def parts(expression: Any) -> Iterator[Any]:
    """The expression and all its parts; the names in a Q as F. A subquery has rows of its own."""
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
    """Each name on the path of an F, with its model and its field; None if the model has no such field."""
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


# As SQL.


class _OneRow(BaseTable):
    """A table in FROM that is one row: NEW in a trigger, or the row that an UPDATE changes.

    Under a name of its own, because the table's may be qualified, which an alias can't be.
    """

    def __init__(self, row: str, model: type[Model]) -> None:
        super().__init__("safemig_row", "")
        self.row, self.model = row, model

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, tuple[str | int, ...]]:
        fields: list[Any] = list(self.model._meta.local_concrete_fields)
        alias = Name.of(str(self.table_alias))
        if self.row != "NEW" or not any(field.generated for field in fields):
            return f"(SELECT {self.row}.*) AS {alias}", ()
        # A BEFORE trigger sees the generated columns still empty, so they are computed here.
        columns = ", ".join(_column_of_row(field, connection) for field in fields)
        return f"(SELECT {columns} FROM (SELECT NEW.*) AS given) AS {alias}", ()


def _column_of_row(field: Any, connection: BaseDatabaseWrapper) -> str:
    column = Name.from_django(field.column)
    return f"{_generated(field, connection)} AS {column}" if field.generated else column


def _generated(field: Any, connection: BaseDatabaseWrapper) -> str:
    sql, params = field.generated_sql(connection)
    return compose(connection, sql, params) if params else str(sql)


def row_expression(
    connection: BaseDatabaseWrapper, model: type[Model], field: Field[Any, Any], expression: Any, *, row: str
) -> str:
    """An expression over a row and its relations as a scalar subquery; `row` is NEW or the quoted table.

    Raises NotComputable, naming model and field, when the expression doesn't resolve.
    """
    try:
        wrapped = ExpressionWrapper(expression, output_field=field)
        rows = model._base_manager.order_by()
        rows.query.join(_OneRow(row, model))
        query = rows.annotate(safemig_value=wrapped).values_list("safemig_value").query
        sql, params = query.get_compiler(connection=connection).as_sql()
    except (FieldError, AttributeError, TypeError) as error:
        raise NotComputable(
            f"The backfill of {model._meta.label}.{field.name} can't be computed: {str(error).rstrip('.')}. "
            f"Write an expression over the fields of {model._meta.object_name}, such as F('price') * 2."
        ) from error
    return f"({compose(connection, sql, params)})"
