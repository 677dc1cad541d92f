"""What a plan would send to this server, without sending it."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import DatabaseError, transaction

from ..errors import StepFailed
from ..plans.steps import Plan, Question, Step
from .run import sending
from .session import Session

PATIENCE = "lock_timeout = '200ms'; SET LOCAL statement_timeout = '5s'"


def preview(session: Session, plan: Plan) -> Iterator[Step]:
    """The steps that a plan comes to on this server, as it is now.

    A question that can't be answered stays as it is: what it asks about isn't there yet, or this role, or a standby,
    can't make the table that is rolled back.
    """
    for step in plan:
        answer = _answer(session, step)
        if isinstance(answer, Step):
            yield answer
        else:
            yield from preview(session, answer)


def _answer(session: Session, step: Step) -> Step | Plan:
    try:
        with sending(), transaction.atomic(using=session.connection.alias):
            session.set(f"LOCAL {PATIENCE}")
            if not step.is_needed(session):
                return ()
            if isinstance(step, Question) and step.is_too_early(session):
                return step
            return step.discover(session)
    except (DatabaseError, StepFailed):
        return step
