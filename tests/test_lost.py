"""A lost connection is one sentence, in whichever form libpq and psycopg say it."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError, ProgrammingError, connection
from psycopg import errors

from safemigrations.errors import StepFailed
from safemigrations.management.interruptible import Interrupted, Interruptible
from safemigrations.running.lost import is_lost, lost_in_words

ADMINISTRATOR = "terminating connection due to administrator command"
CLOSED = "server closed the connection unexpectedly"
CRASH = f"{CLOSED}\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request."
RESET = "could not receive data from server: Connection reset by peer"
PIPE = "could not send data to server: Broken pipe"


class TransactionTimeout(psycopg.InternalError):
    sqlstate = "25P04"


LOST = {
    "the server says why": (errors.AdminShutdown(ADMINISTRATOR), ADMINISTRATOR),
    "the server says what crashed": (errors.CrashShutdown("another crashed\nHINT: wait"), "another crashed"),
    "idle for too long": (errors.IdleSessionTimeout("idle-session timeout"), "idle-session timeout"),
    "idle in a transaction": (errors.IdleInTransactionSessionTimeout("idle timeout"), "idle timeout"),
    "a transaction for too long": (TransactionTimeout("transaction timeout"), "transaction timeout"),
    "the database is gone": (errors.DatabaseDropped("it was dropped"), "it was dropped"),
    "closed while it waits": (f"consuming input failed: {CRASH}", CLOSED),
    "closed while it sends": (f"sending query failed: {CRASH}", CLOSED),
    "closed while it ends": (f"flushing failed: {CRASH}", CLOSED),
    "said why, and closed": (f"consuming input failed: {ADMINISTRATOR}\nSSL connection was closed", ADMINISTRATOR),
    "said how severe, and closed": (f"FATAL:  {ADMINISTRATOR}\n{CRASH}", ADMINISTRATOR),
    "TLS is closed": ("consuming input failed: SSL connection has been closed", "SSL connection has been closed"),
    "TLS ends": ("consuming input failed: SSL SYSCALL error: EOF detected", "SSL SYSCALL error: EOF detected"),
    "reset while it waits": (f"consuming input failed: {RESET}", RESET),
    "reset while it sends": (f"sending query failed: {PIPE}", PIPE),
    "two at once": (f"{PIPE}\n{CRASH}", PIPE),
    "noticed before": ("the connection is lost", "the connection is lost"),
    "closed before": ("sending prepared query failed: the connection is closed.", "the connection is closed"),
    "nothing is said": ("", "it was closed without a reason"),
}


@pytest.mark.parametrize(("raised", "reason"), LOST.values(), ids=LOST)
def test_each_form_of_the_end_is_one_sentence(raised: str | psycopg.Error, reason: str):
    with pytest.raises(StepFailed) as failed, lost_in_words(), connection.wrap_database_errors:
        raise psycopg.OperationalError(raised) if isinstance(raised, str) else raised
    assert str(failed.value) == (
        f"The connection to the server was lost ({reason}). What was done before stays. Run the same command again."
    )


def test_what_follows_from_it_is_said_as_it():
    """Django opens no new connection in a transaction, and says only that."""
    follows = ProgrammingError("Cannot open a new connection in an atomic block.")
    follows.__context__ = OperationalError(CRASH)
    with pytest.raises(StepFailed, match=f"was lost \\({CLOSED}\\)"), lost_in_words():
        raise follows


def test_a_server_that_can_not_be_reached_is_a_sentence():
    with pytest.raises(CommandError) as failed, lost_in_words(), connection.wrap_database_errors:
        psycopg.connect("host=/nowhere port=1 dbname=none user=nobody")
    assert str(failed.value) == (
        'The server can\'t be reached (connection to server on socket "/nowhere/.s.PGSQL.1" failed: No such file or '
        "directory). What was done before stays. Run the same command again."
    )


def test_other_errors_are_not_taken_for_it():
    of_sqlite = OperationalError("no such table: item")
    of_sqlite.__cause__ = sqlite3.OperationalError("no such table: item")
    assert not is_lost(of_sqlite)
    assert not is_lost(ProgrammingError("no such table: item"))
    assert not is_lost(OperationalError("sending query failed: another command is already in progress"))
    assert is_lost(InterfaceError("connection already closed"))  # of psycopg2
    with pytest.raises(ProgrammingError), lost_in_words():
        raise ProgrammingError("no such table: item")


class Interrupts(Interruptible):
    def handle(self, **options: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise OperationalError("another command is already in progress")


def test_a_statement_that_fails_after_control_c_does_not_hide_it(monkeypatch):
    monkeypatch.setattr(Interrupts, "_called_from_command_line", True)
    with pytest.raises(Interrupted, match=r"^what is done stays\. Run the same command again to go on\.$"):
        call_command(Interrupts())
