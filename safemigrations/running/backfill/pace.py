"""How large the next batch is and how long the rest after it.

A batch aims at a duration, because its rows are locked that long. How many rows it fills in that time changes with the
load: so the size follows smoothly, and falls at once when somebody had to wait.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.timezone import localtime, now

from ... import conf

SMALLEST, LARGEST = 1, 50_000  # rows in a batch
SMOOTH = 0.4
GROWTH = 1.2
SLOW = 0.5  # seconds of rest for a second of work, where the backfill would be in somebody's way


class Pace:
    def __init__(self, size: float = 0) -> None:
        self.size = size or conf.backfill_batch_size()
        self.given: Mapping[str, Any] = {}  # by `safemigrations backfill pace`, while it runs

    @property
    def seconds(self) -> float:
        return float(self.given.get("batch_seconds") or conf.backfill_batch_seconds())

    @property
    def rate(self) -> float | None:
        rate = self.given.get("rate", conf.backfill_rate())
        return float(rate) if rate else None

    @property
    def rows(self) -> float:
        """How large the next batch is: never more rows than the rate allows in a second, so that no rest is long."""
        return min(self.size, max(SMALLEST, self.rate)) if self.rate else self.size

    @property
    def rest(self) -> float:
        return float(self.given.get("rest", conf.backfill_rest()))

    def took(self, seconds: float, rows: float) -> None:
        """Learn from a batch of this many rows that took this many seconds."""
        wanted = max(rows, 1) * self.seconds / max(seconds, 0.001)
        size = self.size + SMOOTH * (wanted - self.size)
        # The batch at the end of a section is smaller than it should be, and says little about larger ones.
        if rows < self.size / 2 and size < self.size and seconds < self.seconds:
            return
        self.size = max(SMALLEST, min(LARGEST, size, self.size * GROWTH))

    def halve(self) -> None:
        self.size = max(SMALLEST, self.size / 2)

    def rest_after(self, seconds: float, rows: float, *, share: float) -> float:
        """Seconds to rest after a batch: a share of the time that it took, and long enough to keep the rate."""
        return max(seconds * share, rows / self.rate - seconds if self.rate else 0)


class Hours:
    """Decides when a worker stops and leaves the rest: at a moment, or when the time window closes."""

    def __init__(self, until: float | None = None, *, only_in_window: bool = False) -> None:
        self.until = until  # as of time.monotonic()
        self.only_in_window = only_in_window

    @property
    def are_over(self) -> bool:
        if self.until is not None and time.monotonic() > self.until:
            return True
        return self.only_in_window and seconds_closed() > 0


def seconds_closed() -> float:
    """How long it is from now until the time window opens; 0 while it is open."""
    return seconds_until_window(localtime(now()) if settings.USE_TZ else now())


def seconds_until_window(at: datetime.datetime) -> float:
    """How long it is until the time window opens; 0 when it is open or there is none."""
    window = conf.backfill_window()
    if window is None:
        return 0
    begin, end = (datetime.time.fromisoformat(text) for text in window)
    clock = at.time()
    if (begin <= clock < end) if begin < end else (clock >= begin or clock < end):
        return 0
    opens = datetime.datetime.combine(at.date(), begin, at.tzinfo)
    if opens < at:
        opens += datetime.timedelta(days=1)
    return (opens - at).total_seconds()
