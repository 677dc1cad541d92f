"""The plan says the locks that pg_locks shows and the statements that are sent, for the representatives of the cases.

Where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, it is every case; see tests/representatives.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from django.db import connection

from safemigrations.contracts import queue
from safemigrations.inspecting.plan.facts import LATER, StepFacts
from safemigrations.inspecting.plan.planning import Planning
from safemigrations.plans.steps import Step
from safemigrations.plans.work import locks_of
from safemigrations.running.run import Report

from .cases import CASES, LABEL
from .lock_modes import Locks
from .releases import migrate
from .representatives import classes_and_kinds, representatives
from .test_sqlmigrate import UNPRINTABLE, Sent, is_any_of

BEGINNINGS = ("-- ", "BEGIN", "ROLLBACK")  # what stands for a function, or around a trial


class Both(Report):
    def __init__(self, sent: Sent, locks: Locks) -> None:
        self.reports: tuple[Report, ...] = (sent, locks)

    def begin(self, step: Step) -> None:
        for report in self.reports:
            report.begin(step)

    def skip(self, step: Step) -> None:
        for report in self.reports:
            report.skip(step)

    def done(self, step: Step, seconds: float, detail: str = "") -> None:
        for report in self.reports:
            report.done(step, seconds, detail)


def sent_by(steps: Iterable[StepFacts]) -> list[str]:
    sending = (step for step in steps if not step.is_done and step.kind != "Proof")
    statements = (sql for step in sending for sql in step.statements)
    return [sql.removesuffix(";") for sql in statements if not sql.startswith(BEGINNINGS)]


def placeholders(steps: Iterable[StepFacts]) -> set[str]:
    return {step.why for step in steps if step.note == LATER}


def really_sent(sent: Sent, without: set[str]) -> list[str]:
    found = (sql for sql, whys in sent.statements if not any(map(is_any_of(without), whys)))
    return [sql.removesuffix(";") for sql in found]


def wrong_locks(steps: Iterable[StepFacts], locks: Locks) -> list[str]:
    """Steps that were planned with other locks than those with which they ran, which `locks` has compared."""
    ran = {step.why: dict(locks_of(step)) for step in locks.steps}
    wrong = [step.why for step in steps if step.why in ran and dict(step.locks) != ran[step.why]]
    return wrong + locks.wrong


PLANNED = [case for case in CASES if case.name != UNPRINTABLE]


@pytest.mark.parametrize("case", representatives(classes_and_kinds, PLANNED), ids=repr)
def test_what_is_planned_is_what_is_sent_and_locked(release, monkeypatch, connect):
    sent, locks = Sent(monkeypatch), Locks(connect)
    report = Both(sent, locks)
    for migration in release.migrations:
        (planned,) = Planning(connection).migrations([(LABEL, migration.name)]).migrations
        with connection.execute_wrapper(sent):
            sent.statements.clear()
            migrate(migration.name, report)
            assert sent_by(planned.steps) == really_sent(sent, placeholders(planned.steps))
        assert wrong_locks(planned.steps, locks) == []
    rows = Planning(connection).contracts(queue.open_rows(connection))
    steps = [step for row in rows for step in row.steps]
    with connection.execute_wrapper(sent):
        sent.statements.clear()
        release.contract(report)
        assert sent_by(steps) == really_sent(sent, placeholders(steps))
    assert wrong_locks(steps, locks) == []
    assert bool(locks.steps) is not release.case.safe
