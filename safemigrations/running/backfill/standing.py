"""The progress of the backfills of a database, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ...data import Data
from . import progress as store
from .progress import Progress, Section, Status
from .table import fetch

STOPPED = "stopped"  # what people are told; it is stored as running


class Standing(Data):
    """Where a backfill stands at this moment."""

    row: Progress
    status: str  # for people
    visited: int
    filled: int

    def __str__(self) -> str:
        how_far = ", ".join(filter(None, [self.status, self.shown_share]))
        return f"{self.row.pk}, {self.row} ({how_far})"

    @property
    def share(self) -> float | None:
        """The filled share; None if the number of rows is unknown."""
        return min(1.0, self.visited / self.row.estimate) if self.row.estimate else None

    @property
    def shown_share(self) -> str:
        return "" if self.share is None else f"{self.share:.0%}"

    @property
    def is_stopped(self) -> bool:
        return self.status == STOPPED

    def text(self) -> str:
        row = self.row
        return f"{row.pk:>4}  {self.status:<9} {self.shown_share:>4}  {self.filled:,} rows  {row}"

    def as_dict(self) -> dict[str, Any]:
        row = self.row
        return {
            "number": row.pk,
            "app": row.app_label,
            "migration": row.migration,
            "label": row.label,
            "status": self.status,
            "share": self.share,
            "rows": self.filled,
            "last_error": row.last_error,
        }


def standings(connection: BaseDatabaseWrapper, **filters: Any) -> list[Standing]:
    """Where the backfills stand that match, oldest first; as many queries for many as for one."""
    rows = list(store.rows(connection, **filters))
    if not rows:
        return []
    sessions = {pid for (pid,) in fetch(connection, "SELECT pid FROM pg_stat_activity")}
    sections = store.sections_of(connection, rows)
    return [
        Standing(row, _status(row, sections[row.pk], sessions), *store.totals_with(row, sections[row.pk]))
        for row in rows
    ]


def _status(row: Progress, sections: Sequence[Section], sessions: set[int]) -> str:
    """A backfill is stopped when it should be running, and no session that is still there has one of its sections."""
    stopped = row.status == Status.RUNNING and sessions.isdisjoint(section.owner for section in sections)
    return STOPPED if stopped else row.status
