"""What is noted of the step that is under way: how long it took and waited, and how many rows it filled.

Whoever does the work says it here and knows nothing of the ledger, so taking locks loads no table of ours.
"""

from __future__ import annotations

from contextvars import ContextVar

from ..plans.steps import Step


class Notes:
    """What is known of the step that is under way; the ledger writes it when the step is done."""

    waited = 0.0  # seconds
    visited: int | None = None  # rows of a backfill
    filled = 0

    def note(self, step: Step, seconds: float) -> None:
        raise NotImplementedError


current: ContextVar[Notes | None] = ContextVar("safemigrations_notes", default=None)


def note(step: Step, seconds: float) -> None:
    """Note that a step was done in this many seconds."""
    if notes := current.get():
        notes.note(step, seconds)


def waited(seconds: float) -> None:
    """Add seconds that the step under way has waited for a lock."""
    if notes := current.get():
        notes.waited += seconds


def filled(rows: int, visited: int) -> None:
    """Add rows that the backfill under way has changed, and rows that it has looked at."""
    if notes := current.get():
        notes.visited, notes.filled = (notes.visited or 0) + visited, notes.filled + rows
