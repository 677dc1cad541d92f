"""Shows what a plan would send to this server, without sending it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar

from django.db import DatabaseError, transaction

from ..errors import StepFailed
from ..plans.copies import TryTypes
from ..plans.steps import Nothing, Plan, Proof, Question, Step, Trial, tables_of
from ..plans.work import in_words
from ..postgres.columns import column_not_null
from ..postgres.names import Name
from .lost import raise_lost
from .run import sending
from .session import Session

PATIENCE = "lock_timeout = '200ms'; SET LOCAL statement_timeout = '5s'"


FACTS = "--     "  # what a line of facts begins with
DROPS_NOT_NULL = r"ALTER TABLE (.+) ALTER COLUMN (.+) DROP NOT NULL;"


def preview(session: Session, plan: Plan, *, after: Sequence[str] = ()) -> Iterator[Step]:
    """The steps that a plan comes to on this server, as it is now; the lines of `after` will have been sent before.

    A question that can't be answered stays as it is: what it asks about isn't there yet, or may have changed by then,
    or this role, or a standby, can't make the table that is rolled back.
    """
    for step in plan:
        answer = _answer(session, step, after)
        if isinstance(answer, Step):
            yield answer
        else:
            yield from preview(session, answer, after=after)


def _may_change(line: str, tables: Sequence[str]) -> bool:
    """May the statement change the answer to a question about these tables? One about an index names no table."""
    return line.startswith(("ALTER INDEX", "DROP INDEX")) or any(table in line for table in tables)


def _needs_what_goes(step: Step, after: Sequence[str]) -> bool:
    """Is the step needed only where a column forbids null, and does one of these lines end that?"""
    found = [match.groups() for line in after if (match := re.fullmatch(DROPS_NOT_NULL, line))]
    return any(column_not_null(table, Name(column).raw) in (step.only_where or "") for table, column in found)


def _answer(session: Session, step: Step, after: Sequence[str]) -> Step | Plan:
    if isinstance(step, Question) and any(_may_change(line, tables_of(step)) for line in after):
        return step
    if _needs_what_goes(step, after):
        return ()
    try:
        with sending(), transaction.atomic(using=session.connection.alias):
            session.set(f"LOCAL {PATIENCE}")
            if not step.is_needed(session):
                return ()
            if isinstance(step, Question) and step.is_too_early(session):
                return step
            return step.discover(session)
    except (DatabaseError, StepFailed) as error:
        raise_lost(error)
        return step


_told: ContextVar[bool] = ContextVar("safemigrations_facts", default=False)


@contextlib.contextmanager
def telling_facts() -> Iterator[None]:
    """Inside the block, add to each printed step the kind of its work and its locks."""
    token = _told.set(True)
    try:
        yield
    finally:
        _told.reset(token)


_briefly: ContextVar[bool] = ContextVar("safemigrations_briefly", default=False)


@contextlib.contextmanager
def briefly() -> Iterator[None]:
    """Inside the block, count the steps that only look instead of printing them."""
    token = _briefly.set(True)
    try:
        yield
    finally:
        _briefly.reset(token)


def lines_of(steps: Iterable[Step]) -> Iterator[str]:
    """The lines that people read."""
    checks = 0
    for step in steps:
        if _briefly.get() and isinstance(step, Nothing | Proof | Trial | TryTypes):
            checks += 1
        else:
            yield from _lines_of(step)
    if checks:
        said = "1 check that changes nothing" if checks == 1 else f"{checks} checks that change nothing"
        yield f"-- and {said} (-v 2 prints each)"


def _lines_of(step: Step) -> Iterator[str]:
    """The reason, and the SQL."""
    why = " ".join(step.why.splitlines())  # a value that it quotes may have several lines
    if isinstance(step, Proof | Question):
        yield f"-- {why} (looked up when it is run)"
    elif step.statements:
        yield f"-- {why}"
        if _told.get():
            yield f"{FACTS}{in_words(step)}"
        yield from (line for sql in step.statements for line in f"{sql};".splitlines())
