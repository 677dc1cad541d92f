"""What a server refuses to a command, in a sentence with what to do: where no step has said it with more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError

from ..errors import StepFailed
from .locks import sqlstate
from .lost import first_line

WHAT_TO_DO = {
    "42501": "Use the role that migrates here, or let an administrator grant what is missing.",
    "25006": "Use the primary, and a role whose sessions may write (default_transaction_read_only).",
    "57014": "Set no statement_timeout for the role that migrates, then run the same command again.",
    "55P03": "Somebody holds it for longer than lock_timeout. Run the same command again.",
}
NOT_AS_MADE = ("42P01", "42703", "42804", "42883")  # a table, a column, a type that isn't as it was made
OURS = ("safemigrations_", "django_migrations")
RESTORE = "It was made by another version, or by hand. Restore it as it was: what it holds decides what is run."


@contextmanager
def denied_in_words() -> Iterator[None]:
    """Raise StepFailed for what this role, this session or tables of ours that somebody has changed don't allow."""
    try:
        yield
    except DatabaseError as error:
        if do := _what_to_do(error):
            raise StepFailed(f"The server refused: {first_line(error)}. What was done before stays. {do}") from error
        raise


def _what_to_do(error: DatabaseError) -> str:
    state = sqlstate(error)
    if state in NOT_AS_MADE and any(name in str(error) for name in OURS):
        return RESTORE
    return WHAT_TO_DO.get(state or "", "")
