"""Recognises a lost connection by its error, and says so in one sentence.

The same end of a session has many forms. It depends on whether libpq meets it while it sends, while it waits, between
two statements or when it connects again, and on what the server could still say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, InterfaceError, OperationalError

from ..errors import StepFailed
from .locking.locks import sqlstate

ENDED = ("08", "57P0")  # connection exceptions; a shutdown, a crash, an administrator, a session idle for too long
TIMED_OUT = ("25P03", "25P04")  # idle_in_transaction_session_timeout and transaction_timeout end the session, too
# What psycopg did when it noticed, and the severity before the server's words.
BEFORE = r"^(?:[a-z' ]+ (?:failed|bad): )*(?:[A-Z]+: +)?"
NO_REASON = "it was closed without a reason"
BUSY = "another command is already in progress"  # Ctrl-C came between a statement and its answer
NEVER_MADE = r"connection (?:failed|is bad|timeout|to server)|couldn't get a connection"


@contextmanager
def lost_in_words() -> Iterator[None]:
    """Raise StepFailed where the connection is lost, or can't be made."""
    try:
        yield
    except Error as error:
        if lost := lost_by(error):
            raise StepFailed(f"{_sentence(lost)} What was done before stays. Run the same command again.") from error
        raise


def _sentence(error: BaseException) -> str:
    if re.match(NEVER_MADE, str(error)):
        return f"The server can't be reached ({reason(error)})."
    return f"The connection to the server was lost ({reason(error)})."


def is_lost(error: BaseException | None) -> bool:
    """Did the connection break, as when the server restarts? Django opens a new one for the next statement."""
    if state := sqlstate(error) if error else "":
        return state.startswith(ENDED) or state in TIMED_OUT
    if BUSY in str(error) or not isinstance(error, OperationalError | InterfaceError):
        return False
    return _is_of_postgresql(error.__cause__)


def _is_of_postgresql(error: BaseException | None) -> bool:
    """An OperationalError of SQLite is something else."""
    return error is None or hasattr(error, "sqlstate") or hasattr(error, "pgcode")


def raise_lost(error: BaseException) -> None:
    """Raise an error by which the connection was lost: for who takes an error for an answer it is none."""
    if lost_by(error):
        raise error


def lost_by(error: BaseException) -> BaseException | None:
    """The error by which the connection was lost: this one or one of its causes.

    This one may come from an attempt to roll back.
    """
    return next(filter(is_lost, led_to(error)), None)


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its chain of causes."""
    while error:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def reason(error: BaseException) -> str:
    """The reason in one line, without a full stop.

    What libpq adds mentions a crash even if there was none, so it is left out.
    """
    return re.sub(BEFORE, "", " ".join(first_line(error).split())).rstrip(". ") or NO_REASON


def first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
