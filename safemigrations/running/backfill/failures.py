"""Why a batch fails, and what that means for the others."""

from __future__ import annotations

from django.db import OperationalError

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


def is_lost(error: BaseException | None) -> bool:
    """Did the connection break, such as when the server is restarted? Django has made a new one by now."""
    state = locks.sqlstate(error) if error else ""
    return isinstance(error, OperationalError) and (not state or state[:2] == "08" or state[:4] == "57P0")


def first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
