"""Which locks the steps of a change take, read from pg_locks, beside those that they declare."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from django.db import connection

from safemigrations.plans.indexes import AddUnique, BuildIndex, DropIndex
from safemigrations.plans.steps import Backfill, Online, Proof, Statement, Step, Together
from safemigrations.postgres.lock import Lock
from safemigrations.running.run import Report


class Locks(Report):
    """Tries each step in a transaction of another connection, which is then rolled back, and reads what it locks."""

    def __init__(self, connect: Any) -> None:
        self.trial, self.watch, self.blocker = connect(), connect(), connect()
        self.wrong: list[str] = []
        self.steps: list[Step] = []
        self.watching = contextlib.ExitStack()

    def begin(self, step: Step) -> None:
        self.steps.append(step)
        match step:
            case Statement() | Together() | Online():
                self.compare(step, self.tried(*step.statements), self.declared(step.locks))
            case Backfill(function=None):
                found = self.tried(f"UPDATE {step.table} SET {step.assign} WHERE {step.guard}")
                self.compare(step, found, self.declared({step.table: Lock.ROW_EXCLUSIVE}))
            case Proof():
                self.compare(step, self.tried(*step.statements), {})
            case AddUnique() if not self.is_partitioned(step.table):
                self.compare(step, self.tried(*step.statements), self.declared({step.table: Lock.ACCESS_EXCLUSIVE}))
            case BuildIndex() | DropIndex() if not self.is_partitioned(step.table):
                self.watching.enter_context(self.in_flight(step))

    def done(self, step: Step, seconds: float, detail: str = "") -> None:
        self.watching.close()

    def is_partitioned(self, table: str) -> bool:
        query = "SELECT 1 FROM pg_partitioned_table WHERE partrelid = %s::regclass"
        return self.watch.execute(query, [table]).fetchone() is not None

    def tried(self, *statements: str) -> dict[str, Lock]:
        with self.trial.transaction(force_rollback=True):
            for sql in statements:
                self.trial.execute(sql)
            return locks_of(self.watch, self.trial.info.backend_pid)

    @contextlib.contextmanager
    def in_flight(self, step: BuildIndex | DropIndex) -> Iterator[None]:
        """CONCURRENTLY can't be tried: it is held up by a transaction that writes to the table, and looked at."""
        with held_up(self.blocker, self.watch, step.table, connection_pid(), self.look(step)):
            yield

    def look(self, step: BuildIndex | DropIndex) -> Any:
        expected = self.declared({step.table: Lock.SHARE_UPDATE_EXCLUSIVE})
        return lambda pid: self.compare(step, locks_of(self.watch, pid), expected)

    def compare(self, step: Step, found: dict[str, Lock], declared: dict[str, Lock]) -> None:
        # Everybody who reads takes ACCESS SHARE, and only ACCESS EXCLUSIVE minds.
        harmful = {table: lock for table, lock in found.items() if lock is not Lock.ACCESS_SHARE}
        if harmful != declared:
            self.wrong.append(f"{step.why}: declares {declared}, takes {harmful}")

    def declared(self, locks: Mapping[str, Lock]) -> dict[str, Lock]:
        """By bare names, of what is there; a partition counts as its table, with which it is locked."""
        root = "SELECT coalesce(pg_partition_root(to_regclass(%s)), to_regclass(%s))::text"
        found = {table: self.watch.execute(root, [table, table]).fetchone()[0] for table in locks}
        return {bare(name): locks[table] for table, name in found.items() if name}


LOCKS = """
    SELECT coalesce(pg_partition_root(relation), relation)::regclass::text, mode
    FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = %s AND granted AND locktype = 'relation' AND relkind IN ('r', 'p', 'v')
        AND relnamespace <> 'pg_catalog'::regnamespace
"""


def locks_of(watch: psycopg.Connection, pid: int) -> dict[str, Lock]:
    """The strongest lock that a backend holds on each table."""
    found: dict[str, Lock] = {}
    for table, mode in watch.execute(LOCKS, [pid]):
        words = re.findall("[A-Z][a-z]+", mode.removesuffix("Lock"))
        lock = Lock(" ".join(words).upper())
        found[bare(table)] = max(lock, found.get(bare(table), lock), key=lambda one: one.strength)
    return found


def bare(table: str) -> str:
    return table.strip('"')


def connection_pid() -> int:
    connection.ensure_connection()
    return connection.connection.info.backend_pid  # type: ignore[no-any-return]


@contextlib.contextmanager
def held_up(
    blocker: psycopg.Connection, watch: psycopg.Connection, table: str, pid: int, meanwhile: Any
) -> Iterator[None]:
    """While a transaction holds up what backend `pid` does to the table, call `meanwhile` with the pid.

    There is nothing to hold up when an index turns out to be there, or to be gone, already.
    """
    ready, over = threading.Event(), threading.Event()

    def wait_and_look() -> None:
        with blocker.transaction():
            blocker.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
            ready.set()
            while not over.is_set():
                if watch.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", [pid]).fetchone():
                    meanwhile(pid)
                    return
                watch.execute("SELECT pg_sleep(0.005)")

    with ThreadPoolExecutor(1) as pool:
        looked = pool.submit(wait_and_look)
        ready.wait()
        try:
            yield
        finally:
            over.set()
            looked.result()
