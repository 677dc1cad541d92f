"""Each way on a copy of the same database, with and without users."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

context: Any = multiprocessing.get_context("spawn")
KEYS = {"integer": ("bigint", "n"), "uuid": ("uuid", "gen_random_uuid()")}
REQUESTS = 4  # at a time
PAUSE = 0.01  # seconds between two requests of one user
QUIET = 5.0  # seconds before the fill begins

# As those of users are: large batches and few commits profit from one that isn't.
DURABLE = "fsync = on\nfull_page_writes = on\nsynchronous_commit = on\n"

TABLE = """
CREATE TABLE item (id {type} PRIMARY KEY, n int, name text, price numeric(10, 2), placed timestamptz,
                   twin numeric(12, 2));
INSERT INTO item SELECT {value}, n, 'name ' || n, n % 1000, now() - n * interval '1 minute'
FROM generate_series(1, {rows}) n;
CREATE INDEX item_name ON item (name);
CREATE INDEX item_placed ON item (placed)
"""


@dataclass(frozen=True)
class Figures:
    way: str
    seconds: float
    rows: int
    wal: int  # bytes
    growth: float
    memory: int  # KiB, at most
    wrong: int
    quiet: list[float]  # seconds of each request before
    during: list[float]

    def as_line(self) -> str:
        users = ""
        if self.during:
            users = f"   p50 {_ms(self.during, 50)}  p99 {_ms(self.during, 99)} (quiet {_ms(self.quiet, 99)})  max "
            users += f"{max(self.during) * 1000:6.0f} ms"
        return (
            f"{self.way:<24} {self.rows / self.seconds:9,.0f} rows/s  {self.wal / 2**20:6,.0f} MB WAL"
            f"  x{self.growth:.2f}  {self.memory / 1024:5.0f} MB memory{users}"
        )


def _ms(times: list[float], percent: int) -> str:
    return f"{quantiles(times, n=100)[percent - 1] * 1000:6.1f} ms"


@contextmanager
def template(conninfo: str, key: str, rows: int) -> Iterator[str]:
    name = f"bench_{key}"
    type, value = KEYS[key]
    with _database(conninfo, name):
        with psycopg.connect(conninfo, dbname=name, autocommit=True) as connection:
            connection.execute(TABLE.format(type=type, value=value, rows=rows))
            connection.execute("VACUUM (FREEZE, ANALYZE)")
        yield name


@contextmanager
def _database(conninfo: str, name: str, template: str = "template1") -> Iterator[None]:
    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
    _ask(conninfo, drop)
    _ask(conninfo, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield
    finally:
        _ask(conninfo, drop)


def _ask(conninfo: str, query: str) -> Any:
    """The row that a query returns; in a session of its own, because a way that yields to others would yield to it."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchone() if cursor.description else None


def settings(conninfo: str) -> str:
    names = ["server_version", "shared_buffers", "max_wal_size", "autovacuum", "fsync", "full_page_writes"]
    return ", ".join(f"{name} {_ask(conninfo, f'SHOW {name}')[0]}" for name in [*names, "synchronous_commit"])


def measure(conninfo: str, way: str, key: str, *, users: bool) -> Figures:
    name = "bench_run"
    with _database(conninfo, name, f"bench_{key}"):
        own = make_conninfo(conninfo, dbname=name)
        _ask(own, "CHECKPOINT")
        with _users(conninfo, name, key, users) as traffic:
            before, rows = _ask(own, SIZE)
            (lsn,) = _ask(own, "SELECT pg_current_wal_lsn()")
            began = time.time()
            seconds, memory = _in_a_process(conninfo, name, way, key)
            requests = traffic(began, began + seconds)
        (wal,) = _ask(own, f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{lsn}')::bigint")
        (wrong,) = _ask(own, "SELECT count(*) FROM item WHERE twin IS DISTINCT FROM price")
        after, _ = _ask(own, SIZE)
    return Figures(way, seconds, rows, wal, after / before, memory, wrong, *requests)


SIZE = "SELECT pg_total_relation_size('item'), reltuples::int FROM pg_class WHERE oid = 'item'::regclass"


def _in_a_process(conninfo: str, name: str, way: str, key: str) -> tuple[float, int]:
    ours, theirs = context.Pipe()
    process = context.Process(target=_fill, args=(theirs, conninfo, name, way, key))
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    return result  # type: ignore[no-any-return]


def _fill(pipe: Any, conninfo: str, name: str, way: str, key: str) -> None:
    os.environ |= {"SHOP_CONNINFO": conninfo, "SHOP_DATABASE": name, "DJANGO_SETTINGS_MODULE": "testproject.settings"}
    import django

    django.setup()
    from testproject.bench.ways import WAYS

    began = time.perf_counter()
    WAYS[way](key)
    pipe.send((time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


@contextmanager
def _users(conninfo: str, name: str, key: str, there: bool) -> Iterator[Any]:
    """A function that tells the times of the requests before and during the fill; their process ends with the block."""
    if not there:
        yield lambda begin, end: ([], [])
        return
    ours, theirs = context.Pipe()
    process = context.Process(target=_use, args=(theirs, conninfo, name, key), daemon=True)
    process.start()
    assert ours.recv() == "ready"
    time.sleep(QUIET)

    def stop(begin: float, end: float) -> tuple[list[float], list[float]]:
        ours.send("stop")
        times = ours.recv()
        return [took for at, took in times if at < begin], [took for at, took in times if begin <= at < end]

    try:
        yield stop
    finally:
        process.terminate()
        process.join()


def _use(pipe: Any, conninfo: str, name: str, key: str) -> None:
    import threading

    times: list[tuple[float, float]] = []
    over = threading.Event()
    with psycopg.connect(conninfo, dbname=name, autocommit=True) as connection:
        sample = connection.execute("SELECT id FROM item TABLESAMPLE SYSTEM (5)").fetchall()

    def user() -> None:
        with psycopg.connect(conninfo, dbname=name, autocommit=True) as connection:
            while not over.is_set():
                (id,) = random.choice(sample)
                began, at = time.perf_counter(), time.time()
                if random.random() < 0.3:
                    connection.execute("UPDATE item SET name = name || 'x' WHERE id = %s", [id])
                else:
                    connection.execute("SELECT * FROM item WHERE id = %s", [id]).fetchall()
                times.append((at, time.perf_counter() - began))
                over.wait(random.uniform(0, 2 * PAUSE))

    threads = [threading.Thread(target=user) for _ in range(REQUESTS)]
    for thread in threads:
        thread.start()
    pipe.send("ready")
    pipe.recv()
    over.set()
    for thread in threads:
        thread.join()
    pipe.send(times)
