"""A second connection that works on the same backfill for as long as nobody else uses the server.

One backend uses one core. The second connection works in a thread, because a connection of Django's belongs to one
thread. It comes when the watch has seen that nobody else is at work. It goes when somebody comes, or when the first
connection ends.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Self

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ...plans.steps import Backfill
from ...postgres.names import regclass
from ...postgres.values import literal
from ...typed import follow
from ..events.event import Event
from ..events.vocabulary import StepProgress
from ..locking.locks import QUERY_CANCELED, sqlstate
from ..lost import first_line
from .table import fetch
from .watch import Watch

ROWS = 100_000  # in a table for which it pays
POLL = 0.05  # seconds between two looks at whether the server is idle
GRACE = 0.5  # seconds that a batch gets at the end before it is cancelled
AWAY = 60  # seconds that the second stays away after the two were in each other's way
TRIES = 10  # at cancelling its batch; behind a broken network nobody hears that


class Second:
    """While the block runs and the server is idle, `help` is called in a thread, with a connection of its own.

    `help` returns False when it found nothing left to do; else it is called again when the server is idle.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, step: Backfill, watch: Watch, help: Callable[[BaseDatabaseWrapper], bool]
    ) -> None:
        self.first, self.step, self.watch, self.help = connection, step, watch, help
        self.connection: BaseDatabaseWrapper | None = None
        self.over = threading.Event()
        self.is_at_work = False
        self.away_until = 0.0  # time.monotonic()
        self.error: BaseException | None = None  # the first connection raises it
        self._news: SimpleQueue[Event] = SimpleQueue()  # the first connection tells them: a report has one writer
        self.thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run,), daemon=True)

    def __enter__(self) -> Self:
        self.settings = fetch(self.first, _SETTINGS)
        self.sees = fetch(self.first, _seen(self.step))
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.thread.join(GRACE)
        for _ in range(TRIES):
            if not self.thread.is_alive():
                return
            self._cancel()
            self.thread.join(GRACE)

    @property
    def may_work(self) -> bool:
        return self.watch.is_quiet and time.monotonic() > self.away_until and not self.over.is_set()

    def send_away(self, why: str) -> None:
        self.away_until = time.monotonic() + AWAY
        self.tell(f"one connection for {AWAY} s: {why}")

    def tell(self, text: str) -> None:
        self.hand_on(StepProgress(self.step, text))

    def hand_on(self, event: Event) -> None:
        self._news.put(event)

    def news(self) -> Iterator[Event]:
        with suppress(Empty):
            while True:
                yield self._news.get_nowait()

    def _run(self) -> None:
        # The thread that uses a connection has to make it; transaction.atomic() finds it by its alias.
        self.connection = connections[self.first.alias] = self.first.copy()
        follow(self.connection, self.first)
        self.connection.execute_wrappers = [*self.first.execute_wrappers]
        try:
            while not self.over.wait(POLL):
                if self.may_work and not self._work(self.connection):
                    return
        except BaseException as error:
            if not self.over.is_set() or sqlstate(error) != QUERY_CANCELED:
                self.error = error
        finally:
            self.connection.close()
            del connections[self.first.alias]

    def _work(self, connection: BaseDatabaseWrapper) -> bool:
        """Return whether to come back."""
        try:
            if not self._sees_the_same(connection):
                self.tell("one connection: a second one sees other tables, rows or settings")
                return False
        except Error as error:  # the server, the role or the pool may allow no further connection
            self.tell(f"one connection: a second one can't be opened ({first_line(error)})")
            return False
        self.is_at_work = True
        try:
            return self.help(connection)
        finally:
            self.is_at_work = False
            if connection.connection is not None:
                connection.connection.close()  # its settings go with it: a pool would hand them to somebody else
            connection.close()

    def _sees_the_same(self, connection: BaseDatabaseWrapper) -> bool:
        """Connect with the settings of the first connection, and look whether both see the same tables."""
        ((self.watch.second,),) = fetch(connection, "SELECT pg_backend_pid()")
        for name, value in self.settings:
            fetch(connection, f"SELECT set_config({literal(name)}, {literal(value)}, false)")
        found = fetch(connection, _seen(self.step))
        return found == self.sees and not found[0][-1]  # policies may read settings that can't be listed

    def _cancel(self) -> None:
        connection = self.connection
        if connection is not None and connection.connection is not None:
            with suppress(Error), connection.wrap_database_errors:  # it may have ended in this moment
                connection.connection.cancel_safe(timeout=GRACE)


# What somebody set in the session, such as search_path or role; settings of a transaction don't belong to it.
_SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction\\_%'"
    " AND name <> 'client_encoding' UNION ALL SELECT name, current_setting(name) FROM unnest(ARRAY['role']) AS name"
)


def _seen(step: Backfill) -> str:
    """A query for where a session is and what it sees: a pooler, tenants or row security may make two differ."""
    return (
        "SELECT extract(epoch FROM pg_postmaster_start_time()), current_database(), session_user, current_user,"
        f" current_schemas(true), {regclass(step.table)}::oid, to_regclass('safemigrations_backfill')::oid,"
        f" pg_is_in_recovery(), row_security_active({regclass(step.table)})"
    )
