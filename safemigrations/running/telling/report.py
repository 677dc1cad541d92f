"""What people see while steps run.

That is a line for each step with an effect, who is in the way, and the progress of a long step. Steps that only look
stand together in one line, unless one fails. `-v 2` prints a line for each step, `-v 3` also the statements.
"""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

from ... import conf
from ...durations import shown_left
from ...plans.steps import Nothing, Proof, Question, Step, Trial
from ..events.event import Event
from ..locking.blockers import Blocker
from ..run import GONE, Report
from ..transactions import TELL_EVERY
from .last_line import LastLine, Moment
from .summary import Summary
from .terminal import last_line

WIDTH = 78  # of the column that says what; times stand behind it
METER_EVERY = 10.0  # seconds between two lines about how far something is, where there is no terminal
LONG = 10.0  # seconds after which what was only looked at gets a line of its own
EACH_STEP, STATEMENTS = 2, 3  # verbosity


class ConsoleReport(Report):
    """Prints steps below the line of their migration."""

    def __init__(self, stdout: OutputWrapper, style: Style, indent: int = 4, verbosity: int = 1) -> None:
        self.stdout, self.style, self.indent, self.verbosity = stdout, style, indent, verbosity
        self.checks, self.checked_for = 0, 0.0  # what was only looked at since the last end_of_steps(), and seconds
        self.open_line = False  # Django wrote "Applying shop.0007..." and no end of line yet
        self.wrote = False
        self.told_meter = 0.0
        self.drawn = False  # something stands on the last line that is going to be written over
        self.summary = Summary()

    @cached_property
    def last_line(self) -> LastLine | None:
        """None if a line can't be overwritten."""
        return last_line(self.stdout, self.indent, colored=self.style.SUCCESS("x") != "x")

    def hear(self, event: Event) -> None:
        self.summary.hear(event)
        super().hear(event)

    def line(self, text: str) -> None:
        self._erase()
        self._end_open_line()
        self.wrote = True
        self.stdout.write(textwrap.indent(text, " " * self.indent))
        self.stdout.flush()

    def _erase(self) -> None:
        if self.last_line and self.drawn:
            self.last_line.erase()
            self.drawn = False

    def close(self) -> None:
        """End what was begun: what is written next, such as an error, gets a line of its own."""
        if self.last_line and self.drawn:
            self.last_line.leave()
            self.drawn = False
        self._end_open_line()
        self.stdout.flush()

    def _end_open_line(self) -> None:
        if self.open_line:
            self.stdout.write("")
            self.open_line = False

    @contextlib.contextmanager
    def meanwhile(self, text: str) -> Iterator[None]:
        if self.last_line:
            self._draw(text, _since(time.monotonic()))
        try:
            yield
        finally:
            self._erase()

    def sum_up(self) -> None:
        if self.summary.text:
            self.stdout.write(self.summary.text)

    def begin_row(self, label: str) -> None:
        """A row of the contract queue; its steps stand below it."""
        self._end_open_line()
        self.stdout.write(f"  {label}")

    def end_row(self) -> None:
        self.end_of_steps()
        self.stdout.write(f"    {self.style.SUCCESS('OK')}")

    def begin(self, step: Step) -> None:
        self.told_meter = time.monotonic()
        if self.last_line and self.last_line.moves:
            self._draw(step.why, _since(self.told_meter))

    def skip(self, step: Step) -> None:
        """Show a step that an earlier run did, or that was never needed: nobody knows which."""
        if self.verbosity >= EACH_STEP:
            self.line(f"{_column(step.why)} is so already")

    def end_of_steps(self) -> None:
        """Those of a migration, or of a row of the contract."""
        self._erase()
        if self.checks:
            passed = "1 check passed" if self.checks == 1 else f"{self.checks} checks passed"
            self.line(f"{_column(passed)} {self.checked_for:.2f} s")
        self.checks, self.checked_for = 0, 0.0

    def progress(self, step: Step, text: str) -> None:
        self.line(f"  {text}")

    def meter(self, step: Step, fraction: float, text: str) -> None:
        self.advance(step, fraction, text)

    def advance(self, step: Step, fraction: float | None, text: str) -> None:
        """Show progress: in the last line of a terminal, elsewhere in a line now and then."""
        if self.last_line:
            self._draw(step.why, lambda: text, fraction)
        elif time.monotonic() - self.told_meter > METER_EVERY:
            self.told_meter = time.monotonic()
            self.progress(step, f"{step.why}: {text}")

    def rest(self, step: Step, reason: str) -> None:
        if not self.last_line:
            super().rest(step, reason)
            return
        since = _since(time.monotonic())
        self._draw(step.why, lambda: f"waiting {since()}: {reason}")

    def _draw(self, label: str, say: Callable[[], str], fraction: float | None = None) -> None:
        assert self.last_line
        self._end_open_line()
        self.last_line.draw(Moment(label, say, fraction))
        self.drawn = self.wrote = True

    def waiting(self, step: Step, blockers: Sequence[Blocker], seconds: float) -> None:
        if self.last_line and seconds:
            self._draw(step.why, waiting(blockers, seconds))
            return
        for blocker in blockers:
            self.line(self.style.WARNING(f"  {step.label}: waiting for {blocker}"))

    def done(self, step: Step, seconds: float, detail: str = "") -> None:
        if _is_only_looked_at(step, detail) and seconds < LONG and self.verbosity < EACH_STEP:
            self.checks += 1
            self.checked_for += seconds
            self._erase()
            return
        separator = ", " if detail else ""
        self.line(f"{_column(step.why)} {seconds:.2f} s{separator}{detail}")
        if self.verbosity >= STATEMENTS:
            for statement in step.statements:
                self.line(textwrap.indent(f"{statement};", "  "))


def _is_only_looked_at(step: Step, detail: str) -> bool:
    return isinstance(step, Nothing | Proof | Question | Trial) or detail in GONE


def _column(text: str) -> str:
    """As wide as the column for labels; longer labels continue in the next line."""
    *lines, last = textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join((*lines, f"{last:<{WIDTH}}"))


def _since(began: float) -> Callable[[], str]:
    return lambda: shown_left(time.monotonic() - began)


def waiting(blockers: Sequence[Blocker], seconds: float) -> Callable[[], str]:
    """For whom a step waits, for so many seconds already, and what comes next.

    It is told again while it goes on. What isn't has ended: the statement runs.
    """
    told = time.monotonic()
    elapsed, others = _since(told - seconds), f" and {len(blockers) - 1} more" if blockers[1:] else ""

    def say() -> str:
        left = conf.lock_retry_for() - seconds - (time.monotonic() - told)
        if time.monotonic() - told > TELL_EVERY + 2 or left < 0:
            return elapsed()
        who = blockers[0].without_query
        return f"waiting {elapsed()}, tries again for {shown_left(left)}: {who}{others}"

    return say
