"""Classifies why a batch fails."""

from __future__ import annotations

from ...errors import StepFailed
from ..locking import locks


class Stopped(StepFailed):
    """Somebody stopped this backfill: by a cancellation, or because it failed in another worker."""


class TooManyLocked(Exception):
    """Others hold more rows than can be remembered."""

    def __str__(self) -> str:
        return "other sessions hold many rows"


def is_rejection(error: BaseException) -> bool:
    """Does the database reject the row: a misfit, two values for one, a constraint, a trigger's RAISE?"""
    return locks.sqlstate(error)[:2] in {"21", "22", "23", "44", "P0"}
