"""What people see of a backfill while it runs."""

from __future__ import annotations

import math
import time

from ...plans.steps import Backfill
from ..events import vocabulary as happened
from ..events.event import Event
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
        self._tell(text.partition(":")[0] if every < math.inf else text, happened.StepProgress(self.step, text), every)

    def wait(self, reason: str) -> None:
        """The work waits."""
        self._tell("waiting", happened.BackfillWaiting(self.step, reason), TELL_EVERY)

    def tell_again(self, event: Event) -> None:
        """What the second connection has told."""
        match event:
            case happened.StepProgress():
                self.tell(event.said, every=TELL_SELDOM)
            case happened.BackfillWaiting():
                self.wait(event.said)

    def _tell(self, kind: str, event: Event, every: float) -> None:
        if kind not in self.told or self.told[kind] < time.monotonic() - every:
            self.told[kind] = time.monotonic()
            self.report.tell(event)

    def summary(self, filled: int) -> str:
        took = time.monotonic() - self.began
        if filled <= 1:
            return "1 row" if filled else "no row to fill"
        return f"{filled:,} rows, {filled / took:,.0f} rows/s"


class Relay(Report):
    """The report of the second connection: it hands what it is told to the first, which tells it."""

    def __init__(self, second: Second) -> None:
        self.second = second

    def tell(self, event: Event) -> None:
        if not isinstance(event, happened.BackfillProgress):  # the first looks itself how far both are
            self.second.hand_on(event)


class Meter:
    """Says now and then how far a backfill is."""

    def __init__(self) -> None:
        self.last = self.began = time.monotonic()
        self.first = (0, 0)  # rows that were visited and filled before this run

    def is_due(self) -> bool:
        return time.monotonic() - self.last > SHOW_EVERY

    def reading(self, step: Backfill, visited: int, filled: int, estimate: int) -> happened.BackfillProgress:
        self.last = at = time.monotonic()
        took = max(at - self.began, 0.001)
        speed, rate = (visited - self.first[0]) / took, (filled - self.first[1]) / took
        left = (estimate - visited) / speed if speed > 0 and estimate > visited else None
        return happened.BackfillProgress(step, visited, filled, estimate, rate, left)
