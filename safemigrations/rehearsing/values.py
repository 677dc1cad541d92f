"""Values for fields. Each differs from the one before, so unique columns accept them, and a lost value is noticed.

What a field of a project's own holds says SAFEMIGRATIONS["REHEARSAL_VALUES"]. Fields that nobody here knows are left to
model-bakery, which also reads its own setting BAKER_CUSTOM_FIELDS_GEN.
"""

from __future__ import annotations

import datetime
import itertools
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from importlib import import_module
from ipaddress import IPv4Address
from typing import Any

from django.core.management.base import CommandError
from django.db import models
from django.db.models import CheckConstraint, Q
from django.utils.module_loading import import_string

from .. import conf

try:
    Baker: Any = import_module("model_bakery.baker").Baker
except ImportError:
    Baker = None

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
DAY = datetime.date(2020, 1, 1)
MOMENT = datetime.datetime(2020, 1, 1)
SMALL = 30_000  # what a smallint holds, and whatever multiplies it still holds
LARGE = 1_000_000_000


class NoValue(CommandError):
    """Nobody knows what the field holds."""


class Numbers:
    """Values of one process; one that starts elsewhere gives others."""

    def __init__(self, name: str, start: int) -> None:
        self.name, self.count = name, itertools.count(start)

    def value(self, field: Any) -> Any:
        """A value for a field that is no relation."""
        number = next(self.count)
        if field.null and not number % 3:
            return None
        if field.flatchoices:
            choices = [value for value, _ in field.flatchoices if value not in (None, "")]
            return choices[number % len(choices)] if choices else field.flatchoices[0][0]
        literals = literals_of(field.model).get(field.name, ())
        if literals and number % 2:
            return literals[number // 2 % len(literals)]
        return self._own(field, number)

    def _own(self, field: Any, number: int) -> Any:
        if own := _own_values().get(type(field)):
            return own(field, number)
        for known in type(field).__mro__:
            if make := MAKERS.get(known.__name__):
                return make(field, number, self)
        return _baked(field)


def text(field: Any, number: int, numbers: Numbers) -> str:
    longest = field.max_length or 40
    return f'{number} {numbers.name}\'s 100% "ü"'[:longest] if longest > 10 else short(number, longest)


def short(number: int, length: int) -> str:
    """The last digits, which differ most, as many as the column takes."""
    written = ""
    while number and len(written) < length:
        number, digit = divmod(number, len(DIGITS))
        written += DIGITS[digit]
    return written or "0"


def decimal(field: Any, number: int, numbers: Numbers) -> Decimal:
    digits = min(field.max_digits or 9, 9)
    return Decimal(number % 10**digits).scaleb(-(field.decimal_places or 0))


def array(field: Any, number: int, numbers: Numbers) -> list[Any]:
    base = field.base_field
    base.model = field.model
    base.name = getattr(base, "name", None) or field.name
    return [numbers.value(base) for _ in range(field.size or 2)]


def bounds(make: Callable[[int], Any]) -> Callable[..., Any]:
    return lambda field, number, numbers: field.range_type(make(number), make(number + 1))


def day(number: int) -> datetime.date:
    return DAY + datetime.timedelta(days=number % 20_000)


def moment(number: int) -> datetime.datetime:
    return (MOMENT + datetime.timedelta(seconds=number % LARGE)).replace(tzinfo=datetime.UTC)


# By the name of the class: those of contrib.postgres are only imported where a project uses them.
MAKERS: dict[str, Callable[..., Any]] = {
    "EmailField": lambda field, number, numbers: f"{number}@{numbers.name}.example"[-(field.max_length or 254) :],
    "URLField": lambda field, number, numbers: f"https://example.com/{numbers.name}/{number}",
    "SlugField": lambda field, number, numbers: f"{numbers.name}-{number}"[-(field.max_length or 50) :].strip("-"),
    "FileField": lambda field, number, numbers: f"rehearsal/{numbers.name}-{number}.png",
    "FilePathField": lambda field, number, numbers: f"rehearsal/{numbers.name}-{number}",
    "GenericIPAddressField": lambda field, number, numbers: str(IPv4Address(number % 2**32)),
    "UUIDField": lambda field, number, numbers: uuid.uuid4(),
    "CharField": text,
    "TextField": text,
    "BooleanField": lambda field, number, numbers: number % 2 == 0,
    "SmallIntegerField": lambda field, number, numbers: number % SMALL,
    "PositiveSmallIntegerField": lambda field, number, numbers: number % SMALL,
    "IntegerField": lambda field, number, numbers: number % LARGE,
    "FloatField": lambda field, number, numbers: number % LARGE / 4,
    "DecimalField": decimal,
    "DateTimeField": lambda field, number, numbers: moment(number),
    "DateField": lambda field, number, numbers: day(number),
    "TimeField": lambda field, number, numbers: moment(number).time(),
    "DurationField": lambda field, number, numbers: datetime.timedelta(seconds=number % LARGE),
    "BinaryField": lambda field, number, numbers: f"{numbers.name} {number}".encode(),
    "JSONField": lambda field, number, numbers: {numbers.name: [number, "it's", None]},
    "ArrayField": array,
    "HStoreField": lambda field, number, numbers: {numbers.name: str(number)},
    "IntegerRangeField": bounds(lambda number: number % LARGE),
    "BigIntegerRangeField": bounds(lambda number: number),
    "DecimalRangeField": bounds(Decimal),
    "DateTimeRangeField": bounds(moment),
    "DateRangeField": bounds(day),
}


@cache
def _own_values() -> dict[type[Any], Callable[[Any, int], Any]]:
    """Class of a field -> what the project says it holds."""
    return {import_string(path): found(make) for path, make in conf.rehearsal_values().items()}


def found(function: str | Callable[..., Any]) -> Callable[..., Any]:
    """A function of the project's, which its settings name."""
    return import_string(function) if isinstance(function, str) else function


def path_of(function: str | Callable[..., Any]) -> str:
    return function if isinstance(function, str) else f"{function.__module__}.{function.__qualname__}"


def _baked(field: Any) -> Any:
    name = f"{type(field).__module__}.{type(field).__qualname__}"
    say = f"Say what it holds: SAFEMIGRATIONS['REHEARSAL_VALUES'] = {{{name!r}: function of field and number}}"
    if Baker is None:
        raise NoValue(f"Nobody knows what a {name} holds. {say}, or install safemigrations[rehearsal].")
    baker = Baker.create(field.model)
    known = [baker.type_mapping[base] for base in type(field).__mro__ if base in baker.type_mapping]
    if not known:
        raise NoValue(f"Not even model-bakery knows what a {name} holds. {say}")
    baker.type_mapping.setdefault(type(field), known[0])
    return baker.generate_value(field)


# What a check constraint says about a column.


@cache
def literals_of(model: Any) -> dict[str, list[Any]]:
    """The values to which check constraints compare each field, and the values next to them."""
    collected: dict[str, list[Any]] = {}
    for constraint in model._meta.constraints:
        if isinstance(constraint, CheckConstraint):
            _collect(constraint.condition, collected)
    fields = {field.name: field for field in model._meta.concrete_fields if not field.remote_field}
    return {name: values for name, values in collected.items() if name in fields}


def _collect(condition: Any, collected: dict[str, list[Any]]) -> None:
    for child in condition.children if isinstance(condition, Q) and not condition.negated else ():
        if isinstance(child, Q):
            _collect(child, collected)
        elif isinstance(child, tuple):
            _add(child[0], child[1], collected)


def _add(lookup: str, value: Any, collected: dict[str, list[Any]]) -> None:
    name, _, kind = lookup.partition("__")
    values = collected.setdefault(name, [])
    if kind in ("", "exact"):
        values += [] if isinstance(value, models.Expression | models.F) else [value]
    elif kind in ("in", "range") and isinstance(value, list | tuple | set | frozenset):
        values += list(value)
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        values += [value, value + 1, max(value - 1, 0)]
