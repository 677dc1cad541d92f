"""How a table lock is taken without anybody noticing.

Whoever comes after a waiting ACCESS EXCLUSIVE request waits as long as that request does. So first comes NOWAIT, which
queues nobody, then a ladder of short lock timeouts with rests between them. No attempt queues behind a transaction that
is known to be long. The timeouts stay below deadlock_timeout, so it is this side that loses a deadlock and tries again.
Autovacuum yields only to a session that waits longer than deadlock_timeout. That wait is in SHARE UPDATE EXCLUSIVE
mode, which stops autovacuum and nobody else.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from ..data import Data
from ..errors import LockNotAcquired
from ..postgres.lock import Lock
from ..postgres.masking import masked
from ..postgres.names import regclass
from ..postgres.values import literal

NOWAIT_TRIES = 3
LADDER = (0.1, 0.1, 0.2)  # seconds; then LOCK_TIMEOUT again and again
LONG_TRANSACTION = 1.0  # seconds; nobody queues behind an older one

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
RETRIED = {LOCK_NOT_AVAILABLE, "40P01", "40001"}  # deadlock_detected, serialization_failure

# https://www.postgresql.org/docs/current/explicit-locking.html#TABLE-LOCK-COMPATIBILITY
WEAKEST_CONFLICT = {
    Lock.ACCESS_SHARE: Lock.ACCESS_EXCLUSIVE,
    Lock.ROW_SHARE: Lock.EXCLUSIVE,
    Lock.ROW_EXCLUSIVE: Lock.SHARE,
    Lock.SHARE_UPDATE_EXCLUSIVE: Lock.SHARE_UPDATE_EXCLUSIVE,
    Lock.SHARE: Lock.ROW_EXCLUSIVE,
    Lock.SHARE_ROW_EXCLUSIVE: Lock.ROW_EXCLUSIVE,
    Lock.EXCLUSIVE: Lock.ROW_SHARE,
    Lock.ACCESS_EXCLUSIVE: Lock.ACCESS_SHARE,
}


class Blocker(Data):
    """A session that holds a lock which is in the way."""

    pid: int | None  # None: a prepared transaction
    application: str
    backend: str
    state: str
    age: float  # seconds since its transaction began
    query: str  # of a prepared transaction: its name
    transaction: str = ""  # its virtual id

    @property
    def is_autovacuum(self) -> bool:
        return self.backend == "autovacuum worker"

    @property
    def prevents_wraparound(self) -> bool:
        """Such an autovacuum never yields (https://www.postgresql.org/docs/current/routine-vacuuming.html)."""
        return self.is_autovacuum and "to prevent wraparound" in self.query

    @property
    def is_long(self) -> bool:
        if self.is_autovacuum:
            return self.prevents_wraparound
        return self.pid is None or self.age > LONG_TRANSACTION

    def __str__(self) -> str:
        if self.pid is None:
            ends = "end it with COMMIT PREPARED or ROLLBACK PREPARED"
            return f"a prepared transaction ({self.query}, {self.age:.0f} s old; {ends})"
        if self.prevents_wraparound:
            return f"pid {self.pid} (autovacuum to prevent wraparound, which never yields; {self.age:.0f} s)"
        who = self.application or self.backend
        return f"pid {self.pid} ({who}, {self.state or 'active'} for {self.age:.0f} s{self._shown_query})"

    @property
    def _shown_query(self) -> str:
        """A log may be read by more people than the table."""
        query = " ".join(self.query.split()) if conf.show_queries() else masked(self.query)
        return f": {query[:60]}" if query else ""


class Attempt(Data):
    """One try to get all locks of a step."""

    timeout: float | None  # seconds; None means NOWAIT
    evict_autovacuum: bool = False


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
        cursor.execute("SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'")
        (value,) = cursor.fetchone()
    return float(value / 1000)


def blockers(connection: BaseDatabaseWrapper, locks: Mapping[str, Lock]) -> list[Blocker]:
    """Who holds a lock on these tables (or on their partitions) that conflicts with the wanted one."""
    if not locks:
        return []
    wanted = ", ".join(
        f"({regclass(table)}::oid, '{{{','.join(_conflicting(mode))}}}'::text[])" for table, mode in locks.items()
    )
    query = f"""
        WITH RECURSIVE wanted (relation, modes) AS (
            VALUES {wanted}
            UNION SELECT h.inhrelid, w.modes FROM wanted w JOIN pg_inherits h ON h.inhparent = w.relation
        )
        SELECT DISTINCT ON (l.pid, l.virtualtransaction)
            l.pid, coalesce(a.application_name, ''), coalesce(a.backend_type, ''), coalesce(a.state, ''),
            coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, x.prepared)), 0)::float,
            coalesce(a.query, quote_literal(x.gid), ''), l.virtualtransaction
        FROM wanted w
        JOIN pg_locks l ON l.relation = w.relation AND l.mode = ANY (w.modes) AND l.granted
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        LEFT JOIN pg_locks t ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid'
            AND t.virtualtransaction = l.virtualtransaction
        LEFT JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
        WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [Blocker(*row) for row in cursor.fetchall()]


def _conflicting(mode: Lock) -> list[str]:
    """The modes that conflict with one, as pg_locks spells them."""
    weakest = WEAKEST_CONFLICT[mode].strength
    return [
        "".join(word.title() for word in other.split()) + "Lock"
        for other in Lock
        # Among the modes, SHARE alone doesn't conflict with itself.
        if other.strength >= weakest and not (mode is Lock.SHARE and other is Lock.SHARE)
    ]


Waiting = Callable[[Sequence[Blocker], float], Any]


def attempts(
    connection: BaseDatabaseWrapper, locks: Mapping[str, Lock], waiting: Waiting, nowait_tries: int = NOWAIT_TRIES
) -> Iterator[Attempt]:
    """The tries to make, one after the other, until the caller stops asking for more.

    `waiting` is told after each failure who is in the way and for how many seconds already. Raises
    LockNotAcquired after LOCK_RETRY_FOR seconds.
    """
    began = time.monotonic()
    for _ in range(nowait_tries):
        yield Attempt(None)
        time.sleep(random.uniform(0, 0.05))
    longest = min(conf.lock_timeout(), deadlock_timeout(connection) / 2)
    ladder = itertools.chain(LADDER, itertools.repeat(longest))
    rests = itertools.chain((0.05, 0.1, 0.2, 0.4), itertools.repeat(0.8))
    first_seen: dict[str, float] = {}
    while True:
        who = [_aged(blocker, first_seen) for blocker in blockers(connection, locks)]
        waited = time.monotonic() - began
        waiting(who, waited)
        if waited > conf.lock_retry_for():
            raise LockNotAcquired(_gave_up(locks, who, waited))
        if any(blocker.is_long for blocker in who):
            time.sleep(random.uniform(0.05, 0.25))
            yield Attempt(None)
        elif any(blocker.is_autovacuum for blocker in who):
            yield Attempt(longest, evict_autovacuum=True)
        else:
            yield Attempt(min(next(ladder), longest))
            time.sleep(random.uniform(0, next(rests)))


def _aged(blocker: Blocker, first_seen: dict[str, float]) -> Blocker:
    """At least as old as since it was first seen: PostgreSQL hides the age of other roles' transactions from a role
    without pg_read_all_stats.
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
        cursor.execute(f"SET LOCAL lock_timeout = {patience}; SET LOCAL statement_timeout = 0")
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE UPDATE EXCLUSIVE MODE")


class _TookTooLong(OperationalError):
    """A LOCK statement that waited for one table after the other until its time was up."""

    sqlstate = LOCK_NOT_AVAILABLE


def acquire(connection: BaseDatabaseWrapper, locks: Mapping[str, Lock], attempt: Attempt) -> None:
    """Take the locks in their order, inside the caller's transaction, or fail with a lock timeout.

    A lock_timeout counts anew for each table and each partition, while a request on the first table waits until the
    last one is locked. So the statement has a timeout too: the time that is left for all of them.
    """
    patience, there = attempt.timeout or LADDER[0], existing(connection, locks)
    with connection.cursor() as cursor:
        if attempt.evict_autovacuum:
            evict_autovacuum(connection, there)
        deadline = time.monotonic() + patience
        for mode, tables in itertools.groupby(there, key=lambda table: locks[table]):
            left = milliseconds(deadline - time.monotonic())
            cursor.execute(f"SET LOCAL lock_timeout = {left}; SET LOCAL statement_timeout = {left}")
            try:
                nowait = " NOWAIT" if attempt.timeout is None else ""
                cursor.execute(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE{nowait}")
            except DatabaseError as error:
                if sqlstate(error) == QUERY_CANCELED:
                    raise _TookTooLong(str(error)) from None
                raise
        # A statement_timeout of the role or of the pooler is meant for requests.
        cursor.execute(f"SET LOCAL lock_timeout = {milliseconds(patience)}; SET LOCAL statement_timeout = 0")
