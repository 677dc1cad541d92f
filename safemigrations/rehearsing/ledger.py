"""The values that were written, in a form that two processes with different code can compare."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

Cell = list[Any]  # [kind of the column, value]
Row = dict[str, Cell]  # the old release's name of a column -> what it was given
Ledger = dict[str, Row]  # "shop.order 7" -> its columns


class Names:
    """The names that both releases use for models and columns: those of the old release."""

    def __init__(self, models_: Mapping[str, str], columns: Mapping[str, str]) -> None:
        self._models, self._columns = models_, columns

    def model(self, model: Any) -> str:
        return self._models.get(str(model._meta.label_lower), str(model._meta.label_lower))

    def column(self, field: Any) -> str:
        """The name of the column of a field, which is known by its attribute, such as "shop.order.total_id"."""
        return self._columns.get(f"{field.model._meta.label_lower}.{field.attname}", str(field.attname))


def cell(field: Any, value: Any) -> Cell:
    return [kind(field), plain(value)]


def kind(field: Any) -> str:
    return str(field.get_internal_type())


def plain(value: Any) -> Any:
    """The value as JSON can hold it; equal values give equal results."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return _number(Decimal(str(value)))
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.UTC).isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in sorted(value.items(), key=str)}
    if isinstance(value, bytes | memoryview | bytearray):
        return bytes(value).hex()
    return str(value)


def same(one: Cell, other: Cell) -> bool:
    """Do both values mean the same, if the releases have different types for the column?"""
    (kind, value), (other_kind, other_value) = one, other
    if value == other_value or kind == other_kind:
        return bool(value == other_value)
    if value is None or other_value is None:
        return False
    texts = [text if isinstance(text, str) else json.dumps(text) for text in (value, other_value)]
    numbers = [_as_number(text) for text in texts]
    if None not in numbers:
        return _close(*numbers)
    short, long = sorted((text.lower() for text in texts), key=len)
    return short == long or (len(short) >= len("2020-01-01") and long.startswith(short))


def _close(one: Any, other: Any) -> bool:
    return bool(abs(one - other) <= Decimal("0.000001") * max(abs(one), 1))


def _as_number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _number(value: Decimal) -> str:
    if not value.is_finite():
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
