"""The ledger's record of a database's runs, for people and for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..data import Data
from ..durations import shown_moment
from ..running.ledger import Direction, Entry, Noted, Outcome, entries, steps
from . import amounts

BRIEF = 0.1  # seconds; a step that took less is shown only where all are


class Told(Data):
    """One entry with its steps, oldest first."""

    entry: Entry
    steps: Sequence[Noted]

    @property
    def took(self) -> timedelta | None:
        return self.entry.ended_at - self.entry.started_at if self.entry.ended_at else None

    def lines(self) -> list[str]:
        entry, took = self.entry, self.took
        release = f", release {entry.mark}" if entry.mark else ""
        time = f" in {amounts.seconds(took.total_seconds())}" if took is not None else ", or killed"
        outcome = "" if entry.outcome == Outcome.FAKED else time
        what = f"{entry}  {entry.label}" if entry.label else str(entry)
        way = "" if entry.direction == Direction.FORWARDS else f"{entry.direction} "
        head = f"{shown_moment(entry.started_at)}  {what}  {way}{entry.outcome}{outcome}, by {entry.role}{release}"
        error = [f"    {entry.error.splitlines()[0]}"] if entry.error else []
        shown = [step for step in self.steps if step.seconds >= BRIEF]
        more = len(self.steps) - len(shown)
        brief = [f"    and {more} steps of less than {amounts.seconds(BRIEF)}"] if shown and more > 1 else []
        return [head, *(f"    {step_line(step)}" for step in shown), *brief, *error]

    def as_dict(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "app": entry.app_label,
            "migration": entry.name,
            "direction": entry.direction,
            "label": entry.label,
            "outcome": entry.outcome,
            "error": entry.error,
            "started_at": entry.started_at,
            "ended_at": entry.ended_at,
            "release": entry.mark,
            "role": entry.role,
            "digest": entry.digest,
            "steps": [_step_as_dict(step) for step in self.steps],
        }


def told(connection: BaseDatabaseWrapper, *, app_label: str = "", last: int = 0) -> tuple[list[Told], int]:
    """The last entries (0: all), and the number of earlier ones."""
    found = list(entries(connection, **({"app_label": app_label} if app_label else {})))
    shown = found[-last:] if last else found
    of = defaultdict[Any, list[Noted]](list)
    for step in steps(connection, entry__in=[entry.key for entry in shown]):
        of[step.entry].append(step)
    return [Told(entry, of[entry.key]) for entry in shown], len(found) - len(shown)


def step_line(step: Noted) -> str:
    """The step's duration, its wait, and the amount of its work."""
    size = f", {amounts.rows(step.rows)}" if step.rows is not None else ""
    size += f", {amounts.size(step.bytes)}" if step.bytes is not None else ""
    built = f", built {amounts.size(step.built)}" if step.built is not None else ""
    waited = f", of which {amounts.seconds(step.waited)} waiting" if step.waited >= BRIEF else ""
    return f"{amounts.seconds(step.seconds):>6}{waited}  {step.label} ({step.work}{size}{built})"


def _step_as_dict(step: Noted) -> dict[str, Any]:
    names = ("step", "work", "label", "statement", "table", "rows", "bytes", "built", "seconds", "waited", "ended_at")
    return {name: getattr(step, name) for name in names}
