"""What a server refuses to a command, in a sentence with what to do: where no step has said it with more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError

from ..errors import StepFailed
from .locking.locks import QUERY_CANCELED, sqlstate
from .lost import first_line

WHAT_TO_DO = {
    "42501": "Use the role that migrates here, or let an administrator grant what is missing.",
    "25006": "Use the primary, and a role whose sessions may write (default_transaction_read_only).",
    "55P03": "Somebody else holds the lock. Run the same command again.",
}
TIMEOUT = "Set no statement_timeout for the sessions that migrate, and run the same command again."
CANCELLED = "Somebody has cancelled the statement, such as with pg_cancel_backend. Run the same command again."
# PostgreSQL has one SQLSTATE for both, and where lc_messages isn't English, it says in other words which it was.
EITHER = (
    "Either statement_timeout was over: set none for the sessions that migrate. Or somebody has cancelled the "
    "statement. Run the same command again."
)
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
    return _after_cancelling(str(error)) if state == QUERY_CANCELED else WHAT_TO_DO.get(state, "")


def _after_cancelling(said: str) -> str:
    if "due to statement timeout" in said:
        return TIMEOUT
    return CANCELLED if "due to user request" in said else EITHER
