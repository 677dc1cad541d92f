"""Updates that stay on their page (HOT), by the passes over a section.

PostgreSQL prunes the dead rows of one pass when the next one comes to their page, unless a transaction of any database
may still see them, VACUUM's included. So these tests have a server of their own where nothing else runs: no other
test, no autovacuum, no watch.
"""

from __future__ import annotations

from typing import Any

import pytest

from safemigrations.running.backfill import watch

from .contention import Told, until
from .test_backfill_engine import run, wrong

OWN_SERVER = "autovacuum = off\n"


@pytest.fixture(autouse=True)
def _nobody_looks(own_server, monkeypatch):
    monkeypatch.setattr(watch, "AFTER", 3600)


def share_that_stays(database: Any, session: Any, *, indexed: str = "n") -> tuple[float, list[str]]:
    """Of the updates of a fill, and what it told."""
    told = Told()
    session.execute("DROP TABLE IF EXISTS item")
    session.execute(
        "CREATE TABLE item (id bigint PRIMARY KEY, n int, price int, twin int) WITH (autovacuum_enabled = off)"
    )
    session.execute("INSERT INTO item SELECT n, n, n FROM generate_series(1, 40000) n")
    session.execute(f"CREATE INDEX ON item ({indexed})")
    session.execute("VACUUM ANALYZE item")
    run(database, told=told, BACKFILL_BATCH_SIZE=100)
    database.close()  # which reports what it counted
    counted = "SELECT n_tup_hot_upd::float / n_tup_upd FROM pg_stat_user_tables WHERE n_tup_upd = 40000"
    ((share,),) = until(lambda: session.execute(counted).fetchall())
    assert wrong(session) == 0
    return share, told.progressed


OLD_SNAPSHOT = ["an old snapshot keeps dead rows alive: one pass until it has gone"]


def test_updates_stay_on_their_page_in_ten_passes(database, connect):
    share, told = share_that_stays(database, connect())
    assert share > 0.4
    assert told == []


def test_no_update_stays_on_its_page_where_an_index_knows_the_column(database, connect):
    told = ["an index contains the column, so no update can be HOT: one pass"]
    assert share_that_stays(database, connect(), indexed="twin") == (0, told)


def test_updates_do_not_stay_on_their_page_while_an_old_snapshot_is_open(database, connect):
    reader = connect()
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    reader.execute("SELECT 1")
    share, told = share_that_stays(database, connect())
    assert share < 0.3
    assert told == OLD_SNAPSHOT
