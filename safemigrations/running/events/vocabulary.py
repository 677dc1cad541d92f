"""Every event. The docstring says when it happens; its fields are what listeners are given besides the place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from ...durations import shown_left
from ...plans.steps import Backfill, Step
from ...plans.work import table_of
from ...postgres.names import Name
from ..locking.blockers import Blocker
from .event import Event

# A run.


class RunStarted(Event):
    """A command, or a task, begins to work on a database."""

    command: str  # migrate, migrate --contract, migrate --to-release, backfill run, task

    def text(self) -> str:
        return f"{self.command} began"


class RunEnded(Event):
    """The command, or the task, has ended; `outcome` is done, failed, not_now (the gate said no) or interrupted."""

    command: str
    outcome: str
    seconds: float
    error: str = ""

    @property
    def level(self) -> int:  # type: ignore[override]
        return {"done": logging.INFO, "not_now": logging.WARNING}.get(self.outcome, logging.ERROR)

    def text(self) -> str:
        said = f": {self.error}" if self.error else ""
        return f"{self.command} ended after {self.seconds:.2f} s, {self.outcome.replace('_', ' ')}{said}"


# A migration.


class MigrationExpanding(Event):
    """A migration begins to be applied or, where the direction is backwards, to be taken back."""

    fake: bool = False

    def text(self) -> str:
        return "begins"


class MigrationExpanded(Event):
    """A migration is applied, or taken back; what it left for the contract waits."""

    seconds: float
    fake: bool = False

    def text(self) -> str:
        return f"done in {self.seconds:.2f} s"


class MigrationFailed(Event):
    """A migration was not applied, or not taken back; the error says what stays, and what to do."""

    error: str
    seconds: float

    level = logging.ERROR

    def text(self) -> str:
        return f"failed: {self.error}"


# A step.


class OfStep(Event):
    """What every event about a step carries."""

    step: Step

    @classmethod
    def carries(cls) -> tuple[str, ...]:
        return ("step", "label", "table", *(name for name in super().carries() if name != "step"))

    def details(self) -> dict[str, Any]:
        return {**super().details(), **about(self.step)}


def about(step: Step) -> dict[str, Any]:
    """The kind of a step, what it is for, and the table that it works on, raw; empty where that is none."""
    table = table_of(step)
    return {"step": type(step).__name__, "label": step.why, "table": Name(table).raw if table else ""}


class StepStarted(OfStep):
    """A step begins."""

    level = logging.DEBUG

    def text(self) -> str:
        return f"{self.step.why}: begins"


class StepSkipped(OfStep):
    """A step took effect before, for example in a run that was killed."""

    level = logging.DEBUG

    def text(self) -> str:
        return f"{self.step.why}: done already"


class StepWaiting(OfStep):
    """A step has waited for a lock for so many seconds, and waits on. `blockers` are the sessions that hold it."""

    blockers: Sequence[Blocker]
    seconds: float

    level = logging.WARNING

    def text(self) -> str:
        return f"{self.step.why}: waiting for {', '.join(blocker.without_query for blocker in self.blockers)}"


class StepProgress(OfStep):
    """A long step tells its progress, or what it met, in words. `behind` is the session that it waits for, if any."""

    said: str
    behind: Blocker | None = None
    ongoing: bool = False  # is it told again and again, while one statement runs?
    fraction: float | None = None  # of that statement

    level = logging.DEBUG

    @property
    def shown(self) -> str:
        return f"{self.said} ({self.behind})" if self.behind else self.said

    def text(self) -> str:
        behind = f" ({self.behind.without_query})" if self.behind else ""
        return f"{self.step.why}: {self.said}{behind}"


class StepDone(OfStep):
    """A step has taken effect; `detail` says more about it."""

    seconds: float
    detail: str = ""
    waited: float = 0.0  # seconds of these, for locks

    def text(self) -> str:
        return f"{self.step.why}: done in {self.seconds:.2f} s{', ' if self.detail else ''}{self.detail}"


class StepFailed(OfStep):
    """A step did not take effect. What was done before it stays."""

    error: str
    seconds: float

    level = logging.ERROR

    def text(self) -> str:
        return f"{self.step.why}: failed: {self.error}"


# The contract.


class OfRow(Event):
    """What every event about a row of the contract queue carries."""

    row: int  # its number
    migration: str
    label: str

    says: ClassVar[str]

    def text(self) -> str:
        return f"{self.label}: {self.says}"


class ContractLeft(OfRow):
    """A migration has left a row for the contract."""

    says = "left for the contract"


class ContractStarted(OfRow):
    """A row begins to run."""

    says = "begins"


class ContractDone(OfRow):
    """A row has run: what only the old release needed is gone."""

    seconds: float

    def text(self) -> str:
        return f"{self.label}: done in {self.seconds:.2f} s"


class ContractFailed(OfRow):
    """A row has failed; the next `migrate --contract` goes on with it."""

    error: str
    seconds: float

    level = logging.ERROR

    def text(self) -> str:
        return f"{self.label}: failed: {self.error}"


class ContractRefused(OfRow):
    """The gate refuses to run a row now; it says why, and because of which sessions or releases."""

    why: str
    sessions: Sequence[dict[str, Any]] = ()
    releases: Sequence[str] = ()

    level = logging.WARNING

    def text(self) -> str:
        pids = ", ".join(f"pid {session['pid']}" for session in self.sessions)
        return f"{self.label}: refused by the gate, as {self.why}{f' ({pids})' if pids else ''}"


class Decided(OfRow):
    """What every event about a decision carries."""

    reason: str
    user: str  # who asked for it on a page; empty for the user of the process

    def text(self) -> str:
        return f"{self.label}: {self.says}{f' ({self.reason})' if self.reason else ''}"


class ContractPostponed(Decided):
    """Somebody has postponed a row, until a moment or (`until` is null) until somebody resumes it."""

    until: str | None = None

    says = "postponed"


class ContractSkipped(Decided):
    """Somebody has decided that a row never runs."""

    says = "skipped"


class ContractResumed(Decided):
    """Somebody has taken back that a row was postponed or skipped."""

    says = "resumed"


class ContractAdopted(Decided):
    """Somebody has given a row to another migration; `before` is the migration that had left it."""

    before: str = ""

    says = "adopted"


class ContractTrusted(Decided):
    """Somebody has looked at the plan of a row that nobody had signed, and has signed it."""

    says = "trusted"


# A backfill.


class OfBackfill(OfStep):
    """What every event about a backfill carries."""

    step: Backfill


class BackfillStarted(OfBackfill):
    """A worker begins, or goes on, to fill a table of about `estimate` rows; null: a small table, in one batch."""

    estimate: int | None

    def text(self) -> str:
        rows = "" if self.estimate is None else f" (about {self.estimate:,} rows)"
        return f"{self.step.why}: begins{rows}"


class BackfillProgress(OfBackfill):
    """All workers together have looked at `visited` rows and filled `filled` of them."""

    visited: int
    filled: int
    estimate: int
    rows_per_second: float  # that were filled, since this worker began
    seconds_left: float | None

    level = logging.DEBUG

    @property
    def fraction(self) -> float:
        return min(1.0, self.visited / self.estimate) if self.estimate else 0.0

    @property
    def shown(self) -> str:
        left = f", {shown_left(self.seconds_left)} left" if self.seconds_left is not None else ""
        return f"{self.fraction:.0%}, {self.filled:,} rows, {self.rows_per_second:,.0f} rows/s{left}"

    def text(self) -> str:
        return f"{self.step.why}: {self.shown}"


class BackfillWaiting(OfBackfill):
    """A backfill waits; `said` is the reason."""

    said: str

    level = logging.WARNING

    @property
    def shown(self) -> str:
        return f"waiting: {self.said}"

    def text(self) -> str:
        return f"{self.step.why}: {self.shown}"


class BackfillDone(OfBackfill):
    """Every row is filled; this backfill has filled `filled` of them."""

    filled: int

    def text(self) -> str:
        return f"{self.step.why}: {self.filled:,} rows filled"


class BackfillRejected(OfBackfill):
    """The database rejects rows to the end: their keys, with the reason for each. The other rows are filled."""

    count: int
    rows: Sequence[dict[str, Any]]  # the first of them

    level = logging.ERROR

    def text(self) -> str:
        return f"{self.step.why}: the database rejects {self.count:,} rows"


class BackfillChanged(OfBackfill):
    """Somebody paused, resumed or cancelled a backfill, or changed its pace: `action`."""

    backfill: int  # its number
    migration: str
    action: str
    reason: str
    user: str

    def text(self) -> str:
        return f"{self.step.why}: {self.action}{f' ({self.reason})' if self.reason else ''}"
