"""What a person sees while steps run: a line for each that does something, who is in the way, how far a long one is.

What is only looked at stands together in one line, unless it fails. `-v 2` prints a line for each step, `-v 3` also the
statements.
"""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Sequence

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

from ..plans.steps import Nothing, Proof, Question, Step, Trial
from .blockers import Blocker
from .run import GONE, Report

WIDTH = 78  # of the column that says what; times stand behind it
BAR = 30  # characters
LABEL = 12  # characters that a bar leaves to its label
NARROWEST = 4  # a bar of fewer characters is left out
METER_EVERY = 10.0  # seconds between two lines about how far a backfill is, where there is no terminal
WAITING_EVERY = 5.0  # seconds between two lines about the same wait
LONG = 10.0  # seconds after which what was only looked at gets a line of its own
EACH_STEP, STATEMENTS = 2, 3  # verbosity


class ConsoleReport(Report):
    """Prints steps below the line of their migration."""

    def __init__(self, stdout: OutputWrapper, style: Style, indent: int = 4, verbosity: int = 1) -> None:
        self.stdout, self.style, self.indent, self.verbosity = stdout, style, indent, verbosity
        self.checks, self.checked_for = 0, 0.0  # what was only looked at since the last end_of_steps(), and seconds
        self.open_line = False  # Django wrote "Applying shop.0007..." and no end of line yet
        self.wrote = False
        self.told_waiting = 0.0
        self.told_meter = 0.0
        self.metering = False  # the bar of a backfill stands on the last line

    def line(self, text: str) -> None:
        if self.metering:
            self.stdout.write("\r\033[K", ending="")
            self.metering = False
        self._end_open_line()
        self.wrote = True
        self.stdout.write(textwrap.indent(text, " " * self.indent))
        self.stdout.flush()

    def close(self) -> None:
        """What was begun ends here: what is written next, such as an error, gets a line of its own."""
        if self.metering:
            self.stdout.write("")  # how far it was stays
            self.metering = False
        self._end_open_line()
        self.stdout.flush()

    def _end_open_line(self) -> None:
        if self.open_line:
            self.stdout.write("")
            self.open_line = False

    def begin_row(self, label: str) -> None:
        """A row of the contract queue; its steps stand below it."""
        self._end_open_line()
        self.stdout.write(f"  {label}")

    def end_row(self) -> None:
        self.end_of_steps()
        self.stdout.write(f"    {self.style.SUCCESS('OK')}")

    def begin(self, step: Step) -> None:
        self.told_waiting, self.told_meter = 0.0, time.monotonic()

    def skip(self, step: Step) -> None:
        """By an earlier run, or it was never needed: nobody knows which."""
        if self.verbosity >= EACH_STEP:
            self.line(f"{_column(step.why)} is so already")

    def end_of_steps(self) -> None:
        """Those of a migration, or of a row of the contract."""
        if self.checks:
            passed = "1 check passed" if self.checks == 1 else f"{self.checks} checks passed"
            self.line(f"{_column(passed)} {self.checked_for:.2f} s")
        self.checks, self.checked_for = 0, 0.0

    def progress(self, step: Step, text: str) -> None:
        self.line(f"  {text}")

    def meter(self, step: Step, fraction: float, text: str) -> None:
        """How far a backfill is: one line that is written over on a terminal, a line now and then elsewhere."""
        if self.stdout.isatty():
            self._end_open_line()
            self.stdout.write(f"\r\033[K{self._bar(step.why, fraction, text)}", ending="")
            self.stdout.flush()
            self.metering = self.wrote = True
        elif time.monotonic() - self.told_meter > METER_EVERY:
            self.told_meter = time.monotonic()
            self.progress(step, f"{step.why}: {text}")

    def _bar(self, label: str, fraction: float, text: str) -> str:
        """It fits into one line: what was wrapped could not be written over."""
        columns = shutil.get_terminal_size().columns - 1
        room = max(0, columns - self.indent - len(text) - 2)
        width = min(BAR, room - min(len(label), max(LABEL, room * 2 // 3)))
        width = width if width >= NARROWEST else 0
        done = round(fraction * width)
        bar = f"{'█' * done}{'░' * (width - done)} " if width else ""
        return f"{' ' * self.indent}{_shortened(label, room - width)} {bar}{text}"[:columns]

    def waiting(self, step: Step, blockers: Sequence[Blocker], seconds: float) -> None:
        now = time.monotonic()
        if not blockers or now - self.told_waiting < WAITING_EVERY:
            return
        self.told_waiting = now
        for blocker in blockers:
            self.line(self.style.WARNING(f"  {step.why.partition(':')[0]}: waiting for {blocker}"))

    def done(self, step: Step, seconds: float, detail: str = "") -> None:
        if _is_only_looked_at(step, detail) and seconds < LONG and self.verbosity < EACH_STEP:
            self.checks += 1
            self.checked_for += seconds
            return
        separator = ", " if detail else ""
        self.line(f"{_column(step.why)} {seconds:.2f} s{separator}{detail}")
        if self.verbosity >= STATEMENTS:
            for statement in step.statements:
                self.line(textwrap.indent(f"{statement};", "  "))


def _is_only_looked_at(step: Step, detail: str) -> bool:
    return isinstance(step, Nothing | Proof | Question | Trial) or detail in GONE


def _column(text: str) -> str:
    """As wide as the column that says what; what is longer goes on in the next line."""
    *lines, last = textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join((*lines, f"{last:<{WIDTH}}"))


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
