"""Real contention for tests: sessions that hold something, and ordinary queries whose waits are measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.plans.steps import Step
from safemigrations.running.locking.blockers import Blocker
from safemigrations.running.run import Report

PATIENCE = 60.0  # seconds after which a condition is taken as never coming


def until(condition: Callable[[], Any]) -> Any:
    """What the condition gives as soon as that is true."""
    return _until(condition, every=0.005)


def seldom_until(condition: Callable[[], Any]) -> Any:
    """The same, for what happens only while nobody else is at work: who looks is at work, too."""
    return _until(condition, every=0.1)


def rarely_until(condition: Callable[[], Any]) -> Any:
    """As until(), for what stops when it sees a look: there is time between two of them to begin anew."""
    return _until(condition, every=1.0)


def _until(condition: Callable[[], Any], *, every: float) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"It did not become true within {PATIENCE:.0f} s."
        time.sleep(every)
    return result


class Worker:
    """Something that runs beside the test; `result` waits for its end and raises what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.value: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.value = self.work()
        except BaseException as error:
            self.error = error

    @property
    def is_running(self) -> bool:
        return self.thread.is_alive()

    def result(self) -> Any:
        self.thread.join(PATIENCE)
        assert not self.is_running, f"It did not end within {PATIENCE:.0f} s."
        if self.error:
            raise self.error
        return self.value


class Migrating(Worker):
    """Work with a Django connection beside the test; `pid` is that of its backend."""

    def __init__(self, work: Callable[[BaseDatabaseWrapper], Any]) -> None:
        self.pid = 0
        super().__init__(lambda: self._with_connection(work))
        until(lambda: self.pid or self.error)

    def _with_connection(self, work: Callable[[BaseDatabaseWrapper], Any]) -> Any:
        connection = connections["default"]  # of this thread
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (self.pid,) = cursor.fetchone()
            return work(connection)
        finally:
            connection.close()


class Traffic:
    """One thread for each statement, which sends it again and again, and one that looks how long they wait for locks.

    PostgreSQL measures the waits: how long a query takes depends on what else runs on the machine, too
    (tests/bench.py measures that).
    """

    def __init__(self, dsn: str, statements: Sequence[str]) -> None:
        self.dsn, self.over = dsn, threading.Event()
        self.sent = 0
        self.worst = 0.0  # seconds that one of them waited for a lock
        self.looks = 0
        self.errors: list[psycopg.Error] = []
        self.threads = [threading.Thread(target=self._send, args=(statement,)) for statement in statements]
        self.threads.append(threading.Thread(target=self._look))

    def _send(self, statement: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True, application_name="traffic") as connection:
            while not self.over.is_set():
                try:
                    connection.execute(statement)
                except psycopg.Error as error:
                    self.errors.append(error)
                self.sent += 1
                self.over.wait(0.005)

    def _look(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while not self.over.is_set():
                (seconds,) = connection.execute(LONGEST_WAIT).fetchone()  # type: ignore[misc]
                self.worst = max(self.worst, seconds)
                self.looks += 1
                self.over.wait(0.005)


LONGEST_WAIT = """SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND application_name = 'traffic' AND datname = current_database()"""


@contextmanager
def traffic(dsn: str, *statements: str) -> Iterator[Traffic]:
    """Ordinary queries during the block; none of them may fail."""
    running = Traffic(dsn, statements)
    for thread in running.threads:
        thread.start()
    try:
        until(lambda: running.sent > len(statements) and running.looks)
        yield running
    finally:
        running.over.set()
        for thread in running.threads:
            thread.join(PATIENCE)
    assert running.errors == []


def is_waiting_for_a_lock(connection: psycopg.Connection, pid: int) -> bool:
    """Does this backend stand in a queue?"""
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    return bool(connection.execute(query, [pid]).fetchone() == (True,))


def until_it_has_looked_again(connection: psycopg.Connection, pid: int, times: int = 3) -> None:
    """Until this backend has begun so many further statements: long enough to notice, and to do what it shouldn't."""
    query, left = "SELECT query_start FROM pg_stat_activity WHERE pid = %s", times
    before = connection.execute(query, [pid]).fetchone()

    def has_looked() -> bool:
        nonlocal before, left
        known, before = before, connection.execute(query, [pid]).fetchone()
        left -= before != known
        return left == 0

    until(has_looked)


class Told(Report):
    """Remembers what a runner reported."""

    def __init__(self) -> None:
        self.skipped: list[str] = []
        self.progressed: list[str] = []
        self.waits: list[Sequence[Blocker]] = []
        self.finished: list[tuple[str, str]] = []

    def skip(self, step: Step) -> None:
        self.skipped.append(step.why)

    def progress(self, step: Step, text: str) -> None:
        self.progressed.append(text)

    def waiting(self, step: Step, blockers: Sequence[Blocker], seconds: float) -> None:
        self.waits.append(blockers)

    def done(self, step: Step, seconds: float, detail: str = "") -> None:
        self.finished.append((step.why, detail))


# An autovacuum can't be asked for: the launcher has to find a reason, and then it has to be slow. It looks at one
# database after another, at those first where it has never been: among databases that come and go, it may stay away
# from one for a minute. So who needs an autovacuum has a server of its own, configured so.

AUTOVACUUM_OFTEN = "autovacuum_naptime = 1s\n"
SLOW = """ALTER TABLE item SET (
    autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 1000000000,
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, vacuum_truncate = off
)"""
BURN = """CREATE PROCEDURE burn() LANGUAGE plpgsql AS $$ BEGIN
    FOR i IN 1..100100 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"""
AT_WORK = """SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid)
    WHERE a.backend_type = 'autovacuum worker' AND l.relation = 'item'::regclass AND l.granted
    AND a.query LIKE 'autovacuum: VACUUM %' AND l.mode = 'ShareUpdateExclusiveLock'"""


@contextmanager
def autovacuum(connection: psycopg.Connection, *, to_prevent_wraparound: bool = False) -> Iterator[int]:
    """An autovacuum of the table item, which takes some seconds; its pid."""
    assert connection.execute("SHOW autovacuum_naptime").fetchone() == ("1s",)
    connection.execute(SLOW)
    connection.execute("UPDATE item SET note = note")
    if to_prevent_wraparound:
        connection.execute("ALTER TABLE item SET (autovacuum_freeze_max_age = 100000)")
        connection.execute(BURN)
        connection.execute("CALL burn()")
    connection.execute("SELECT pg_stat_force_next_flush()")
    (pid,) = until(lambda: connection.execute(AT_WORK).fetchone())
    yield pid
