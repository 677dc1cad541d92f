"""What the gate would answer now, for callers that only look."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

from ..data import Data
from ..errors import StepFailed
from . import chosen, unfinished
from .gate import Why
from .judging import judge
from .refusing import Refusing
from .table import Contract


class Answer(Data):
    """Why a row may not run now."""

    reason: str
    is_decision: bool = False  # of people, who have postponed or skipped it


def answers(connection: BaseDatabaseWrapper, contracts: Sequence[Contract]) -> dict[int, Answer]:
    """The reasons by row number; rows that may run are left out. Looks once."""
    try:
        rows = chosen.as_rows(contracts, unfinished.backfills(connection))
    except StepFailed as error:  # a row that nobody with SECRET_KEY has written: none runs
        return {one.pk: Answer(str(error)) for one in contracts}
    judgement = judge(connection, rows, watching=0)
    words = Refusing(connection, {one.pk: one for one in contracts}, judgement)
    return {
        wait.row.number: Answer(words.reason(wait), is_decision=wait.why in (Why.SKIPPED, Why.POSTPONED))
        for wait in judgement.verdict.waits
    }
