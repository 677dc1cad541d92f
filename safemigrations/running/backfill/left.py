"""Rows that come last, because others held them for long or the database rejected them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ...plans.steps import Backfill
from .progress import Progress
from .table import Key, from_jsonb

MOST_LEFT = 1000  # rows that may be left for the end
NAMED = 5  # how many of the rejected rows are named

LeftRow = tuple[str, Key, str]  # part, key, error; no error: somebody held the row


class Left:
    """Rows left for the end, remembered by this process alone."""

    def __init__(self) -> None:
        self._rows: list[LeftRow] = []

    @property
    def rows(self) -> list[LeftRow]:
        return self._rows

    def add(self, rows: Sequence[LeftRow]) -> None:
        self._rows += rows

    def has_room_for(self, rows: Sequence[object]) -> bool:
        return len(rows) + len(self.rows) <= MOST_LEFT


class StoredLeft(Left):
    """Rows left for the end, remembered in the row of the backfill, where every worker finds them."""

    def __init__(self, connection: BaseDatabaseWrapper, progress: Progress) -> None:
        self.connection, self.progress = connection, progress

    @property
    def rows(self) -> list[LeftRow]:
        rows: list[LeftRow] = self.progress.left
        return rows

    def add(self, rows: Sequence[LeftRow]) -> None:
        """Add them inside the caller's transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                'UPDATE safemigrations_backfill SET "left" = "left" || %s::jsonb WHERE id = %s RETURNING "left"',
                [json.dumps(rows), self.progress.pk],
            )
            ((found,),) = cursor.fetchall()
        self.progress.left = from_jsonb(found)


def rejected(step: Backfill, rows: Sequence[LeftRow]) -> str:
    """The message about rows that the database rejected to the end."""
    where = f"{step.label}, {', '.join(step.key)}"
    count = f"{len(rows):,} rows" if len(rows) > 1 else "a row"
    return (
        f"The database rejects {count} of {where} = {named(rows)}."
        " The others are filled. Fix these rows, or what rejects them, and run the same command again."
    )


def as_data(rows: Sequence[LeftRow]) -> list[dict[str, Any]]:
    """The first of them as plain data."""
    return [{"part": part, "key": list(key), "error": error} for part, key, error in rows[:NAMED]]


def named(rows: Sequence[LeftRow]) -> str:
    text = ", ".join(f"{' '.join(key)} ({error})" for _, key, error in rows[:NAMED])
    return f"{text} and {len(rows) - NAMED:,} more" if len(rows) > NAMED else text
