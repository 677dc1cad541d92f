"""What a backfill yields to: each signal acts, is told, and can be switched off. On a server of its own."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.test import override_settings

from safemigrations.running.backfill import control, pace, progress, watch
from safemigrations.running.backfill.progress import Status
from safemigrations.running.backfill.work import Work
from safemigrations.running.session import Session
from testproject import postgres

from .contention import (
    AUTOVACUUM_OFTEN,
    Migrating,
    Told,
    Worker,
    autovacuum,
    is_waiting_for_a_lock,
    until,
    until_it_has_looked_again,
)
from .test_backfill_engine import FILL, fill_of, run, wrong

OWN_SERVER = f"wal_level = logical\narchive_mode = on\narchive_command = 'true'\n{AUTOVACUUM_OFTEN}"


@pytest.fixture(autouse=True)
def _watched_from_the_start(own_server, monkeypatch):
    monkeypatch.setattr(watch, "AFTER", 0.0)


@pytest.fixture
def item(connect):
    session = connect()
    session.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int, note text)")
    session.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 3000) n")
    return session


SLOWLY: Any = {"BACKFILL_RATE": 200}  # rows/s: there is time to look


def stops(database: Any, item: Any, reason: str, **settings: Any) -> Any:
    """A run that has stopped for this reason, and the function that waits for its end."""
    told = Told()
    worker = Migrating(lambda connection: run(connection, told=told, **SLOWLY, **settings))
    until(lambda: any(text.startswith(f"waiting: {reason}") for text in told.progressed))
    before = wrong(item)
    until_it_has_looked_again(item, worker.pid, times=2)
    assert wrong(item) == before > 0

    def result() -> None:
        hurry(database)
        worker.result()

    return result


def hurry(database: Any) -> None:
    progress.rows(database).update(pace={"rate": None})


def is_not_told(database: Any, reason: str, **settings: Any) -> None:
    told = Told()
    run(database, told=told, BACKFILL_RATE=2000, **settings)
    assert not [text for text in told.progressed if reason in text]


# Replicas and slots.


def test_a_replica_that_is_behind_stops_it(database, item, own_server):
    with postgres.replica(own_server) as conninfo, psycopg.connect(conninfo, autocommit=True) as other:
        until(lambda: item.execute("SELECT state FROM pg_stat_replication").fetchone() == ("streaming",))
        other.execute("SELECT pg_wal_replay_pause()")
        result = stops(database, item, "replica walreceiver is ", BACKFILL_REPLICA_LAG=0.5)
        other.execute("SELECT pg_wal_replay_resume()")
        result()
        assert wrong(item) == 0
        item.execute("UPDATE item SET twin = NULL")
        other.execute("SELECT pg_wal_replay_pause()")
        is_not_told(database, "replica", BACKFILL_REPLICA_LAG=None)
        other.execute("SELECT pg_wal_replay_resume()")


@pytest.mark.parametrize(
    "create",
    ["pg_create_physical_replication_slot('behind', true)", "pg_create_logical_replication_slot('behind', 'pgoutput')"],
)
def test_a_slot_that_retains_wal_stops_it(database, item, create):
    item.execute(f"SELECT {create}")
    item.execute("UPDATE item SET note = 'x'")
    try:
        is_not_told(database, "slot", BACKFILL_RETAINED_WAL=None)
        item.execute("UPDATE item SET twin = NULL")
        result = stops(database, item, "replication slot behind retains ", BACKFILL_RETAINED_WAL=1e-6)
    finally:
        item.execute("SELECT pg_drop_replication_slot('behind')")
    result()
    assert wrong(item) == 0


# The archiver.


@contextmanager
def archiver(session: Any, command: str) -> Iterator[None]:
    session.execute(f"ALTER SYSTEM SET archive_command = '{command}'")
    session.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        session.execute("ALTER SYSTEM RESET archive_command")
        session.execute("SELECT pg_reload_conf()")


def test_an_archiver_that_fails_stops_it(database, item):
    with archiver(item, "false"):
        item.execute("SELECT pg_switch_wal()")
        until(lambda: item.execute(FAILING).fetchone() == (True,))
        is_not_told(database, "archiver", BACKFILL_ARCHIVE_QUEUE=None)
        item.execute("UPDATE item SET twin = NULL")
        result = stops(database, item, "the archiver fails: 0")
    item.execute("SELECT pg_switch_wal()")
    result()
    assert wrong(item) == 0


FAILING = "SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver"


@contextmanager
def stuck_archiver(session: Any) -> Iterator[None]:
    """It is behind as long as its file is there: programs of the server begin in the data directory."""
    session.execute("COPY (SELECT 1) TO PROGRAM 'cat > behind'")
    try:
        with archiver(session, "while [ -e behind ]; do sleep 0.1; done"):
            for _ in range(4):
                session.execute("UPDATE item SET note = 'x'")
                session.execute("SELECT pg_switch_wal()")
            yield
    finally:
        session.execute("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; rm behind'")


def test_an_archiver_that_is_behind_stops_it(database, item):
    item.execute("SELECT pg_switch_wal()")
    until(lambda: item.execute("SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver").fetchone() == (True,))
    with stuck_archiver(item):
        is_not_told(database, "archiver", BACKFILL_ARCHIVE_QUEUE=None)
        item.execute("UPDATE item SET twin = NULL")
        told = Told()
        worker = Migrating(lambda c: run(c, told=told, **SLOWLY, BACKFILL_ARCHIVE_QUEUE=1))
        until(lambda: any(" WAL files wait for the archiver" in text for text in told.progressed))
    hurry(database)
    worker.result()
    assert wrong(item) == 0


# Autovacuum, waiters.


def test_an_autovacuum_of_the_table_slows_it_down(database, item):
    item.execute("INSERT INTO item (id, note) SELECT n, repeat('x', 500) FROM generate_series(10000, 40000) n")
    with autovacuum(item):
        told = Told()
        worker = Migrating(lambda c: run(c, fill_of(guard='"twin" IS NULL AND id < 5000'), told, **SLOWLY))
        until(lambda: "slower: an autovacuum of the table is at work (BACKFILL_YIELD_TO_AUTOVACUUM)" in told.progressed)
        hurry(database)
        worker.result()
        assert not [text for text in told.progressed if "old snapshot" in text]  # VACUUM's keeps no dead row alive
        item.execute("UPDATE item SET twin = NULL WHERE id < 5000")
        with watch.Watch(database, FILL) as off, pytest.MonkeyPatch.context() as patch:
            until(off.slowly)
            patch.setattr("safemigrations.conf.backfill_yield_to_autovacuum", lambda: False)
            until(lambda: not off.slowly())


def test_a_role_that_may_not_see_it_yields_to_an_autovacuum_too(database, item):
    item.execute("INSERT INTO item (id, note) SELECT n, repeat('x', 500) FROM generate_series(10000, 40000) n")
    item.execute("CREATE ROLE deploy; CREATE TABLE other (id int)")
    with autovacuum(item), database.cursor() as cursor:
        cursor.execute("SET ROLE deploy")
        until(lambda: watch.reason_to_slow_down(database, '"item"'))
        assert not watch.reason_to_slow_down(database, '"other"')


def watcher(item: Any) -> int:
    """The pid of the session that looks who waits."""
    looks = "SELECT pid FROM pg_stat_activity WHERE query ~ 'FROM pg_stat_activity' AND pid <> pg_backend_pid()"
    return int(until(lambda: item.execute(looks).fetchone())[0])


def test_a_session_that_waits_makes_batches_smaller(database, item, connect):
    """The first batch holds row 500 until the test lets it go on."""
    item.execute(
        "CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " WHILE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 500) LOOP"
        " PERFORM pg_sleep(0.01); END LOOP; RETURN NEW; END $$"
    )
    item.execute(
        "CREATE TRIGGER held BEFORE UPDATE OF twin ON item FOR EACH ROW WHEN (NEW.id = 500) EXECUTE FUNCTION held()"
    )
    item.execute("SELECT pg_advisory_lock(500)")
    user, told = connect(), Told()
    worker = Migrating(lambda c: run(c, told=told, BACKFILL_BATCH_SIZE=1000))
    is_held = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
    until(lambda: item.execute(is_held, [worker.pid]).fetchone() == ("PgSleep",))
    waiting = Worker(lambda: user.execute("UPDATE item SET note = 'y' WHERE id = 500"))
    until(lambda: is_waiting_for_a_lock(item, user.info.backend_pid))
    until_it_has_looked_again(item, watcher(item))
    item.execute("SELECT pg_advisory_unlock(500)")
    waiting.result()
    worker.result()
    assert told.progressed == ["smaller batches: a session waited for a batch (BACKFILL_YIELD_TO_WAITERS)"]
    assert wrong(item) == 0


def test_waiters_can_be_left_out_of_account(database, item, connect, monkeypatch):
    monkeypatch.setattr("safemigrations.conf.backfill_yield_to_waiters", lambda: False)
    with database.cursor() as cursor, watch.Watch(database, FILL) as watching:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE item SET price = 1 WHERE id = 1")
        session = connect()
        waiting = Migrating(lambda _: session.execute("UPDATE item SET price = 2 WHERE id = 1"))
        until(lambda: is_waiting_for_a_lock(item, session.info.backend_pid))
        until_it_has_looked_again(item, watcher(item))
        assert not watching.had_waiters()
        cursor.execute("COMMIT")
        waiting.result()


def test_a_lock_timeout_is_told(database, item, other_connection):
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id = 5")
    told = Told()
    worker = Migrating(lambda c: run(c, told=told))
    until(lambda: told.progressed)
    other_connection.execute("COMMIT")
    worker.result()
    assert told.progressed == ["smaller batches: canceling statement due to lock timeout"]


# The rate and the window.


def test_a_long_rest_ends_when_the_pace_changes(database, item):
    told = Told()
    worker = Migrating(lambda connection: run(connection, told=told, BACKFILL_RATE=1))
    until(lambda: told.progressed)
    assert told.progressed == ["slower: 1 rows/s at most (BACKFILL_RATE)"]
    progress.rows(database).update(pace={"rate": None})
    worker.result()
    assert wrong(item) == 0


def test_a_batch_is_no_larger_than_what_the_rate_allows_in_a_second():
    slow = pace.Pace(1000)
    slow.given = {"rate": 20}
    assert slow.rows == 20
    slow.given = {"rate": 0.5}
    assert slow.rows == 1
    slow.given = {}
    assert slow.rows == 1000


def test_it_stops_when_the_window_closes_and_goes_on_when_it_opens(database, item, monkeypatch):
    closed, looks = 0.0, 0

    def seconds(at: datetime.datetime) -> float:
        nonlocal looks
        looks += 1
        return closed

    monkeypatch.setattr(pace, "seconds_until_window", seconds)
    monkeypatch.setattr(control, "POLL", 0.05)
    row = progress.begin(database, FILL, app_label="", migration="", status=Status.RUNNING)
    progress.rows(database).update(pace={"rate": 200})
    told = Told()
    worker = Migrating(lambda connection: control.work_on_all(connection, told))
    until(lambda: wrong(item) < 3000)
    closed = 7200.0
    until(lambda: told.progressed[-1:] == ["waiting: the time window opens in 2.0 h (BACKFILL_WINDOW)"])
    before = wrong(item)
    known = looks
    until(lambda: looks > known + 3)
    assert wrong(item) == before > 0
    assert not control.may_work(database)
    hurry(database)
    closed = 0.0
    assert worker.result() is True
    assert wrong(item) == 0
    assert row.pk


def test_migrate_works_outside_the_window_too(database, item, monkeypatch):
    monkeypatch.setattr(pace, "seconds_until_window", lambda at: 3600.0)
    run(database)
    assert wrong(item) == 0


def test_what_the_server_does_not_tell_slows_it_down_until_it_does(database, item, monkeypatch):
    monkeypatch.setattr(watch, "AGAIN", 0.05)
    good = watch._AUTOVACUUM
    monkeypatch.setattr(watch, "_AUTOVACUUM", "SELECT {table} FROM nowhere")
    with watch.Watch(database, FILL) as watching:
        until(watching.slowly)
        assert watching.slowly() == "the server's state can't be read (relation \"nowhere\" does not exist)"
        monkeypatch.setattr(watch, "_AUTOVACUUM", good)
        until(lambda: not watching.slowly())


def test_one_that_was_paused_while_it_waits_lets_go(database, item):
    item.execute("SELECT pg_create_physical_replication_slot('behind', true)")
    try:
        row = progress.begin(database, FILL, app_label="", migration="", status=Status.RUNNING)
        item.execute("SELECT pg_switch_wal()")
        progress.rows(database).update(pace={"rate": 200})
        told = Told()

        def work(connection: Any) -> Any:
            return Work(Session(connection, told), FILL, row).run()

        with override_settings(SAFEMIGRATIONS={"BACKFILL_RETAINED_WAL": 1e-6, "BACKFILL_BATCH_SIZE": 10}):
            worker = Migrating(work)
            until(lambda: any("replication slot" in text for text in told.progressed))
            progress.rows(database).update(status=Status.CANCELLED)
            with pytest.raises(Exception, match="this backfill was cancelled"):
                worker.result()
    finally:
        item.execute("SELECT pg_drop_replication_slot('behind')")
