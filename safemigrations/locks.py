"""How a table lock is taken without anybody noticing.

Whoever comes after a waiting ACCESS EXCLUSIVE request waits as long as it does. So: first NOWAIT, which queues
nobody; then a ladder of short lock timeouts with rests; and never a place in the queue behind a transaction
that is known to be long. The timeouts stay below deadlock_timeout, so in a deadlock it is always this side that
loses and tries again. Autovacuum yields only to somebody who waits longer than deadlock_timeout: that wait is
done in SHARE UPDATE EXCLUSIVE mode, which stops autovacuum and nobody else.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from . import conf
from .catalog import regclass
from .steps import Lock

NOWAIT_TRIES = 3
LADDER = (0.1, 0.1, 0.2)  # seconds; then LOCK_TIMEOUT again and again
LONG_TRANSACTION = 1.0  # seconds; nobody queues behind an older one

LOCK_NOT_AVAILABLE = "55P03"
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


class LockNotAcquired(CommandError):
    """A table stayed locked for LOCK_RETRY_FOR seconds; nothing was changed, the command can be run again."""


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """A session that holds a lock which is in the way."""

    pid: int | None  # None: a prepared transaction
    application: str
    backend: str
    state: str
    age: float  # seconds since its transaction began
    query: str

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
            return f"a prepared transaction ({self.query}; end it with COMMIT PREPARED or ROLLBACK PREPARED)"
        if self.prevents_wraparound:
            return f"pid {self.pid} (autovacuum to prevent wraparound, which never yields; {self.age:.0f} s)"
        who = self.application or self.backend
        query = f": {' '.join(self.query.split())[:60]}" if self.query else ""
        return f"pid {self.pid} ({who}, {self.state or 'active'} for {self.age:.0f} s{query})"


@dataclass(frozen=True)
class Attempt:
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
            coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float, coalesce(a.query, '')
        FROM wanted w
        JOIN pg_locks l ON l.relation = w.relation AND l.mode = ANY (w.modes) AND l.granted
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [
            Blocker(pid=pid, application=application, backend=backend, state=state, age=age, query=query)
            for pid, application, backend, state, age, query in cursor.fetchall()
        ]


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


def attempts(connection: BaseDatabaseWrapper, locks: Mapping[str, Lock], waiting: Waiting) -> Iterator[Attempt]:
    """The tries to make, one after the other, until the caller stops asking for more.

    `waiting` is told after each failure who is in the way and for how many seconds already. Raises
    LockNotAcquired after LOCK_RETRY_FOR seconds.
    """
    began = time.monotonic()
    for _ in range(NOWAIT_TRIES):
        yield Attempt(None)
        time.sleep(random.uniform(0, 0.05))
    longest = min(conf.lock_timeout(), deadlock_timeout(connection) / 2)
    ladder = itertools.chain(LADDER, itertools.repeat(longest))
    rests = itertools.chain((0.05, 0.1, 0.2, 0.4), itertools.repeat(0.8))
    while True:
        who = blockers(connection, locks)
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


def _gave_up(locks: Mapping[str, Lock], who: Sequence[Blocker], waited: float) -> str:
    holders = "".join(f"\n  {blocker}" for blocker in who) or "\n  (nobody any more at the last look)"
    return (
        f"{', '.join(locks)} could not be locked for {waited:.0f} s. It is held by:{holders}\n"
        "Nothing was changed by this step, and what was done before it stays. Wait for these transactions or end "
        "them with SELECT pg_terminate_backend(pid), then run the same command again."
    )


def evict_autovacuum(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> None:
    """Wait, in a mode that stops neither reads nor writes, until autovacuum has yielded; inside a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {milliseconds(deadlock_timeout(connection) + 0.5)}")
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE UPDATE EXCLUSIVE MODE")


def acquire(connection: BaseDatabaseWrapper, locks: Mapping[str, Lock], attempt: Attempt) -> None:
    """Take the locks in their order, inside the caller's transaction, or fail with a lock timeout."""
    with connection.cursor() as cursor:
        # A statement_timeout of the role or of the pooler is meant for requests.
        cursor.execute("SET LOCAL statement_timeout = 0")
        if attempt.evict_autovacuum:
            evict_autovacuum(connection, locks)
        cursor.execute(f"SET LOCAL lock_timeout = {milliseconds(attempt.timeout or LADDER[0])}")
        nowait = " NOWAIT" if attempt.timeout is None else ""
        for mode, tables in itertools.groupby(locks, key=lambda table: locks[table]):
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE{nowait}")
