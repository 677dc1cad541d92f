"""Fills rows on one connection at one pace."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from django.db import DatabaseError, transaction

from ...errors import StepFailed
from ...plans.steps import Backfill
from ..lost import first_line
from ..session import Session
from .computed import rows_of
from .failures import TooManyLocked, is_rejection
from .left import MOST_LEFT, Left, LeftRow, named
from .news import News
from .pace import Pace
from .table import Key, condition
from .transactions import compression_of, patience_of, short_transaction


class Filler:
    """Fills rows of one backfill on one connection, and leaves for the end those that it can't fill now."""

    def __init__(self, session: Session, step: Backfill, left: Left, news: News) -> None:
        self.connection, self.step, self.left, self.news = session.connection, step, left, news
        self.rows = rows_of(self.connection, step, session.apps)
        self.pace = Pace()
        self.patience = patience_of(self.connection)
        self.settings = compression_of(self.connection)

    def transaction(self, first: str = "SELECT 1") -> AbstractContextManager[list[tuple[Any, ...]]]:
        """A short transaction for a batch; `first` is a query whose rows it gives."""
        return short_transaction(self.connection, self.patience, self.settings, first=first)

    def slow_down(self, reason: str) -> None:
        self.pace.halve()
        self.news.tell(f"smaller batches: {reason}")

    def fill(self, part: str, where: str, *, unlocked: bool = False) -> int:
        """Fill the rows inside the caller's transaction and return how many they were.

        `unlocked`: leave the rows that somebody else holds. Raises TooManyLocked where these are too many.
        """
        if not unlocked:
            return self.rows.fill(part, where)
        filled, keys = self.rows.fill_unlocked(part, where)
        if not self.left.has_room_for(keys):
            raise TooManyLocked
        self._leave([(part, key, "") for key in keys])
        return filled

    def fill_one_by_one(self, part: str, where: str) -> int:
        """Fill the rows inside the caller's transaction, and leave those that the database rejects."""
        filled, left = self._halves(part, self.rows.keys(part, where))
        self._leave(left)
        return filled

    def _leave(self, rows: Sequence[LeftRow]) -> None:
        if rows:
            self.left.add(rows)

    def _halves(self, part: str, keys: list[Key]) -> tuple[int, list[LeftRow]]:
        """Find the rows that are rejected by halving the batch; fill the others."""
        if not keys:
            return 0, []
        try:
            with transaction.atomic(using=self.connection.alias):
                return self.rows.fill(part, condition(self.step.key, keys)), []
        except DatabaseError as error:
            if not is_rejection(error):
                raise
            if len(keys) == 1:
                return 0, [(part, keys[0], first_line(error))]
        middle = len(keys) // 2
        filled, left = self._halves(part, keys[:middle])
        self._refuse_more_than_can_be_left(left)
        more, others = self._halves(part, keys[middle:])
        return filled + more, left + others

    def _refuse_more_than_can_be_left(self, left: list[LeftRow]) -> None:
        if not self.left.has_room_for(left):
            raise StepFailed(
                f"The database rejects more than {MOST_LEFT:,} rows: {named([*self.left.rows, *left])}. Rows that are "
                "filled stay filled. Fix what rejects them, and run the same command again."
            )
