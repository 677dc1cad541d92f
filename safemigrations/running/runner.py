"""Executes plans. Nothing else in this package sends DDL.

For each step the runner finds out whether it is already done, and what it comes to on this server. How a kind of step
is executed says the function that EXECUTE has for it. Every step can be run twice: after a crash the same command goes
on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Any

from django.apps.registry import Apps
from django.db import DatabaseError, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import NeedsAutocommit, StepFailed, said_of
from ..plans.indexes import AddUnique, BuildIndex, DropIndex
from ..plans.steps import Backfill, Nothing, Online, Plan, Proof, Statement, Step, Together, Trial, reverse
from . import noting
from .backfill.fill import fill
from .events import vocabulary as happened
from .indexes import build_index, drop_index
from .locking.snapshots import wait_for_older_ones
from .of_tenant import lacking, refuse_the_public_one, seeing_only_its_own
from .one_at_a_time import look
from .online import online
from .proofs import Contradicted, proof, trial
from .run import Report, current_run, explain, sending
from .session import Session
from .transactions import add_unique, statement


def nothing(session: Session, step: Nothing) -> str:
    return step.because


def together(session: Session, step: Together) -> str:
    if step.for_newer_snapshots and not session.connection.in_atomic_block:
        wait_for_older_ones(session, step)
    return statement(session, step)


# Each returns what there is to tell about the step.
EXECUTE: Mapping[type[Step], Callable[[Session, Any], str]] = {
    AddUnique: add_unique,
    Backfill: fill,
    BuildIndex: build_index,
    DropIndex: drop_index,
    Nothing: nothing,
    Online: online,
    Proof: proof,
    Statement: statement,
    Together: together,
    Trial: trial,
}


class Runner:
    """Executes steps on one connection; `apps` are the models of the migration that is being applied."""

    def __init__(self, connection: BaseDatabaseWrapper, report: Report | None = None, apps: Apps | None = None) -> None:
        self.session = Session(connection, report, apps)

    def run(self, plan: Plan) -> None:
        """Do every step that isn't done. Raises StepFailed or LockNotAcquired; both leave a state to go on from."""
        with self.session.ready():
            self._run(plan)

    def _run(self, plan: Plan) -> None:
        for step in plan:
            if not step.is_needed(self.session):
                continue
            lacks = lacking(self.session.connection, step)
            if self.is_done(step, lacks):
                self.session.report.tell(happened.StepSkipped(step))
                continue
            refuse_the_public_one(self.session.connection, step, lacks)
            self._refuse_inside_transaction(step)
            look(self.session.connection)
            with sending():
                self._do(step)

    def undo(self, plan: Plan) -> None:
        self.run(reverse(plan))

    def is_done(self, step: Step, lacks: Collection[str] = ()) -> bool:
        """`lacks`: tables of the step that only another schema has."""
        if not step.done:
            return False
        with seeing_only_its_own(self.session.connection) if lacks else nullcontext():
            return bool(self.session.rows(step.done))

    def _refuse_inside_transaction(self, step: Step) -> None:
        if self.session.connection.in_atomic_block and not step.transactional:
            raise NeedsAutocommit(
                f"{step.why}: this can't be done inside a transaction (set atomic = False on the migration)."
            )

    def _do(self, step: Step) -> None:
        try:
            answer = step.discover(self.session)
            if isinstance(answer, Step):
                step = answer  # so that an error names the statement that was sent
            self._execute(step, answer)
        except StepFailed as error:
            self._clean_up(step, error)
            raise
        except DatabaseError as error:
            self._clean_up(step, error)
            raise StepFailed(explain(self.session.connection, step, error)) from error

    def _execute(self, step: Step, answer: Step | Plan) -> None:
        report, began, self.session.waited = self.session.report, time.monotonic(), 0.0
        if step.told:
            report.tell(happened.StepStarted(step))
        if isinstance(answer, Step):
            detail = self._executed(answer, began)
            current_run().changed |= not isinstance(answer, Nothing | Proof | Trial)
            if not isinstance(answer, Nothing):
                noting.note(answer, time.monotonic() - began)
        else:
            detail = ""
            self._run(answer)
            self.session.waited = 0.0  # each of these steps has told its own wait
        if step.told:
            report.tell(happened.StepDone(step, time.monotonic() - began, detail, self.session.waited))

    def _executed(self, step: Step, began: float) -> str:
        try:
            return EXECUTE[type(step)](self.session, step)
        except BaseException as error:
            said = explain(self.session.connection, step, error) if isinstance(error, DatabaseError) else said_of(error)
            self.session.report.tell(happened.StepFailed(step, said, time.monotonic() - began))
            raise

    def _clean_up(self, step: Step, error: BaseException) -> None:
        """Rows contradict the step: what it leaves behind would reject writes that succeeded before."""
        if isinstance(error, Contradicted | IntegrityError) or isinstance(error.__cause__, IntegrityError):
            self._run(getattr(step, "on_failure", ()))
