"""What a person sees of a backfill while it runs."""

from __future__ import annotations

import math
import time

from ...plans.steps import Backfill, Step
from ..run import Report
from .second import Second

TELL_EVERY = 10.0  # seconds between two lines about the same wait
TELL_SELDOM = 60.0  # seconds between two such lines where the work goes on all the same
SHOW_EVERY = 1.0  # seconds between two looks at how far the backfill is


class News:
    """Tells each kind of news only now and then."""

    def __init__(self, report: Report, step: Backfill) -> None:
        self.report, self.step = report, step
        self.began = time.monotonic()
        self.told: dict[str, float] = {}  # kind of news -> when

    def tell(self, text: str, *, every: float = TELL_EVERY) -> None:
        """Tell news of one kind at most once in `every` seconds; the kind is what stands before the colon."""
        kind = text.partition(":")[0] if every < math.inf else text
        if kind not in self.told or self.told[kind] < time.monotonic() - every:
            self.told[kind] = time.monotonic()
            self.report.progress(self.step, text)

    def summary(self, filled: int) -> str:
        took = time.monotonic() - self.began
        return f"{filled:,} rows, {filled / took:,.0f} rows/s" if filled else "no row to fill"


class Relay(Report):
    """The report of the second connection: it hands what it is told to the first, which tells it."""

    def __init__(self, second: Second) -> None:
        self.second = second

    def progress(self, step: Step, text: str) -> None:
        self.second.tell(text)


class Meter:
    """Says now and then how far a backfill is."""

    def __init__(self) -> None:
        self.last = self.began = time.monotonic()
        self.first = (0, 0)  # rows that were visited and filled before this run

    def is_due(self) -> bool:
        return time.monotonic() - self.last > SHOW_EVERY

    def reading(self, visited: int, filled: int, estimate: int) -> tuple[float, str]:
        """Return which share of the whole is done, and the same in words."""
        self.last = at = time.monotonic()
        took = max(at - self.began, 0.001)
        speed, rate = (visited - self.first[0]) / took, (filled - self.first[1]) / took
        fraction = min(1.0, visited / estimate) if estimate else 0.0
        left = f", {_duration((estimate - visited) / speed)} left" if speed > 0 and estimate > visited else ""
        return fraction, f"{fraction:.0%}, {filled:,} rows, {rate:,.0f} rows/s{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
