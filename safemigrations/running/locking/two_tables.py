"""How a step gets two tables that requests lock in either order.

A request that has one table and wants the other one waits behind a step that stands in the queue of that, and the step
then waits for the request. So the step looks who has what, and stands in the queue of one table at a moment when nobody
has only the other one. Whoever has the first table still gets the other one, and ends. As soon as nobody has only one
of the two, a second connection stands in the queue of the other table: whoever comes from then on waits, and has
neither.

The step goes past the second connection and past all who wait behind it: PostgreSQL puts a request before those that
wait for a lock which its session holds already (ProcSleep() in src/backend/storage/lmgr/proc.c). That lock is ROW
EXCLUSIVE, which stops neither reads nor writes.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

from django.db import DatabaseError, Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ...data import Data
from ...postgres.lock import Lock
from ...postgres.names import regclass
from ...postgres.values import dollar_quoted, literals
from ..another import another_connection
from .blockers import conflicting

LOOKS_FOR = 2.0  # seconds; nobody waits meanwhile
GETS_TO_KNOW = 0.2  # seconds of it, in which to see who uses both tables
BETWEEN = 0.001  # seconds between two looks


def fit(locks: Mapping[str, Lock]) -> bool:
    """Are there two tables, and does the step stop their writers?"""
    return len(locks) == 2 and all(lock.strength >= Lock.SHARE.strength for lock in locks.values())


def lock_both(
    connection: BaseDatabaseWrapper, locks: Mapping[str, Lock], seconds: float, lock: Callable[[list[str]], None]
) -> None:
    """Call `lock`, inside a transaction, with the tables in the order in which they can be had.

    It may take `seconds`. It is called again if it was seen early that it would get only one of them.
    """
    pair = Pair(connection, locks)
    with Outpost(connection, pair, seconds) as outpost:
        while True:
            tables = pair.in_order()
            try:
                with transaction.atomic(using=connection.alias):
                    lock(tables)
                return
            except DatabaseError:
                if not outpost.has_ended_it() or pair.has_looked_enough:
                    raise
            time.sleep(random.uniform(0, 0.05))


class Seen(Data):
    """Sessions at one moment, for each table."""

    only: dict[int, set[str]]  # have this one alone, of those who use both
    waits: dict[int, set[str]]


class Pair:
    """Two tables, and who uses them beside the session of the step."""

    def __init__(self, connection: BaseDatabaseWrapper, locks: Mapping[str, Lock]) -> None:
        """Take the lock that lets the step go past those who wait for more."""
        oids = ", ".join(f"{regclass(table)}::oid::bigint" for table in locks)
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {', '.join(locks)} IN ROW EXCLUSIVE MODE NOWAIT")
            cursor.execute(f"SELECT pg_backend_pid()::text, {oids}")
            self.step, *tables = cursor.fetchone()
        self.connection, self.names = connection, dict(zip(tables, locks, strict=True))
        self.locks: dict[int, Lock] = dict(zip(tables, locks.values(), strict=True))
        first, second = self.locks
        self.both_ways = ((first, second), (second, first))
        self.users: set[str] = set()  # have been seen with both
        self.began = time.monotonic()

    @property
    def has_looked_enough(self) -> bool:
        return time.monotonic() > self.began + LOOKS_FOR

    def in_order(self) -> list[str]:
        """The tables, once nobody has only the last one; after a while in any order."""
        while not self.has_looked_enough:
            seen = self.look(self.connection)
            for table, other in self.both_ways:
                if not seen.only[other] and time.monotonic() > self.began + GETS_TO_KNOW:
                    return [self.names[table], self.names[other]]
            time.sleep(BETWEEN)
        return random.sample([*self.names.values()], 2)

    def look(self, connection: BaseDatabaseWrapper) -> Seen:
        has: dict[int, set[str]] = {table: set() for table in self.locks}
        waits: dict[int, set[str]] = {table: set() for table in self.locks}
        with connection.cursor() as cursor:
            cursor.execute(self._query)
            for who, table, granted in cursor.fetchall():
                (has if granted else waits)[table].add(who)
        for table, other in self.both_ways:
            self.users |= has[table] & (has[other] | waits[other])
        only = {table: (has[table] - has[other]) & self.users for table, other in self.both_ways}
        return Seen(only, waits)

    @property
    def _query(self) -> str:
        modes = {table: literals(conflicting(lock)) for table, lock in self.locks.items()}
        theirs = (f"relation = {table} AND (NOT granted OR mode IN ({them}))" for table, them in modes.items())
        return (
            "SELECT coalesce(pid::text, virtualtransaction), relation::bigint, granted FROM pg_locks"
            " WHERE locktype = 'relation' AND database ="
            f" (SELECT oid FROM pg_database WHERE datname = current_database()) AND ({' OR '.join(theirs)})"
        )


class Outpost:
    """The second connection, in its own thread. If no connection is left, the step tries without it."""

    def __init__(self, connection: BaseDatabaseWrapper, pair: Pair, seconds: float) -> None:
        self.connection, self.pair, self.seconds = another_connection(connection), pair, seconds
        self.connection.inc_thread_sharing()
        self.is_over, self.ended, self.deciding = False, False, threading.Lock()

    def __enter__(self) -> Self:
        with suppress(Error):
            self.connection.ensure_connection()
            threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self.deciding:  # nothing is cancelled afterwards
            self.is_over = True

    def has_ended_it(self) -> bool:
        """Has the outpost ended the last try?"""
        with self.deciding:
            ended, self.ended = self.ended, False
        return ended

    def _run(self) -> None:
        with suppress(Error):
            while not self.is_over:
                if table := self._table_to_close():
                    self._close(table)
                    break
                time.sleep(BETWEEN)
        self.connection.close()

    def _table_to_close(self) -> int | None:
        """The table that nobody may get any more. Ends the try if the step and a request wait for each other."""
        with self.deciding:
            if self.is_over or self.ended:
                return None
            seen = self.pair.look(self.connection)
            for table, other in self.pair.both_ways:
                if self.pair.step not in seen.waits[table]:
                    continue
                if seen.only[other] & seen.waits[table]:
                    self._send(f"SELECT pg_cancel_backend({self.pair.step})")
                    self.ended = True
                elif not seen.only[table] and not seen.only[other]:
                    return other
        return None

    def _close(self, table: int) -> None:
        """Stand in the table's queue. A DO block is a transaction of its own: no lock outlives the step."""
        block = f"BEGIN EXECUTE format('LOCK TABLE %s IN {self.pair.locks[table]} MODE', {table}::regclass); END"
        timeouts = f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {round(self.seconds * 1000)}"
        self._send(f"{timeouts}; DO {dollar_quoted(block)}")

    def _send(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
