"""What is told about a run, and what an operation knows about the run around it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import field
from typing import Literal

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from .. import conf
from ..data import Data
from ..errors import to_type
from ..plans.claims import Claim
from ..plans.steps import Step
from .events import listeners
from .events import vocabulary as happened
from .events.event import Event
from .foreseeing.ahead import Ahead
from .locking.blockers import Blocker
from .locking.locks import sqlstate
from .lost import is_lost, reason
from .settings import INSUFFICIENT_PRIVILEGE


class Report:
    """Tells what happens: first to everybody who listens, then to the reader of this run.

    This one shows nothing; commands do.
    """

    def tell(self, event: Event) -> None:
        listeners.tell(event)
        self.hear(event)

    def hear(self, event: Event) -> None:
        match event:
            case happened.ContractStarted():
                self.begin_row(f"{event.migration}  {event.label}")
            case happened.ContractDone():
                self.end_row()
            case happened.StepStarted():
                self.begin(event.step)
            case happened.StepSkipped():
                self.skip(event.step)
            case happened.StepWaiting():
                self.waiting(event.step, event.blockers, event.seconds)
            case happened.StepProgress(ongoing=True):
                self.advance(event.step, event.fraction, event.shown)
            case happened.StepProgress():
                self.progress(event.step, event.shown)
            case happened.StepDone():
                self.done(event.step, event.seconds, event.detail)
            case happened.BackfillProgress():
                self.meter(event.step, event.fraction, event.shown)
            case happened.BackfillWaiting():
                self.rest(event.step, event.said)

    # What a person sees.

    def begin_row(self, label: str) -> None: ...

    def end_row(self) -> None: ...

    def begin(self, step: Step) -> None: ...

    def skip(self, step: Step) -> None: ...

    def progress(self, step: Step, text: str) -> None: ...

    def meter(self, step: Step, fraction: float, text: str) -> None: ...

    def advance(self, step: Step, fraction: float | None, text: str) -> None:
        """Show the progress of the statement under way."""
        self.progress(step, text)

    def rest(self, step: Step, reason: str) -> None:
        """A backfill waits, and goes on by itself."""
        self.progress(step, f"waiting: {reason}")

    def waiting(self, step: Step, blockers: Sequence[Blocker], seconds: float) -> None: ...

    def done(self, step: Step, seconds: float, detail: str = "") -> None: ...

    def meanwhile(self, text: str) -> AbstractContextManager[None]:
        """Show what is under way during the block, apart from steps."""
        return contextlib.nullcontext()

    def sum_up(self) -> None:
        """What was done, and how long it took."""

    def close(self) -> None: ...


INDEX_IS_GONE, TABLE_IS_GONE = "was gone already", "its table is gone"
GONE = (INDEX_IS_GONE, TABLE_IS_GONE)  # details of a step that found nothing to drop


# Of the class "syntax error or access rule violation", but not caused by names or types of objects.
SYNTAX_ERROR = "42601"


def hint_of_drift(connection: BaseDatabaseWrapper, error: DatabaseError) -> str:
    """Where to look if an object is missing, exists already, or isn't what the statement takes it for."""
    code = sqlstate(error)
    if not code.startswith("42") or code in (SYNTAX_ERROR, INSUFFICIENT_PRIVILEGE):
        return ""
    verify = to_type("safemigrations verify --sql", connection.alias)
    return f"Where the database isn't what its migrations say, this prints how to fix it: {verify}"


def explain(connection: BaseDatabaseWrapper, step: Step, error: DatabaseError) -> str:
    """What failed, what stays, what to do."""
    found = hint_of_drift(connection, error)
    hint = f"\n{found}" if found else ""
    hides = " If a policy hides rows, use a role that has BYPASSRLS." if _may_be_hidden(step, error) else ""
    said = f"the connection to the server was lost ({reason(error)})" if is_lost(error) else str(error).strip()
    return (
        f"{step.why} failed: {said}\nStatement: {'; '.join(step.statements)}\n"
        "What was done before this step stays and is skipped the next time. Fix the cause and run the same "
        f"command again.{hides}{hint}"
    )


def _may_be_hidden(step: Step, error: DatabaseError) -> bool:
    """With row_security = off, rows that a policy hides raise insufficient_privilege."""
    return bool(step.reads) and sqlstate(error) == INSUFFICIENT_PRIVILEGE


def nothing_before(ahead: Ahead) -> None: ...


class Run(Data, frozen=False):
    """What an operation needs to know about the `migrate` that runs it."""

    report: Report = field(default_factory=Report)
    migration: Migration | None = None
    fresh: bool = False  # nothing was migrated when this run began, so there is no old release
    at_once: bool = False  # nobody else uses the database, so the contract runs with the expand
    created: set[tuple[str, str]] = field(default_factory=set)  # (app label, model) made by this run
    freed: set[Claim] = field(default_factory=set)  # what open contracts are going to remove
    changed: bool = False  # has a step, or a migration, of this run changed anything?
    taken_back: list[Callable[[], None]] | None = None  # what to do when a way back has ended; None: do it at once
    fills_at_once: bool = False  # the migration itself takes away what a backfill would need later
    touched: set[tuple[str, str]] = field(default_factory=set)  # (app label, model) whose tables it may have changed
    state: ProjectState | None = None  # to which its migrations led
    own_tables: set[tuple[str, str | None, str]] = field(default_factory=set)  # alias, schema, name of those found
    keeps_digests: bool = True  # a test database is made too often, and nobody asks it later
    remarks: list[str] = field(default_factory=list)  # what else to say of what is left for the contract
    before: Callable[[Ahead], None] = nothing_before  # told what a run that isn't the first is going to do

    def is_alone(self, app_label: str, *models: str) -> bool:
        """Does no release but this run know the tables of these models?"""
        return self.fresh or all((app_label, model.lower()) in self.created for model in models)

    def at_the_end_of_the_way_back(self, act: Callable[[], None]) -> None:
        if self.taken_back is None:
            act()
        else:
            self.taken_back.append(act)

    @property
    def contract(self) -> Literal["explicitly", "immediately"]:
        return "immediately" if self.fresh or self.at_once else conf.contract()


_sending: ContextVar[bool] = ContextVar("safemigrations_sending", default=False)


def is_sending() -> bool:
    """Is a runner at work? Its statements have timeouts of their own."""
    return _sending.get()


@contextlib.contextmanager
def sending() -> Iterator[None]:
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)


_current: ContextVar[Run | None] = ContextVar("safemigrations_run", default=None)


def current_run() -> Run:
    """The run that this code is part of; outside of one, a run that knows nothing."""
    return _current.get() or Run()


@contextlib.contextmanager
def running(run: Run) -> Iterator[Run]:
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)
