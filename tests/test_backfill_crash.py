"""A backfill whose server crashes: nothing waits for its commits to reach the disk, and nothing is filled twice.

On a server of its own, which keeps commits that nobody waits for in memory for as long as it can.
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from typing import Any

import psycopg
from django.db import DatabaseError, connections

from safemigrations.errors import StepFailed
from testproject import postgres

from .contention import until
from .test_backfill_engine import fill_of, filled, run
from .tried import tried

context: Any = multiprocessing.get_context("fork")
OWN_SERVER = "synchronous_commit = on\nwal_writer_delay = 10s\nwal_writer_flush_after = 1GB\nwal_buffers = 16MB\n"
ROWS = 3000
COUNT = fill_of(assign='"twin" = "twin" + 1', guard="TRUE", clears=False)  # nothing but the position tells what is done


def test_a_crash_takes_the_rows_together_with_the_position(database, own_server, dsn):
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("CREATE TABLE item (id bigint PRIMARY KEY, twin int DEFAULT 0)")
        session.execute(f"INSERT INTO item SELECT n FROM generate_series(1, {ROWS}) n")
    database.close()
    while not _lost_by_a_crash(own_server, dsn):
        pass  # all that was committed was on the disk already, which shows nothing
    run(database, COUNT)
    with psycopg.connect(dsn, autocommit=True) as session:
        assert session.execute("SELECT twin, count(*) FROM item GROUP BY twin").fetchall() == [(1, ROWS)]


def _lost_by_a_crash(own_server: str, dsn: str) -> int:
    """Fill some more rows, and crash; how many of all aren't filled afterwards."""
    with psycopg.connect(dsn, autocommit=True) as session:
        begin = filled(session)
        process = context.Process(target=_fill)
        process.start()
        until(lambda: filled(session) >= begin + 300)
        before = filled(session)
    assert before < ROWS, "The backfill was through before it could crash."
    postgres.crash(own_server)
    tried("crashes of a server")
    process.join()
    with psycopg.connect(dsn, autocommit=True) as session:
        (once,) = session.execute("SELECT count(*) FROM item WHERE twin = 1").fetchone() or (0,)
        assert filled(session) == once
    return max(0, before - int(once))


def _fill() -> None:
    connections["default"].connection = None  # the parent's
    with suppress(DatabaseError, StepFailed):  # that is how it notices the crash
        run(connections["default"], COUNT, BACKFILL_BATCH_SECONDS=0.005, BACKFILL_BATCH_SIZE=50, BACKFILL_RATE=1000)
    os._exit(0)
