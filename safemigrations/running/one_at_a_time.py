"""Two runs at once: the second waits until the first has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

KEY = 7_283_946_510_022  # of the advisory lock; any constant that nobody else uses
POLL = 0.2  # seconds


@contextlib.contextmanager
def one_at_a_time(connection: BaseDatabaseWrapper, waiting: Callable[[int | None], Any]) -> Iterator[None]:
    """Let one run work on this database; `waiting` is told the pid of the other, once.

    This asks again and again. A session that waits for an advisory lock holds a snapshot, and a CREATE INDEX
    CONCURRENTLY of the run that holds the lock would wait for that snapshot.
    """
    if connection.vendor != "postgresql":
        yield
        return
    told = False
    while not _value(connection, f"SELECT pg_try_advisory_lock({KEY})"):
        if not told:
            waiting(_value(connection, _HOLDER))
            told = True
        time.sleep(POLL)
    try:
        yield
    finally:
        if connection.is_usable():
            _value(connection, f"SELECT pg_advisory_unlock({KEY})")


_HOLDER = (
    "SELECT max(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    f" AND classid = {KEY >> 32} AND objid = {KEY & 0xFFFFFFFF}"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def _value(connection: BaseDatabaseWrapper, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]
