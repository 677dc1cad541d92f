"""How a table lock is taken without making anybody wait.

Whoever comes after a waiting ACCESS EXCLUSIVE request waits as long as that request does. So first comes NOWAIT, which
queues nobody. A place in the queue follows only where holders change without a gap; patience.py says when, and for how
long. The timeouts stay below deadlock_timeout, so it is this side that loses a deadlock and tries again. Autovacuum
yields only to a session that waits longer than deadlock_timeout. That wait is in SHARE UPDATE EXCLUSIVE mode, which
stops autovacuum and nobody else.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ... import conf
from ...errors import LockNotAcquired
from ...postgres.lock import Lock
from ...postgres.names import regclass
from ...postgres.values import literal
from ...typed import server_version
from . import two_tables
from .blockers import Blocker, blockers
from .patience import Attempt, Patience

A_MOMENT = 0.1  # seconds that a statement may wait for a lock that isn't one of its tables
TELLS_AFTER = 0.1  # seconds of waiting that nobody needs to hear of

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
RETRIED = {LOCK_NOT_AVAILABLE, "40P01", "40001"}  # deadlock_detected, serialization_failure


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of a database error, from psycopg 3 or 2."""
    cause = error.__cause__ or error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""


def is_retried(error: DatabaseError) -> bool:
    return sqlstate(error) in RETRIED


def milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def deadlock_timeout(connection: BaseDatabaseWrapper) -> float:
    """The server's deadlock_timeout in seconds."""
    with connection.cursor() as cursor:
        # In a tenth of the time that pg_settings takes.
        cursor.execute("SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)::float")
        (seconds,) = cursor.fetchone()
    return float(seconds)


Waiting = Callable[[Sequence[Blocker], float], Any]


def attempts(
    connection: BaseDatabaseWrapper,
    locks: Mapping[str, Lock],
    waiting: Waiting,
    grown: Callable[[float], Any] = lambda seconds: None,
) -> Iterator[Attempt]:
    """Yields tries, one after another, until the caller stops asking for more.

    `waiting` is told who is in the way and for how many seconds already; `grown` is told for how many seconds queries
    may wait behind a try from now on. Raises LockNotAcquired after LOCK_RETRY_FOR seconds.
    """
    began, longest = time.monotonic(), deadlock_timeout(connection)
    patience = Patience(min(conf.lock_timeout(), longest / 2), min(conf.lock_timeout_max(), longest * 0.9))
    rests = itertools.chain((0.05, 0.1, 0.2, 0.4), itertools.repeat(0.8))
    first_seen: dict[str, float] = {}
    attempt = Attempt(None)
    while True:
        yield attempt
        time.sleep(random.uniform(0, 0.05 if attempt.timeout is None else next(rests)))
        who = [_aged(blocker, first_seen) for blocker in blockers(connection, locks)]
        waited = time.monotonic() - began
        attempt = patience.next(who, waited)
        if waited > TELLS_AFTER or attempt.evict_autovacuum:
            waiting(who, waited)
        if waited > conf.lock_retry_for():
            raise LockNotAcquired(_gave_up(locks, who, waited))
        if any(blocker.is_long for blocker in who):
            time.sleep(random.uniform(0.05, 0.2))
        if not attempt.evict_autovacuum and (attempt.timeout or 0) > patience.usual:
            grown(attempt.timeout or 0)


def _aged(blocker: Blocker, first_seen: dict[str, float]) -> Blocker:
    """The blocker, at least as old as the time since it was first seen.

    PostgreSQL hides the age of other roles' transactions from a role without pg_read_all_stats.
    """
    seen = time.monotonic() - first_seen.setdefault(blocker.transaction, time.monotonic())
    return replace(blocker, age=max(blocker.age, seen))


def _gave_up(locks: Mapping[str, Lock], who: Sequence[Blocker], waited: float) -> str:
    holders = "".join(f"\n  {blocker}" for blocker in who) or "\n  (nobody any more at the last look)"
    return (
        f"{', '.join(locks)} could not be locked for {waited:.0f} s. It is held by:{holders}\n"
        "Nothing was changed by this step, and what was done before it stays. Wait for these transactions or end "
        "them with SELECT pg_terminate_backend(pid), then run the same command again."
    )


def existing(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> list[str]:
    """The tables that exist: the parent of a foreign key may have been dropped since the plan was made."""
    names = ", ".join(f"({number}, {literal(table)}, {regclass(table)})" for number, table in enumerate(tables))
    if not names:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name FROM (VALUES {names}) AS t (n, name, oid) WHERE oid IS NOT NULL ORDER BY n")
        return [name for (name,) in cursor.fetchall()]


def evict_autovacuum(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> None:
    """Wait, in a mode that stops neither reads nor writes, until autovacuum has yielded; inside a transaction."""
    with connection.cursor() as cursor:
        patience = milliseconds(deadlock_timeout(connection) + 0.5)
        others = ["statement_timeout", *(["transaction_timeout"] if server_version(connection) >= 170000 else [])]
        unlimited = "; ".join(f"SET LOCAL {name} = 0" for name in others)
        cursor.execute(f"SET LOCAL lock_timeout = {patience}; {unlimited}")
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE UPDATE EXCLUSIVE MODE")


class _TookTooLong(OperationalError):
    """A try ran out of time: it waited for one table after another, or the machine was busy."""

    sqlstate = LOCK_NOT_AVAILABLE


def acquire(connection: BaseDatabaseWrapper, locks: Mapping[str, Lock], attempt: Attempt) -> None:
    """Take the locks inside the caller's transaction, or fail with a lock timeout.

    A lock_timeout counts anew for each table and each partition, while a request on the first table waits until the
    last one is locked. So the statement has a timeout too: the time that is left for all of them.
    """
    there = {table: locks[table] for table in existing(connection, locks)}
    with connection.cursor() as cursor:
        if attempt.evict_autovacuum:
            evict_autovacuum(connection, there)
        try:
            lock = partial(_lock, cursor, locks, attempt)
            if attempt.timeout and two_tables.fit(there):
                two_tables.lock_both(connection, there, attempt.timeout, lock)
            else:
                lock(random.choice(([*there], [*there][::-1])))  # some requests lock the child before its parent
            # A statement_timeout of the role or of the pooler is meant for requests.
            cursor.execute(f"SET LOCAL lock_timeout = {milliseconds(A_MOMENT)}; SET LOCAL statement_timeout = 0")
        except DatabaseError as error:
            if sqlstate(error) == QUERY_CANCELED:
                raise _TookTooLong(str(error)) from None
            raise


def _lock(cursor: CursorWrapper, locks: Mapping[str, Lock], attempt: Attempt, in_order: list[str]) -> None:
    """A timeout also counts for the SET that comes after the LOCK, which takes that long where the machine is busy."""
    deadline = time.monotonic() + (attempt.timeout or A_MOMENT)
    nowait = " NOWAIT" if attempt.timeout is None else ""
    for mode, tables in itertools.groupby(in_order, key=lambda table: locks[table]):
        left = milliseconds(deadline - time.monotonic())
        cursor.execute(f"SET LOCAL lock_timeout = {left}; SET LOCAL statement_timeout = {left}")
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE{nowait}")
