"""What every change promises, for each case of tests/cases.py: locks, crashes, the way back, Django's own end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from safemigrations.contracts import queue
from safemigrations.contracts.table import Contract
from safemigrations.errors import StepFailed
from safemigrations.plans.indexes import AddUnique, BuildIndex, DropIndex
from safemigrations.plans.steps import Backfill, Online, Proof, Statement, Step, Together
from safemigrations.postgres.lock import Lock
from safemigrations.running.run import Report

from . import forked
from .cases import CASES, LABEL, Case, base, ours, stock
from .conftest import new_database
from .releases import contract, installed, migrate, write
from .snapshot import Snapshot, difference, nameless, rows, snapshot

every_change = pytest.mark.parametrize("case", CASES, ids=repr)
BEFORE = base().name


@dataclass
class Release:
    """A case on a database with rows that the release before it wrote."""

    case: Case
    directory: Path
    package: str
    last: str  # its last migration

    def expand(self, report: Report | None = None) -> None:
        migrate(self.last, report)

    def contract(self, report: Report | None = None) -> None:
        contract(report)

    def back(self, report: Report | None = None) -> None:
        migrate(BEFORE, report)

    def back_after_contract(self, report: Report | None = None) -> None:
        """Where values are gone for good that the release before must have, going back works on empty tables."""
        if self.case.values_are_lost:
            with pytest.raises(StepFailed, match=r"can't be null in the release that you go back to|is duplicated"):
                self.back()
            empty()
        self.back(report)

    def assert_ends(self, schema: Snapshot) -> None:
        """As with the stock operations."""
        now = snapshot(connection)
        if self.case.former_names:
            schema, now = nameless(schema), nameless(now)
        assert difference(schema, now) == {}

    def assert_is(self, there: Snapshot) -> None:
        """The same schema again; Django comes back to another name where it alters what CREATE TABLE named."""
        now = snapshot(connection)
        if self.case.named_anew:
            there, now = nameless(there), nameless(now)
        assert difference(there, now) == {}


@pytest.fixture
def release(case: Case, database: Any, tmp_path: Path) -> Iterator[Release]:
    parts = ours(case)
    package = write(tmp_path, [base(), *parts])
    with installed(tmp_path, package):
        yield Release(case, tmp_path, package, parts[-1].name)


def empty(database: Any = connection) -> None:
    tables = ", ".join(name for name, (kind, *_) in snapshot(database)["tables"].items() if kind in "rp")
    with database.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables}")


# Locks.


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
                self.compare(step, self.tried(*self.chosen(step)), self.declared(step.locks))
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

    def chosen(self, step: Any) -> tuple[str, ...]:
        """What the runner sends to this server."""
        instead = getattr(step, "instead", None)
        if instead and self.trial.execute(instead.when).fetchone():
            return (instead.sql,)
        return step.statements  # type: ignore[no-any-return]

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


@every_change
def test_locks_are_as_declared(release, connect):
    report = Locks(connect)
    release.expand(report)
    release.back(report)
    release.expand(report)
    release.contract(report)
    release.back_after_contract(report)
    assert report.wrong == []
    assert bool(report.steps) is not release.case.safe


# Crashes.

CHANGES = re.compile(r"\s*(ALTER|ANALYZE|COMMENT|CREATE|DELETE|DO|DROP|INSERT|UPDATE)\b")


def terminate(other: psycopg.Connection, pid: int) -> None:
    """End a backend and see it gone; PostgreSQL's own wait looks only ten times a second."""
    other.execute("SELECT pg_terminate_backend(%s)", [pid])
    while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
        pass


# After one statement in how many a backend is ended; after each of them in the long matrix.
ONE_IN = int(os.environ.get("SAFEMIGRATIONS_TEST_ONE_IN", "2"))


class Killer:
    """Ends the connection's backend after a statement that changes something, after each one once."""

    def __init__(self, connect: Any) -> None:
        self.other = connect()
        self.survived: set[str] = set()
        self.killed = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        what = re.sub("'[^']*'", "?", sql)  # a Python function gives another value each time
        chosen = not self.survived or zlib.crc32(what.encode()) % ONE_IN == 0
        if CHANGES.match(sql) and chosen and what not in self.survived and not self.killed:
            self.survived.add(what)
            self.killed = True
            terminate(self.other, connection_pid())
        return result

    def until_it_arrives(self, act: Any) -> int:
        """Run the same thing again and again; how often it was killed."""
        self.survived.clear()
        for number in range(200):
            self.killed = False
            with connection.execute_wrapper(self), contextlib.suppress(DatabaseError, InterfaceError, CommandError):
                act()
            if not self.killed:
                act()
                return number
            connection.close()
        raise AssertionError("It never arrives.")


@every_change
def test_killed_after_any_statement_and_rerun_it_arrives(release, connect):
    start = snapshot(connection)
    release.expand()
    expanded = snapshot(connection)
    release.contract()
    contracted = snapshot(connection)
    release.back_after_contract()

    killer = Killer(connect)
    assert killer.until_it_arrives(release.expand) > 0
    release.assert_is(expanded)
    killer.until_it_arrives(release.contract)
    release.assert_is(contracted)
    assert killer.until_it_arrives(release.back) > 0
    release.assert_is(start)
    release.expand()
    assert killer.until_it_arrives(release.back) > 0
    release.assert_is(start)
    assert list(queue.rows(connection)) == []


@pytest.mark.parametrize("case", [case for case in CASES if not case.safe], ids=repr)
def test_killed_before_it_was_recorded_and_rerun_it_arrives(release):
    """Forwards that is the last of the release's migrations, backwards the first."""
    start, recorder = snapshot(connection), MigrationRecorder(connection)
    first, *_ = ours(release.case)
    release.expand()
    expanded, left = snapshot(connection), list(queue.rows(connection, migration=first.name).values())
    recorder.record_unapplied(LABEL, release.last)
    release.expand()
    assert difference(expanded, snapshot(connection)) == {}

    release.back()
    if not first.atomic:  # one of stock operations is recorded in the transaction that takes it back
        recorder.record_applied(LABEL, first.name)
        for values in left:
            Contract._base_manager.create(**values)
        release.back()
    release.assert_is(start)
    assert list(queue.rows(connection)) == []


class KillInFlight(Report):
    """Ends the backend while it builds or drops an index, each index once."""

    def __init__(self, connect: Any) -> None:
        self.blocker, self.watch = connect(), connect()
        self.survived: set[str] = set()
        self.watching = contextlib.ExitStack()

    def begin(self, step: Step) -> None:
        self.watching.close()
        if isinstance(step, BuildIndex | DropIndex) and step.why not in self.survived:
            self.survived.add(step.why)
            self.watching.enter_context(held_up(self.blocker, self.watch, step.table, connection_pid(), self.kill))

    def kill(self, pid: int) -> None:
        terminate(self.watch, pid)

    def until_it_arrives(self, act: Any) -> None:
        count = -1
        while len(self.survived) > count:
            count = len(self.survived)
            with contextlib.suppress(DatabaseError, InterfaceError, CommandError):
                act(self)
            self.watching.close()
            connection.close()


IN_FLIGHT = {
    "add_index",
    "remove_index",
    "replace_index",
    "add_field_db_index",
    "add_field_uuid4_unique",
    "rename_field_unique",
    "rename_field_and_change_its_index",
    "alter_field_bigger_in_unique_constraint",
}


@pytest.mark.parametrize("case", [case for case in CASES if case.name in IN_FLIGHT], ids=repr)
def test_killed_while_an_index_is_built_and_rerun_it_arrives(release, connect):
    start = snapshot(connection)
    release.expand()
    expanded = snapshot(connection)
    release.contract()
    contracted = snapshot(connection)
    release.back()

    killer = KillInFlight(connect)
    killer.until_it_arrives(release.expand)
    release.assert_is(expanded)
    killer.until_it_arrives(release.contract)
    release.assert_is(contracted)
    killer.until_it_arrives(release.back)
    release.assert_is(start)
    assert killer.survived


PROCESSES = {
    "add_index",
    "add_field_uuid4",
    "backfill_with_meanwhile",
    "remove_field_foreign_key",
    "rename_field_unique",
    "alter_field_bigger",
}


@pytest.mark.parametrize("case", [case for case in CASES if case.name in PROCESSES], ids=repr)
def test_process_killed_and_run_again_it_arrives(release):
    release.expand()
    expanded = snapshot(connection)
    release.back()
    for number in range(100):
        ended = forked.migrate_and_die(release.directory, release.package, release.last, after=number)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert number > 2
    release.assert_is(expanded)


# There and back.


@every_change
def test_forwards_backwards_forwards(release):
    start = snapshot(connection)
    before = rows(connection)
    release.expand()
    expanded = snapshot(connection)
    release.back()
    release.assert_is(start)
    if not release.case.nulls_are_filled:
        assert rows(connection) == before
    release.expand()
    release.assert_is(expanded)
    release.contract()
    contracted = snapshot(connection)
    release.back_after_contract()
    release.assert_is(start)
    assert list(queue.rows(connection)) == []
    release.expand()
    release.assert_is(expanded)
    release.contract()
    release.assert_is(contracted)


# Django's own end.


ENDS: dict[str, tuple[Snapshot, Any]] = {}  # case -> what stock operations make of it; the same for every test


@pytest.fixture
def stock_end(case: Case, used: str, monkeypatch: Any, tmp_path: Path) -> tuple[Snapshot, Any]:
    """The catalog and the rows after the stock operations, in a database of their own."""
    if case.name not in ENDS:
        with new_database("other", monkeypatch, used) as other:
            if case.rows_differ:
                empty(other)
            with installed(tmp_path, write(tmp_path, [base(), *stock(case)])):
                migrate("0002_change", alias=other.alias)
            ENDS[case.name] = snapshot(other), rows(other, leaving_out="placed")
    return ENDS[case.name]


@every_change
def test_end_is_that_of_the_stock_operations(stock_end, release):
    schema, data = stock_end
    release.expand()
    release.contract()
    release.assert_ends(schema)
    if not release.case.rows_differ:
        assert rows(connection, leaving_out="placed") == data


@every_change
def test_contract_immediately_ends_like_stock(stock_end, release):
    schema, data = stock_end
    with override_settings(SAFEMIGRATIONS={"CONTRACT": "immediately"}):
        release.expand()
    release.assert_ends(schema)
    if not release.case.rows_differ:
        assert rows(connection, leaving_out="placed") == data
    assert queue.open_rows(connection) == []


@every_change
def test_fresh_database_ends_like_stock(stock_end, case, database, tmp_path):
    schema, _ = stock_end
    parts = ours(case)
    package = write(tmp_path, [base(), *parts])
    with installed(tmp_path, package):
        migrate(parts[-1].name)
        Release(case, tmp_path, package, parts[-1].name).assert_ends(schema)
        assert queue.open_rows(connection) == []
        migrate("zero")
        assert snapshot(connection)["tables"] == {}
