"""Stops a migration that has kept others waiting for too long, whatever it does: the last defence of requests.

A lock_timeout limits how long a statement waits for its lock, and nothing limits how long a transaction then holds it:
an ALTER TABLE in front of a function that runs for a minute stops a site for that minute. So a second connection looks
whom the session of the migration blocks. It is opened for a migration that takes long, and asks one query that finds
nothing as long as nobody waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any, Self

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from ...data import Data
from ...errors import KeptOthersWaiting
from ...postgres.names import Name
from ...postgres.statements import as_text, may_wait_for_a_table, shortened
from ..another import another_connection

LOOKS = 10  # during the time that somebody may wait
REMEMBERED = 50  # statements of a transaction
NAMED = 5  # sessions in a message

# Waits for a lock that this session holds, or for one that it waits for itself; its own workers are no requests.
WAITING = """
    SELECT l.pid, coalesce(a.application_name, ''), extract(epoch FROM clock_timestamp() - l.waitstart)::float,
        coalesce(l.relation::regclass::text, ''), coalesce(string_agg(DISTINCT h.mode, ', '), ''),
        bool_and(coalesce(h.granted, true))
    FROM pg_locks l
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_locks h ON h.pid = %(pid)s AND h.relation = l.relation AND h.locktype = 'relation'
        AND h.database = l.database
    WHERE NOT l.granted AND l.locktype IN ('relation', 'transactionid', 'tuple')
      AND l.waitstart < clock_timestamp() - make_interval(secs => %(least)s)
      AND coalesce(a.backend_type, 'client backend') = 'client backend'
      AND %(pid)s = ANY (pg_blocking_pids(l.pid))
    GROUP BY l.pid, a.application_name, l.waitstart, l.relation
    ORDER BY l.waitstart
"""
# A statement is cancelled. While Python runs there is none, and only the end of the session ends the transaction.
END = """
    SELECT CASE WHEN state LIKE 'idle in transaction%%' THEN pg_terminate_backend(pid) ELSE pg_cancel_backend(pid) END
    FROM pg_stat_activity WHERE pid = %s
"""


class Waiter(Data):
    """A session that waits for the migration."""

    pid: int
    application: str
    seconds: float
    table: str  # empty for a row
    modes: str  # what the migration has of this table, or waits for
    granted: bool

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.application or 'no application_name'}, {self.seconds:.1f} s)"


class Watchdog:
    """Watches the session of `connection` during the block; `label` names in the message what it runs.

    The block raises KeptOthersWaiting when the session kept a request waiting for `seconds`: the statement that
    was running then is cancelled, and its transaction rolled back.
    """

    def __init__(self, connection: BaseDatabaseWrapper, seconds: float, label: str) -> None:
        self.connection, self.seconds, self.label = connection, seconds, label
        self.sent: deque[str] = deque(maxlen=REMEMBERED)  # what may have taken locks in this transaction
        self.running = ""
        self.message = ""
        self.over = threading.Event()
        self.thread = threading.Thread(target=copy_context().run, args=(self._watch,), daemon=True)

    def __enter__(self) -> Self:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (self.pid,) = cursor.fetchone()
        self.wrapper = self.connection.execute_wrapper(self._remember)
        self.wrapper.__enter__()
        self.thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.wrapper.__exit__(None, None, None)
        self.over.set()
        self.thread.join()
        if self.message and isinstance(error, Exception):
            raise KeptOthersWaiting(self.message) from error

    def _remember(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = as_text(sql, self.connection)
        if not self.connection.in_atomic_block:
            self.sent.clear()
        if may_wait_for_a_table(text):
            self.sent.append(text)
        before, self.running = self.running, text  # the guard sends statements of its own before this one
        try:
            return execute(sql, params, many, context)
        finally:
            self.running = before

    def _watch(self) -> None:
        if self.over.wait(self.seconds / 4):
            return
        connection = another_connection(self.connection)
        try:
            while not self.over.wait(self.seconds / LOOKS):
                if waiting := self._waiting(connection):
                    self.message = self._explain(waiting)
                    self._end(connection)
                    return
        finally:
            connection.close()

    def _waiting(self, connection: BaseDatabaseWrapper) -> list[Waiter]:
        """The sessions that wait; none if the server has no connection left: the next look tries again."""
        with contextlib.suppress(Error), connection.cursor() as cursor:
            cursor.execute(WAITING, {"pid": self.pid, "least": self.seconds})
            return [Waiter(*row) for row in cursor.fetchall()]
        connection.close()
        return []

    def _end(self, connection: BaseDatabaseWrapper) -> None:
        """Cancel statements until it has ended: another statement may begin between the look and the cancellation."""
        with contextlib.suppress(Error):
            while self._waiting(connection):
                with connection.cursor() as cursor:
                    cursor.execute(END, [self.pid])
                if self.over.wait(0.1):
                    return

    def _explain(self, waiting: list[Waiter]) -> str:
        first = waiting[0]
        names = ", ".join(map(str, waiting[:NAMED])) + (" and others" if len(waiting) > NAMED else "")
        doing = f"it was sending {shortened(self.running)}" if self.running else "Python was running, and no statement"
        return (
            f"{self.label} kept {_sessions(len(waiting))} waiting for {first.seconds:.1f} s, so it was stopped, and "
            f"its transaction rolled back: {names}.\n"
            f"{self._lock(first)}\nMeanwhile {doing}.\n"
            "Put what takes a lock and what takes long into two migrations: fill rows with Backfill, add constraints "
            "NOT VALID and validate them afterwards, build indexes with AddIndexConcurrently. Where nobody uses the "
            "table, write max_wait = None in the class Migration, with max_wait_reason."
        )

    def _lock(self, waiter: Waiter) -> str:
        if not waiter.table:
            return "They wait for rows that its transaction has written."
        held = "It held" if waiter.granted else "It was waiting for"
        by = f", by {shortened(statement)}" if (statement := self._that_took(waiter.table)) else ""
        return f"{held} {waiter.modes} on {waiter.table}{by}."

    def _that_took(self, table: str) -> str:
        """The first statement of the transaction that names the table."""
        name = Name(table).raw
        return next((statement for statement in list(self.sent) if name in statement), "")


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"


def watching(connection: BaseDatabaseWrapper, label: str, seconds: float | None) -> AbstractContextManager[object]:
    """Watch over a session; no watch if requests may wait as long as it takes."""
    return contextlib.nullcontext() if seconds is None else Watchdog(connection, seconds, label)
