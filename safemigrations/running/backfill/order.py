"""Which of two backfills has to fill a row first: the earlier one, where one of them needs what the other fills."""

from __future__ import annotations

from collections.abc import Iterable

from ...plans.steps import Backfill, Step, texts_of
from ...postgres.names import Name
from .table import columns_set


def order_matters(one: Backfill, other: Backfill) -> bool:
    """Does one of them read or fill what the other fills?"""
    return _needs(one, other) or _needs(other, one)


def _needs(one: Backfill, other: Backfill) -> bool:
    """A function is given the whole row. What it reads of other tables nobody knows."""
    if one.table == other.table and one.function and one.function.takes_row:
        return True
    return _is_named(other, " ".join([one.table, one.assign, one.guard, *map(Name.of, columns_set(one))]))


def is_about(plan: Iterable[Step], backfill: Backfill) -> bool:
    """Does the plan name a column that the backfill fills?"""
    return _is_named(backfill, " ".join(texts_of([*plan])))


def _is_named(backfill: Backfill, text: str) -> bool:
    columns = columns_set(backfill)
    return Name(backfill.table).bare in text and (not columns or any(Name.of(column) in text for column in columns))
