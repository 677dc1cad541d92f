"""A second connection fills too while nobody else uses the server. On a server of its own, where nobody else is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict

from safemigrations.errors import StepFailed
from safemigrations.plans.steps import Backfill, Step
from safemigrations.running.backfill import control, news, progress, second, sections, watch, work
from safemigrations.running.backfill.progress import Status
from safemigrations.running.backfill.second import Second
from safemigrations.running.backfill.watch import Watch
from safemigrations.running.runner import Runner
from safemigrations.running.session import Session

from .contention import PATIENCE, Migrating, Told, rarely_until, seldom_until, until
from .test_backfill_engine import apps, fill_of, function, half, run

context: Any = multiprocessing.get_context("fork")
COUNTED = fill_of(
    guard="TRUE",
    assign='"twin" = "price", "fills" = "fills" + 1, "by" = pg_backend_pid(), "at" = clock_timestamp()',
    clears=False,
)
# On so many pages that there are several sections.
INSERT = "INSERT INTO item SELECT n, n, NULL, repeat('x', 500) FROM generate_series({}, {}) n"
# Each fourth row takes as long as the table pace says.
SLOWLY = """CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    IF NEW.id % 4 = 0 THEN PERFORM pg_sleep(seconds) FROM public.pace; END IF; RETURN NEW; END $$"""
# The first row waits until two backends write to the table; the sequence met has been called since.
MEET = f"""CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE deadline timestamptz := clock_timestamp() + interval '{PATIENCE} s'; BEGIN
        WHILE (SELECT NOT is_called FROM public.met) AND clock_timestamp() < deadline LOOP
            IF (SELECT count(DISTINCT pid) > 1 FROM pg_locks WHERE relation = TG_RELID AND mode = 'RowExclusiveLock')
                THEN PERFORM nextval('public.met'); ELSE PERFORM pg_sleep(0.005); END IF;
        END LOOP;
        RETURN NEW; END $$"""


OWN_SERVER = ""  # as PostgreSQL comes


@pytest.fixture
def database(database, own_server, monkeypatch):
    monkeypatch.setattr(second, "ROWS", 1000)
    monkeypatch.setattr(second, "POLL", 0.005)
    # Else the first may take all rows as one section while the second is away, and nothing is left for that.
    monkeypatch.setattr(sections, "MOST_ROWS", 1000)
    monkeypatch.setattr(watch, "IDLE", 0)  # the sessions of a test have just done something
    monkeypatch.setattr(watch, "EVERY", 0.01)
    monkeypatch.setattr(watch, "STATE_EVERY", 1)
    yield database
    assert not helpers()


@pytest.fixture
def item(database, connect):
    """A table of 3,000 rows that takes a second or two to fill."""
    session = connect()
    session.execute(
        "CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int, note text,"
        ' fills int DEFAULT 0, "by" int, "at" timestamptz) WITH (autovacuum_enabled = off)'
    )
    session.execute(INSERT.format(1, 3000))
    session.execute("ANALYZE item")
    session.execute("CREATE TABLE pace (seconds float); INSERT INTO pace VALUES (0.0003); CREATE SEQUENCE met")
    session.execute(SLOWLY)
    session.execute(MEET)
    session.execute("CREATE TRIGGER slowly BEFORE UPDATE OF twin ON item FOR EACH ROW EXECUTE FUNCTION slowly()")
    return session


def set_pace(session: Any, seconds: float) -> None:
    session.execute("UPDATE pace SET seconds = %s", [seconds])


def wait_for_the_second(session: Any, table: str = "item") -> None:
    """The first waits in its first row, before anything else happens to that."""
    session.execute(f"CREATE TRIGGER a_meet BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION meet()")


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "Second" in repr(getattr(thread, "_args", ""))]


def backends(session: Any) -> int:
    return int(session.execute('SELECT count(DISTINCT "by") FROM item').fetchone()[0])


def is_filled_once(session: Any) -> bool:
    return bool(session.execute("SELECT DISTINCT fills, twin = price FROM item").fetchall() == [(1, True)])


def briefly(connection: Any, step: Backfill = COUNTED, told: Told | None = None, **settings: Any) -> str:
    """In batches of some milliseconds."""
    return run(connection, step, told, **{"BACKFILL_BATCH_SECONDS": 0.01, **settings})


# It helps.


@pytest.mark.parametrize("by", ["key", "page"])
def test_two_connections_fill_and_every_row_once(database, item, by):
    guard = "TRUE" if by == "key" else "twin IS NULL"
    told = Told()
    wait_for_the_second(item)
    detail = briefly(database, fill_of(guard=guard, assign=COUNTED.assign, clears=by == "page"), told)
    assert detail.startswith("3,000 rows, ")
    assert backends(item) == 2
    assert is_filled_once(item)
    assert told.progressed == []
    assert [(row.status, row.filled) for row in progress.rows(database)] == [(Status.DONE, 3000)]
    assert item.execute("SELECT count(*) FROM safemigrations_backfill_section").fetchone() == (0,)


def test_it_ends_with_the_first(database, item):
    wait_for_the_second(item)
    before = threading.active_count()
    briefly(database)
    assert backends(item) == 2
    assert threading.active_count() == before
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    until(lambda: item.execute(query).fetchone() == (1,))  # that of the test


def test_the_command_uses_it_unless_it_starts_processes(database, item):
    progress.begin(database, COUNTED, app_label="", migration="", status=Status.PENDING)
    given = {"BACKFILL_BATCH_SIZE": 10, "BACKFILL_BATCH_SECONDS": 0.01}
    with override_settings(SAFEMIGRATIONS=given):
        control.work_on_all(database, Told(), alone=False)
    assert backends(item) == 1
    item.execute('UPDATE item SET fills = 0, "by" = NULL')
    wait_for_the_second(item)
    progress.forget(database, COUNTED)
    progress.begin(database, COUNTED, app_label="", migration="", status=Status.PENDING)
    with override_settings(SAFEMIGRATIONS=given):
        control.work_on_all(database, Told())
    assert backends(item) == 2
    assert is_filled_once(item)


def test_what_the_session_was_set_to_holds_for_it_too(database, item):
    item.execute("CREATE SCHEMA first; CREATE ROLE filler; GRANT ALL ON SCHEMA first, public TO filler")
    item.execute("CREATE TABLE first.item (LIKE public.item INCLUDING ALL)")
    item.execute("ALTER TABLE first.item ADD who text")
    item.execute("INSERT INTO first.item SELECT * FROM public.item; ANALYZE first.item")
    wait_for_the_second(item, "first.item")
    item.execute("ALTER TABLE first.item OWNER TO filler; GRANT ALL ON ALL TABLES IN SCHEMA public TO filler")
    item.execute("GRANT pg_monitor TO filler")
    with database.cursor() as cursor:
        cursor.execute("SET search_path = first, public; SET work_mem = '5MB'; SET ROLE filler")
    who = "current_user || ' ' || current_setting('work_mem')"
    briefly(database, fill_of(assign=f'{COUNTED.assign}, "who" = {who}'))
    database.close()
    assert backends_of(item, "first.item") == 2
    assert item.execute("SELECT DISTINCT who FROM first.item").fetchall() == [("filler 5MB",)]
    assert backends(item) == 0
    item.execute("DROP OWNED BY filler; DROP ROLE filler")


def backends_of(session: Any, table: str) -> int:
    return int(session.execute(f'SELECT count(DISTINCT "by") FROM {table}').fetchone()[0])


# When it doesn't.


def test_it_can_be_switched_off(database, item):
    briefly(database, BACKFILL_SECOND_CONNECTION=False)
    assert backends(item) == 1


def test_it_is_not_used_on_a_small_table(database, item, monkeypatch):
    monkeypatch.setattr(second, "ROWS", 5000)
    briefly(database)
    assert backends(item) == 1


def test_it_is_not_used_where_a_rate_is_set(database, item):
    briefly(database, BACKFILL_RATE=100_000)
    assert backends(item) == 1


def test_it_is_not_used_for_functions(database, item):
    Runner(database, Told(), apps()).run((function(half),))
    step = progress.rows(database).get().backfill
    found = work.Work(Session(database, Told(), apps()), step, progress.rows(database).get())
    assert not found._may_be_helped()


def test_it_is_not_used_inside_a_transaction(database, item):
    """Such as that of a TestCase: another connection would see nothing of it."""
    row = progress.begin(database, COUNTED, app_label="", migration="", status=Status.RUNNING)
    one = work.Work(Session(database, Told()), COUNTED, row)
    assert one._may_be_helped()
    with transaction.atomic():
        assert not one._may_be_helped()


def test_it_is_not_used_by_tasks(database, item):
    row = progress.begin(database, COUNTED, app_label="", migration="", status=Status.RUNNING)
    assert not work.Work(Session(database, Told()), COUNTED, row, until=time.monotonic() + 60)._may_be_helped()


WAITS = """SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'
    AND datname = current_database()"""


def test_it_is_not_used_while_somebody_else_is_at_work(database, item, connect):
    item.execute("SELECT pg_advisory_lock(1)")
    user = Migrating(lambda _: connect().execute("SELECT pg_advisory_lock(1)"))
    until(lambda: item.execute(WAITS).fetchone())
    briefly(database, BACKFILL_REST=0)
    assert user.is_running
    assert backends(item) == 1
    item.execute("SELECT pg_advisory_unlock(1)")
    user.result()


def test_it_goes_when_somebody_comes_and_comes_back(database, item, connect):
    item.execute(f"{INSERT.format(3001, 20000)}; ANALYZE item")
    set_pace(item, 0.01)
    user = connect()
    worker = Migrating(lambda connection: briefly(connection, BACKFILL_REST=0))
    rarely_until(lambda: backends(item) == 2)
    user.execute("BEGIN")
    rarely_until(lambda: latest_of(item) == [worker.pid])
    user.execute("COMMIT")
    rarely_until(lambda: len(latest_of(item)) == 2)
    set_pace(item, 0)
    worker.result()
    assert is_filled_once(item)


def latest_of(session: Any) -> list[int]:
    """Who filled the rows that were filled last."""
    query = 'SELECT "by" FROM item WHERE fills > 0 ORDER BY "at" DESC LIMIT 200'
    return [pid for (pid,) in session.execute(f"SELECT DISTINCT * FROM ({query}) AS latest").fetchall()]


def test_who_may_not_see_what_others_do_is_never_alone(database, item, own_server, connect):
    item.execute("CREATE ROLE blind LOGIN")
    connect()  # idle, of another role
    blind = conninfo_to_dict(own_server) | {"user": "blind", "dbname": database.settings_dict["NAME"]}
    try:
        with psycopg.connect(**blind) as session:
            pid = session.info.backend_pid
            query = watch._OTHERS.format(pids=f"{pid}, 0", idle=0)
            assert session.execute(query).fetchone() == (True,)
        database.close()
        with psycopg.connect(own_server) as session:
            others = watch._OTHERS.format(pids="0, 0", idle=0)
            until(lambda: session.execute(others).fetchone() == (False,))
    finally:
        item.execute("DROP ROLE blind")


def test_it_is_not_used_where_another_connection_sees_other_tables(database, item):
    """As with tenants, each with a schema that is chosen when a connection is made."""
    item.execute("CREATE SCHEMA other; CREATE TABLE other.item (LIKE public.item INCLUDING ALL)")
    item.execute("CREATE TABLE other.safemigrations_backfill (id int)")
    database.ensure_connection()
    set_pace(item, 0.05)

    class Hurry(Told):
        def progress(self, step: Step, text: str) -> None:
            super().progress(step, text)
            set_pace(item, 0)

    told = Hurry()

    def elsewhere(sender: Any, connection: Any, **kwargs: Any) -> None:
        connection.execute_wrappers.append(to_other)

    def to_other(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        with context["connection"].connection.cursor() as cursor:
            cursor.execute("SET search_path = other")
        return execute(sql, params, many, context)

    connection_created.connect(elsewhere)
    try:
        briefly(database, told=told)
    finally:
        connection_created.disconnect(elsewhere)
    assert backends(item) == 1
    assert is_filled_once(item)
    assert told.progressed == ["one connection: a second one sees other tables, rows or settings"]


def test_it_is_done_without_where_there_is_no_connection_to_spare(database, item, own_server):
    name = database.settings_dict["NAME"]
    row = progress.begin(database, COUNTED, app_label="", migration="", status=Status.RUNNING)
    with Watch(database, COUNTED, early=True) as watching:
        until(lambda: watching.is_quiet)
        allow(own_server, name, "false")
        with Second(database, COUNTED, watching, lambda connection: False) as other:
            (event,) = until(lambda: list(other.news()))
    allow(own_server, name, "true")
    assert event.said.startswith("one connection: a second one can't be opened (connection ")
    assert other.error is None
    assert row.pk


def allow(server: str, name: str, answer: str) -> None:
    with psycopg.connect(server, autocommit=True) as session:
        session.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {answer}')


# When one of the two fails.


def test_what_fails_in_it_is_raised(database, item):
    """Whichever meets it: a row that makes the server fail, not one that is rejected."""
    wait_for_the_second(item)
    item.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_backend_pid() <>"
        f" {pid_of(database)} THEN PERFORM nowhere(); END IF; RETURN NEW; END $$"
    )
    item.execute("CREATE TRIGGER fail BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION fail()")
    with pytest.raises(StepFailed, match="function nowhere\\(\\) does not exist"):
        briefly(database)
    assert [row.status for row in progress.rows(database)] == [Status.FAILED]
    item.execute("DROP TRIGGER fail ON item")
    briefly(database)
    assert is_filled_once(item)


def pid_of(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_a_second_connection_that_breaks_costs_its_batch_only(database, item):
    """Ended until it was in the middle of something; between two batches it only comes back."""
    first = pid_of(database)
    second = f'SELECT pid FROM pg_stat_activity WHERE pid <> {first} AND pid IN (SELECT "by" FROM item)'
    set_pace(item, 0.01)

    class End(Told):
        lost: tuple[str, ...] = ()

        def meter(self, *args: Any) -> None:
            item.execute(f"SELECT pg_terminate_backend(pid) FROM ({second}) AS second")

        def progress(self, step: Step, text: str) -> None:
            if text.startswith("one connection: the second was lost ("):
                self.lost = (*self.lost, text)
                set_pace(item, 0)

    told = End()
    wait_for_the_second(item)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(news.Meter, "is_due", lambda self: not told.lost)
        briefly(database, told=told)
    assert len(told.lost) == 1
    assert is_filled_once(item)


@pytest.mark.parametrize("slow", [False, True])
def test_it_ends_at_once_when_the_first_is_interrupted(database, item, slow):
    """Also in the middle of a batch that would take a minute."""

    class Stop(Told):
        def meter(self, *args: Any) -> None:
            if backends(item) == 2:
                if slow:
                    set_pace(item, 30)
                    seldom_until(lambda: asleep(item))
                raise KeyboardInterrupt

    wait_for_the_second(item)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(news.Meter, "is_due", lambda self: True)
        with pytest.raises(KeyboardInterrupt):
            briefly(database, told=Stop())
    assert not helpers()
    until(lambda: not at_work(item, pid_of(database)))
    set_pace(item, 0)
    briefly(database)
    assert is_filled_once(item)


IS_ASLEEP = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


def asleep(session: Any) -> list[Any]:
    return list(session.execute(IS_ASLEEP).fetchall())


def at_work(session: Any, first: int) -> list[Any]:
    """What other backends than the first and this one do here."""
    query = (
        "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
        f" AND pid NOT IN (pg_backend_pid(), {first})"
    )
    return list(session.execute(query).fetchall())


@pytest.mark.parametrize("clears", [False, True])
def test_killed_with_two_at_work_every_row_is_filled_once(database, item, clears):
    step = COUNTED if not clears else fill_of(guard="twin IS NULL", assign=COUNTED.assign)
    item.execute(f"{INSERT.format(3001, 15000)}; ANALYZE item")
    set_pace(item, 0.01)
    database.close()
    for _ in range(3):
        kill_when_two_are_at_work(item, step)
    set_pace(item, 0)
    briefly(database, step)
    assert is_filled_once(item)
    assert item.execute("SELECT count(*) FROM safemigrations_backfill_section").fetchone() == (0,)


def kill_when_two_are_at_work(session: Any, step: Backfill) -> None:
    known = backends(session)
    process = context.Process(target=_fill, args=(step,))
    process.start()
    seldom_until(lambda: backends(session) >= known + 2)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def _fill(step: Backfill) -> None:
    connections["default"].connection = None  # the parent's
    with contextlib.suppress(StepFailed):
        briefly(connections["default"], step)
    os._exit(0)


def test_two_that_wait_for_each_other_part(database, item):
    """A trigger that keeps a total: the row of the total is held until the batch's end."""
    item.execute("CREATE TABLE total (n bigint); INSERT INTO total VALUES (0)")
    item.execute(
        "CREATE FUNCTION add() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE total SET n = n + 1;"
        " RETURN NEW; END $$; CREATE TRIGGER add BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION add()"
    )
    told = Told()
    wait_for_the_second(item)
    set_pace(item, 0.002)
    briefly(database, told=told, LOCK_TIMEOUT=0.001)
    assert is_filled_once(item)
    assert item.execute("SELECT n FROM total").fetchone() == (3000,)
    assert "one connection for 60 s: two waited for each other" in told.progressed
