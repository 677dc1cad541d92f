"""Why a batch fails, and what that means for the others."""

from __future__ import annotations

from ...errors import StepFailed
from .. import locks


class Stopped(StepFailed):
    """Somebody else stopped this backfill: it was cancelled, or it failed elsewhere."""


class TooManyLocked(Exception):
    """Others hold more rows than can be remembered."""

    def __str__(self) -> str:
        return "other sessions hold many rows"


def is_rejection(error: BaseException) -> bool:
    """Is the row to blame: data that doesn't fit, two values for one, a constraint, a trigger's RAISE?"""
    return locks.sqlstate(error)[:2] in {"21", "22", "23", "44", "P0"}
