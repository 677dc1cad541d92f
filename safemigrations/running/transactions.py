"""Carries out steps in one short transaction, behind locks that are taken as locks.py says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from django.db import DatabaseError, transaction

from ..plans.indexes import AddUnique
from ..plans.steps import Statement, Step, Together
from ..postgres.lock import Lock
from . import noting
from .events import vocabulary as happened
from .foreseeing.planted import refuse_planted
from .locking import locks
from .locking.blockers import Blocker
from .run import Report
from .session import Session

TELL_EVERY = 5.0  # seconds between two times that the same wait is told


class Waits:
    """Collects whom a step waited for, and for how long."""

    def __init__(self, step: Step, report: Report) -> None:
        self.step, self.report = step, report
        self.seconds = 0.0
        self.last: Sequence[Blocker] = ()
        self.grown = 0.0
        self.told: set[int | None] = set()
        self.told_at = 0.0

    def __call__(self, blockers: Sequence[Blocker], seconds: float) -> None:
        self.seconds, self.last = seconds, blockers or self.last
        if self._is_news(blockers):
            self.told, self.told_at = {blocker.pid for blocker in blockers}, time.monotonic()
            self.report.tell(happened.StepWaiting(self.step, blockers, seconds))

    def _is_news(self, blockers: Sequence[Blocker]) -> bool:
        """Is another session in the way now, or was the last line about it long ago?"""
        others = {blocker.pid for blocker in blockers} - self.told
        return bool(others) or (bool(blockers) and time.monotonic() - self.told_at > TELL_EVERY)

    def grew(self, seconds: float) -> None:
        """Tell that queries may wait this long behind each try from now on, when that becomes longer."""
        if seconds > self.grown:
            self.grown = seconds
            self.report.tell(happened.StepProgress(self.step, self._said(seconds)))

    def _said(self, seconds: float) -> str:
        return (
            f"{self.step.label}: whoever uses it does so for long, one after the other; from now "
            f"on queries may wait up to {seconds:.1f} s behind a try (LOCK_TIMEOUT_MAX)"
        )

    def end(self, session: Session) -> str:
        """Note the seconds of waiting, and return what there is to tell."""
        session.waited += self.seconds
        noting.waited(self.seconds)
        if not self.seconds:
            return ""
        who = f" for {self.last[0].without_query}" if self.last else ""
        return f"of which {self.seconds:.1f} s waiting{who}"


def statement(session: Session, step: Statement | Together) -> str:
    return send_behind_locks(session, step, step.locks, step.statements)


def add_unique(session: Session, step: AddUnique) -> str:
    return send_behind_locks(session, step, {step.table: Lock.ACCESS_EXCLUSIVE}, step.statements)


def send_behind_locks(session: Session, step: Step, wanted: Mapping[str, Lock], statements: Sequence[str]) -> str:
    def send() -> None:
        for sql in statements:
            session.send(sql)
        refuse_planted(session, step)  # now that it can't become another one's any more

    if session.connection.in_atomic_block:
        send()  # in somebody's transaction, which can't be tried again from here
        return ""
    return behind_locks(session, step, wanted, send)


def behind_locks(session: Session, step: Step, wanted: Mapping[str, Lock], act: Callable[[], None]) -> str:
    """Call `act` in a transaction that has the locks; returns how long the locks were waited for."""
    waits = Waits(step, session.report)
    for attempt in locks.attempts(session.connection, wanted, waits, waits.grew):
        try:
            with transaction.atomic(using=session.connection.alias):
                # What it looks up has to be what it finds once it has the locks.
                session.set("TRANSACTION ISOLATION LEVEL READ COMMITTED")
                locks.acquire(session.connection, wanted, attempt)
                act()
            break
        except DatabaseError as error:
            if not locks.is_retried(error):
                raise
    return waits.end(session)
