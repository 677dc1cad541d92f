"""Which defaults of fields PostgreSQL can hold.

It adds a column with a constant or STABLE default to a table of any size in an instant. It computes a volatile default
for every row. It can't call a Python function at all.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
"""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, Func, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Random
from django.utils import timezone

from ..data import Data
from ..postgres.values import literal
from ..typed import compose


class DefaultKind(enum.Enum):
    NONE = "no default"
    INSTANT = "a constant, or STABLE: the same for all rows of a statement"
    VOLATILE = "another value for each row"
    PYTHON = "a function that only Python can call"


class Equivalent(Data):
    """An SQL expression with the same result as a Python callable."""

    sql: str
    kind: DefaultKind


# The moment is that of the statement, as near as SQL comes to Python's while it stays STABLE.
NOW = "statement_timestamp()"
PURE = (dict, list, tuple, set, str, int, float, bool, bytes, Decimal)  # called without arguments: constants


def _local(cast: str) -> Equivalent:
    return Equivalent(f"({NOW} AT TIME ZONE {literal(settings.TIME_ZONE or 'UTC')})::{cast}", DefaultKind.INSTANT)


def _equivalents() -> dict[tuple[Callable[..., Any], str], Equivalent]:
    uuid4 = "gen_random_uuid()"
    return {
        (uuid.uuid4, "UUIDField"): Equivalent(uuid4, DefaultKind.VOLATILE),
        (uuid.uuid4, "CharField"): Equivalent(f"{uuid4}::varchar", DefaultKind.VOLATILE),
        (uuid.uuid4, "TextField"): Equivalent(f"{uuid4}::text", DefaultKind.VOLATILE),
        (timezone.now, "DateTimeField"): Equivalent(NOW, DefaultKind.INSTANT),
        (timezone.now, "DateField"): _local("date"),
        (timezone.localdate, "DateField"): _local("date"),
        (timezone.localtime, "DateTimeField"): Equivalent(NOW, DefaultKind.INSTANT),
        (datetime.datetime.now, "DateTimeField"): Equivalent(NOW, DefaultKind.INSTANT),
        (datetime.date.today, "DateField"): _local("date"),
    }


STORAGE = ("from_db_value", "get_prep_value", "get_db_prep_value", "get_db_prep_save", "db_type")
CONVERSIONS = (*STORAGE, "pre_save")


def is_plain(field: Field[Any, Any], methods: tuple[str, ...] = CONVERSIONS) -> bool:
    """Does the database store the field's values in the way of Django's own field of that internal type?"""
    stock = next((cls for cls in type(field).__mro__ if cls.__module__.startswith("django.")), Field)
    return all(getattr(type(field), name, None) is getattr(stock, name, None) for name in methods)


def is_dated(field: Field[Any, Any]) -> bool:
    """Is it auto_now or auto_now_add, and has no other default?"""
    automatic = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    return bool(automatic) and not field.has_default()


def _equivalent(field: Field[Any, Any]) -> Equivalent | None:
    """The equivalent of a field's callable default, or of what auto_now and auto_now_add do."""
    internal = field.get_internal_type()
    if is_dated(field) and is_plain(field, STORAGE):  # Django fills rows with the moment, whatever pre_save() does
        return {
            "DateTimeField": Equivalent(NOW, DefaultKind.INSTANT),
            "DateField": _local("date"),
            "TimeField": _local("time"),
        }.get(internal)
    if not (is_plain(field) and field.has_default() and callable(field.default)):
        return None
    try:
        return _equivalents().get((field.default, internal))
    except TypeError:  # an unhashable callable
        return None


def kind(field: Field[Any, Any]) -> DefaultKind:
    """What fills rows that lack a value. Asks no database, and agrees with effective_default() of Django."""
    if field.has_db_default():
        return DefaultKind.VOLATILE if is_volatile(field.db_default) else DefaultKind.INSTANT
    if known := _equivalent(field):
        return known.kind
    if not field.has_default():
        empty = not field.null and field.blank and field.empty_strings_allowed
        return DefaultKind.INSTANT if empty or is_dated(field) else DefaultKind.NONE
    if callable(field.default) and field.default not in PURE:
        return DefaultKind.PYTHON
    return DefaultKind.INSTANT


def fills(field: Field[Any, Any]) -> bool:
    """Does a row without a value get one that isn't null?"""
    is_none = not field.has_db_default() and field.has_default() and field.default is None
    return kind(field) is not DefaultKind.NONE and not is_none


def is_volatile(expression: Any) -> bool:
    """May the expression differ for each row? A function that Django doesn't know counts as volatile."""
    if not isinstance(expression, Expression):
        return False
    if isinstance(expression, Random | RawSQL) or type(expression).__name__ in {"RandomUUID", "UUID4", "UUID7"}:
        return True
    known = type(expression).__module__.startswith("django.") and type(expression) is not Func
    return not known or any(is_volatile(source) for source in expression.get_source_expressions())


def sql(connection: BaseDatabaseWrapper, field: Field[Any, Any]) -> str:
    """The expression for DEFAULT. Raises ValueError for a value that only Python can compute."""
    if field.has_db_default():
        with connection.schema_editor(collect_sql=True, atomic=False) as editor:
            text, params = editor.db_default_sql(field)
        return _compose(connection, text, params)
    if known := _equivalent(field):
        return known.sql
    if kind(field) is DefaultKind.PYTHON:
        raise ValueError(f"{field}: PostgreSQL can't compute {field.default!r}.")
    return one_value(connection, field)


def is_constant(field: Field[Any, Any]) -> bool:
    """Is what DEFAULT says the same at any time? An expression may depend on the moment."""
    if field.has_db_default():
        return isinstance(field.db_default, Value) or not isinstance(field.db_default, Expression)
    return kind(field) is DefaultKind.INSTANT and not is_dated(field) and _equivalent(field) is None


def one_value(connection: BaseDatabaseWrapper, field: Field[Any, Any]) -> str:
    """The default that Django computes once for all rows."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        return _compose(connection, "%s", [editor.effective_default(field)])


def _compose(connection: BaseDatabaseWrapper, text: str, params: Any) -> str:
    return compose(connection, text, params) if params else text
