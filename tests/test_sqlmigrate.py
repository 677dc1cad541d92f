"""What sqlmigrate prints is what this server is sent, for the representatives of the cases.

Where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, it is every case; see tests/representatives.py.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations import Migration

from safemigrations.plans.steps import Backfill, Question, Step, Trial
from safemigrations.running.preview import FACTS
from safemigrations.running.run import Report
from safemigrations.running.session import Session
from safemigrations.typed import compose

from .cases import CASES, LABEL
from .releases import migrate
from .representatives import forms_of_steps, representatives

LATER = " (looked up when it is run)"
LEFT = "--   "  # what a line of the contract begins with
ASKS = re.compile(r"\s*(LOCK|RELEASE|ROLLBACK|SAVEPOINT|SELECT|SET|SHOW|WITH)\b")
BOOKKEEPING = re.compile(r'"?(safemigrations_\w+|django_(migrations|content_type))\b')
NOTHING = {"BEGIN;", "COMMIT;", "ROLLBACK;", "", "--", "-- (no-op)", "-- Left for the contract:"}
# Django can't print it, whoever wrote it: after its parent is deleted the state can't be rendered.
UNPRINTABLE = "delete_model_with_its_child"


class Sent(Report):
    """Every statement of a run that changes something, each with the sentences of the steps that it belongs to.

    Not what is only asked: that is rolled back. For the batches of a backfill stands what its step prints.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.statements: list[tuple[str, list[str]]] = []
        self.sentences: set[str] = set()
        self.questions: set[str] = set()
        self.steps: list[Step] = []  # that have begun
        self.of_a_step = self.is_asked = False
        send, rows_after = Session.send, Session.rows_after

        def send_(session: Session, sql: str) -> None:
            self.of_a_step = True
            try:
                send(session, sql)
            finally:
                self.of_a_step = False

        def rows_after_(session: Session, statements: Any, query: str) -> Any:
            self.is_asked = not (self.steps and isinstance(self.steps[-1], Trial))
            try:
                return rows_after(session, statements, query)
            finally:
                self.is_asked = False

        patch.setattr(Session, "send", send_)
        patch.setattr(Session, "rows_after", rows_after_)

    def skip(self, step: Step) -> None:
        self.sentences.add(step.why)

    def begin(self, step: Step) -> None:
        self.steps.append(step)
        if isinstance(step, Question):
            self.questions.add(step.why)
        self.sentences.add(" ".join(step.why.splitlines()))
        if isinstance(step, Backfill):
            for sql in step.statements:
                self.sentences.add(sql.removeprefix("-- ")) if step.function else self.add(sql)

    def done(self, step: Step, seconds: float, detail: str = "") -> None:
        self.steps.pop()

    def add(self, sql: str) -> None:
        self.statements.append((sql, [step.why for step in self.steps]))

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        asks = ASKS.match(sql) and not self.of_a_step
        is_batch = self.steps and isinstance(self.steps[-1], Backfill)
        is_bookkeeping = not self.of_a_step and BOOKKEEPING.search(sql)
        if not (asks or is_batch or self.is_asked or is_bookkeeping):
            self.add(compose(connection, sql, params) if params else sql)
        return execute(sql, params, many, context)

    def lines(self, placeholders: set[str]) -> list[str]:
        """As they are printed, without what steps have sent that were printed without their statements."""
        printed = [sql for sql, whys in self.statements if not any(map(is_any_of(placeholders), whys))]
        return [line for sql in printed for line in f"{sql};".splitlines()]


def is_any_of(placeholders: set[str]) -> Callable[[str], bool]:
    """Is a sentence one of these? "Each partition" is told by the steps that it comes to."""
    partition = re.compile(": (index of |attach )?partition .*")
    return lambda why: why in placeholders or partition.sub(": each partition", why) in placeholders


class Printed:
    """What sqlmigrate prints of a migration."""

    def __init__(self, migration: Migration) -> None:
        out = io.StringIO()
        call_command("sqlmigrate", LABEL, migration.name, stdout=out, no_color=True, verbosity=2)
        # What is said of a step beside its statement, tests/test_plan.py compares with what it does.
        self.lines = [line for line in out.getvalue().splitlines() if not line.startswith(FACTS)]
        self.described = {operation.describe() for operation in migration.operations}

    @property
    def unknown_now(self) -> set[str]:
        lines = [line for line in self.lines if line.endswith(LATER) and not line.startswith(LEFT)]
        return {line.removeprefix("-- ").removesuffix(LATER) for line in lines}

    @property
    def unknown_later(self) -> set[str]:
        lines = [line for line in self.lines if line.endswith(LATER) and line.startswith(LEFT)]
        return {line.removeprefix(LEFT).removesuffix(LATER) for line in lines}

    def now(self, sentences: set[str]) -> list[str]:
        return [line for line in self.lines if not line.startswith(LEFT) and self._is_sql(line, "-- ", sentences)]

    def later(self, sentences: set[str]) -> list[str]:
        left = [line.removeprefix(LEFT) for line in self.lines if line.startswith(LEFT)]
        return [line for line in left if self._is_sql(line, "", sentences)]

    def _is_sql(self, line: str, prefix: str, sentences: set[str]) -> bool:
        text = line.removeprefix(prefix).removesuffix(";")
        known = text in sentences or text in self.described or line.endswith(LATER)
        return not (known or line in NOTHING)


PRINTABLE = [case for case in CASES if case.name != UNPRINTABLE]


@pytest.mark.parametrize("case", representatives(forms_of_steps, PRINTABLE), ids=repr)
def test_what_is_printed_is_what_is_sent(release, monkeypatch):
    sent, left = Sent(monkeypatch), []
    with connection.execute_wrapper(sent):
        for migration in release.migrations:
            printed = Printed(migration)
            left.append(printed)
            sent.statements.clear()
            migrate(migration.name, sent)
            assert printed.now(sent.sentences) == sent.lines(printed.unknown_now)
            # Only what another operation of the migration changes before it can't be known.
            assert len(migration.operations) > 1 or not printed.unknown_now & sent.questions
        sent.statements.clear()
        release.contract(sent)
    placeholders = set().union(*(printed.unknown_later for printed in left))
    assert [line for printed in left for line in printed.later(sent.sentences)] == sent.lines(placeholders)
