"""Backfills: every row once and right, whatever the table, the traffic and the kills."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from itertools import count
from typing import Any

import pytest
from django.db import connections, models
from django.db.migrations.state import ModelState, ProjectState
from django.test import override_settings

from safemigrations.errors import LockNotAcquired, StepFailed
from safemigrations.plans.steps import Backfill, RowFunction
from safemigrations.running.backfill import ending, news, progress, work
from safemigrations.running.backfill.progress import Status
from safemigrations.running.backfill.table import parts_of
from safemigrations.running.backfill.watch import Watch
from safemigrations.running.runner import Runner
from safemigrations.running.session import Session

from .contention import Migrating, Told, until, until_it_has_looked_again

context: Any = multiprocessing.get_context("fork")


def fill_of(key: str = '"id"', table: str = '"item"', **how: Any) -> Backfill:
    given = {"guard": '"twin" IS NULL', "assign": '"twin" = "price"', **how}
    return Backfill(why="item: fill twin", table=table, key=tuple(key.split(", ")), **given)


FILL = fill_of()


def run(connection: Any, step: Backfill = FILL, told: Told | None = None, **settings: Any) -> str:
    told = told or Told()
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 10, **settings}):
        Runner(connection, told).run((step,))
    return told.finished[-1][1] if told.finished else ""


@pytest.fixture
def item(connect):
    """A table of 3,000 rows."""
    session = connect()
    session.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    session.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 3000) n")
    return session


def wrong(session: Any, table: str = "item") -> int:
    return int(session.execute(f"SELECT count(*) FROM {table} WHERE twin IS DISTINCT FROM price").fetchone()[0])


# Tables and keys.

TABLES = {
    "numbers": ("id int PRIMARY KEY", '"id"', "n"),
    "negative numbers": ("id bigint PRIMARY KEY", '"id"', "n - 1500"),
    "gaps of billions": ("id bigint PRIMARY KEY", '"id"', "n * 4000000007"),
    "one gap": ("id bigint PRIMARY KEY", '"id"', "CASE WHEN n < 1500 THEN -n ELSE n + 9000000000000000000 END"),
    "numbers of a shard": ("id bigint PRIMARY KEY", '"id"', "n * 100"),
    "random uuids": ("id uuid PRIMARY KEY", '"id"', "gen_random_uuid()"),
    "texts": ("id text PRIMARY KEY", '"id"', "chr(39) || '% {n} \\ ' || n"),
    "moments": (
        "id timestamptz PRIMARY KEY",
        '"id"',
        "CASE n WHEN 7 THEN 'infinity' WHEN 8 THEN '-infinity' ELSE now() + n * interval '1 month' END",
    ),
    "floats": ("id float8 PRIMARY KEY", '"id"', "CASE n WHEN 7 THEN 'NaN' WHEN 8 THEN '-Infinity' ELSE n / 3.0 END"),
    "two columns": ("a int, id uuid, PRIMARY KEY (a, id)", '"a", "id"', "n % 7, gen_random_uuid()"),
    "no index": ("id int", '"id"', "n"),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("analyzed", [False, True])
def test_every_row_is_filled_whatever_the_key(database, connect, kind, analyzed):
    columns, key, value = TABLES[kind]
    session = connect()
    names = key.replace('"', "")
    session.execute(f"CREATE TABLE item ({columns}, price int, twin int)")
    session.execute(f"INSERT INTO item ({names}, price) SELECT {value}, n FROM generate_series(1, 3000) n")
    if analyzed:
        session.execute("ANALYZE item")
    assert run(database, fill_of(key)).startswith("3,000 rows, ")
    assert wrong(session) == 0
    assert [row.status for row in progress.rows(database)] == [Status.DONE]
    assert run(database, fill_of(key)) == "no row to fill"


@pytest.mark.parametrize("rows", [0, 1, 10])
def test_a_small_table_is_filled_in_one_batch_and_leaves_no_trace(database, item, rows):
    item.execute("DELETE FROM item WHERE id > %s", [rows])
    assert run(database).startswith({0: "no row to fill", 1: "1 row", 10: "10 rows, "}[rows])
    assert wrong(item) == 0
    assert item.execute("SELECT to_regclass('safemigrations_backfill')").fetchone() == (None,)


def test_the_order_is_that_of_the_disk_unless_a_row_would_be_filled_twice(database, item):
    """An update moves a row, perhaps to a page that is still to come."""
    (part,) = parts_of(database, FILL)
    assert not part.by_key
    (part,) = parts_of(database, fill_of(clears=False))
    assert part.by_key


@pytest.mark.parametrize("kind", ["numbers", "negative numbers", "one gap", "random uuids", "texts", "two columns"])
def test_each_row_is_filled_once_where_the_guard_cannot_tell(database, connect, kind):
    columns, key, value = TABLES[kind]
    session = connect()
    session.execute(f"CREATE TABLE item ({columns}, price int, fills int DEFAULT 0)")
    names = key.replace('"', "")
    session.execute(f"INSERT INTO item ({names}, price) SELECT {value}, n FROM generate_series(1, 3000) n")
    run(database, fill_of(key, guard="TRUE", assign='"fills" = "fills" + 1', clears=False))
    assert session.execute("SELECT DISTINCT fills FROM item").fetchall() == [(1,)]


def test_rows_that_users_move_to_pages_that_were_gone_over_are_found(database, item):
    """Free space at the beginning, and updates that move rows of the end there before they are filled."""
    item.execute("ALTER TABLE item ADD filler text")
    item.execute("CREATE INDEX ON item (filler)")
    item.execute("DELETE FROM item WHERE id < 1000")
    item.execute("VACUUM (TRUNCATE off) item")

    class Move(Told):
        moved = False

        def meter(self, *args: Any) -> None:
            if not self.moved:
                item.execute("UPDATE item SET filler = 'x' WHERE id > 2500")
                self.moved = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(news.Meter, "is_due", lambda self: True)
        run(database, told=Move())
    assert wrong(item) == 0


@pytest.mark.parametrize("table", ['"item"', '"My Items"'])
def test_a_partitioned_table_is_filled_part_by_part(database, connect, table):
    session = connect()
    session.execute(f"CREATE TABLE {table} (id int, price int, twin int, PRIMARY KEY (id)) PARTITION BY RANGE (id)")
    session.execute(f"CREATE TABLE low PARTITION OF {table} FOR VALUES FROM (0) TO (1000)")
    session.execute(f"CREATE TABLE high PARTITION OF {table} FOR VALUES FROM (1000) TO (9000) PARTITION BY RANGE (id)")
    session.execute('CREATE TABLE "High 1" PARTITION OF high FOR VALUES FROM (1000) TO (2000)')
    session.execute("CREATE TABLE high_2 PARTITION OF high FOR VALUES FROM (2000) TO (9000)")
    session.execute(f"INSERT INTO {table} SELECT n, n FROM generate_series(1, 3000) n")
    step = fill_of(table=table, assign=f'"twin" = (SELECT row.price FROM (SELECT {table}.*) AS row)')
    assert [part.name for part in parts_of(database, step)] == ["public.low", 'public."High 1"', "public.high_2"]
    run(database, step)
    assert wrong(session, table) == 0


def test_another_schema(database, connect):
    session = connect()
    session.execute('CREATE SCHEMA "Shop\'s"')
    session.execute('CREATE TABLE "Shop\'s"."My Item" (id int PRIMARY KEY, price int, twin int)')
    session.execute('INSERT INTO "Shop\'s"."My Item" SELECT n, n FROM generate_series(1, 3000) n')
    run(database, fill_of(table='"Shop\'s"."My Item"'))
    assert wrong(session, '"Shop\'s"."My Item"') == 0


def test_it_ends_on_a_table_that_grows_as_fast(database, item):
    """Later rows are the trigger's or the default's business."""

    class Insert(Told):
        def meter(self, *args: Any) -> None:
            item.execute("INSERT INTO item SELECT max(id) + 1, 0 FROM item")

    def meter_always(self: Any) -> bool:
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(news.Meter, "is_due", meter_always)
        run(database, told=Insert())
    assert item.execute("SELECT count(*), count(twin) FROM item WHERE id <= 3000").fetchone() == (3000, 3000)
    assert item.execute("SELECT count(*) > 3000 FROM item").fetchone() == (True,)


# The end is right after any kill.


def kill(session: Any, rows: int) -> None:
    """Start a process that fills, and kill it as soon as so many rows are filled, in whatever it is about then."""
    process = context.Process(target=_fill)
    process.start()
    until(lambda: filled(session) >= rows or not process.is_alive())
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def filled(session: Any) -> int:
    """By what batches have noted."""
    if session.execute("SELECT to_regclass('safemigrations_backfill')").fetchone() == (None,):
        return 0
    query = (
        "SELECT (SELECT coalesce(sum(filled), 0) FROM safemigrations_backfill)"
        " + (SELECT coalesce(sum(filled), 0) FROM safemigrations_backfill_section)"
    )
    return int(session.execute(query).fetchone()[0])


def _fill() -> None:
    connections["default"].connection = None  # the parent's
    run(connections["default"], BACKFILL_BATCH_SECONDS=0.005, BACKFILL_BATCH_SIZE=50, BACKFILL_RATE=ROWS)
    os._exit(0)


KILLS = int(os.environ.get("SAFEMIGRATIONS_TEST_KILLS", "4"))
ROWS = 30_000  # a second


@pytest.mark.parametrize("key", ["int", "uuid"])
def test_killed_at_random_while_traffic_runs_every_row_is_right(database, connect, key):
    """Users change, insert and delete; a trigger keeps their rows right; each row's fill is counted.

    SAFEMIGRATIONS_TEST_KILLS says how often, for a longer run.
    """
    session, user, rows = connect(), connect(), ROWS * (2 + KILLS // 8)
    default = "gen_random_uuid()" if key == "uuid" else "n"
    session.execute(f"CREATE TABLE item (id {key} PRIMARY KEY, n int, price int, twin int, fills int DEFAULT 0)")
    session.execute(f"INSERT INTO item SELECT {default}, n, n FROM generate_series(1, {rows}) n")
    session.execute("CREATE INDEX item_n ON item (n)")
    session.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'INSERT' OR OLD.twin IS NOT"
        " NULL THEN NEW.twin := NEW.price; END IF; RETURN NEW; END $$"
    )
    session.execute("CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION keep()")
    step = fill_of(assign='"twin" = "price", "fills" = "fills" + 1')
    done: list[bool] = []

    def traffic() -> None:
        number = 10_000_000
        while not done:
            at = random.randrange(rows)
            user.execute("UPDATE item SET price = price + 1 WHERE n BETWEEN %s AND %s", [at, at + 5])
            user.execute("DELETE FROM item WHERE n = %s", [at + 7])
            user.execute(f"INSERT INTO item SELECT {default}, n, 5 FROM generate_series({number}, {number}) n")
            number += 1

    database.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.FILL", step)
        patch.setattr(run, "__defaults__", (step, None))
        busy = Migrating(lambda _: traffic())
        for number in range(KILLS):
            kill(session, int((number + random.random()) * 0.5 * rows / KILLS))
        run(database, step, BACKFILL_BATCH_SIZE=1000)
    done.append(True)
    busy.result()
    assert wrong(session) == 0
    assert session.execute("SELECT max(fills) FROM item").fetchone() == (1,)
    assert [row.status for row in progress.rows(database)] == [Status.DONE]
    assert session.execute("SELECT count(*) FROM safemigrations_backfill_section").fetchone() == (0,)


def test_several_workers_share_it_and_none_does_the_work_of_another(database, item):
    item.execute("ALTER TABLE item ADD fills int DEFAULT 0")
    step = fill_of(guard="TRUE", assign='"twin" = "price", "fills" = "fills" + 1', clears=False)
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 5}):
        first = progress.begin(database, step, app_label="", migration="", status=Status.RUNNING)
        workers = [Migrating(lambda c: work.Work(Session(c, Told()), step, first).run()) for _ in range(4)]
        for worker in workers:
            worker.result()
    assert item.execute("SELECT DISTINCT fills FROM item").fetchall() == [(1,)]
    assert [(row.status, row.filled) for row in progress.rows(database)] == [(Status.DONE, 3000)]


def test_a_column_that_was_made_anew_is_filled_anew(database, item, monkeypatch):
    class Stop(Told):
        def meter(self, *args: Any) -> None:
            raise KeyboardInterrupt

    looks = count(1)
    monkeypatch.setattr(news.Meter, "is_due", lambda self: next(looks) == 3)
    with pytest.raises(KeyboardInterrupt):
        run(database, told=Stop())
    monkeypatch.undo()
    assert 0 < wrong(item) < 3000
    item.execute("ALTER TABLE item DROP COLUMN twin, ADD COLUMN twin int")
    run(database)
    assert wrong(item) == 0


# Rows of others.


def test_rows_that_somebody_holds_come_last_and_hold_nobody_up(database, item, other_connection):
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id IN (5, 700)")
    worker = Migrating(run)
    until(lambda: wrong(item) == 2)
    other_connection.execute("COMMIT")
    worker.result()
    assert wrong(item) == 0


def test_a_table_that_is_locked_whole_is_waited_for(database, item, other_connection):
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = price + 1")
    with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.5}), pytest.raises(LockNotAcquired):
        Migrating(lambda connection: run(connection, LOCK_RETRY_FOR=0.5)).result()
    (row,) = progress.rows(database)
    assert (row.status, row.last_error[:22]) == (Status.FAILED, "Rows stayed locked by ")
    other_connection.execute("COMMIT")
    run(database)
    assert wrong(item) == 0


REJECT = """CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.price IN (13, 1300, 2999) THEN RAISE 'No % here', NEW.price; END IF; RETURN NEW; END $$"""


@pytest.mark.parametrize("size", [10, 5000])
def test_rows_that_a_trigger_rejects_are_named_when_the_rest_is_done(database, item, size):
    item.execute(REJECT)
    item.execute("CREATE TRIGGER reject BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION reject()")
    for _ in range(2):
        with pytest.raises(StepFailed) as caught:
            run(database, BACKFILL_BATCH_SIZE=size)
        assert sorted(str(caught.value).partition(" = ")[2].partition(". The others")[0].split(", ")) == [
            "13 (No 13 here)",
            "1300 (No 1300 here)",
            "2999 (No 2999 here)",
        ]
        assert str(caught.value).startswith('The database rejects 3 rows of item, "id" = ')
        assert wrong(item) == 3
    item.execute("DROP TRIGGER reject ON item")
    run(database, BACKFILL_BATCH_SIZE=size)
    assert wrong(item) == 0


def test_values_that_do_not_fit_are_named(database, item):
    item.execute("ALTER TABLE item ALTER twin TYPE smallint")
    item.execute("UPDATE item SET price = 40000 WHERE id = 77")
    with pytest.raises(StepFailed) as caught:
        run(database)
    assert '"id" = 77 (smallint out of range). The others' in str(caught.value)
    assert wrong(item) == 1


def test_when_all_rows_are_rejected_it_soon_says_so(database, item):
    item.execute("ALTER TABLE item ADD CHECK (twin < 0)")
    with pytest.raises(StepFailed) as caught:
        run(database)
    assert str(caught.value).startswith("The database rejects more than 1,000 rows: ")
    assert " more. Rows that are filled stay filled." in str(caught.value)


# Python functions.


def half(row: Any) -> Any:
    return row.price // 2


def several(row: Any) -> dict[str, Any]:
    return {} if row.price % 3 == 0 else {"twin": row.price * 2, "note": f"{row.price} % '"}


def apps() -> Any:
    state = ProjectState()
    fields: list[Any] = [
        ("id", models.IntegerField(primary_key=True)),
        ("price", models.IntegerField()),
        ("twin", models.IntegerField(null=True)),
        ("note", models.TextField(null=True)),
    ]
    state.add_model(ModelState("shop", "Item", fields, {"db_table": "item"}))
    return state.apps


def function(path: Any, **how: Any) -> Backfill:
    given = {"field": "twin", "column": '"twin"', **how}
    path = f"{__name__}:{path.__name__}"
    computed = RowFunction(path=path, takes_row=True, app_label="shop", migration="0002", model="Item", **given)
    return fill_of(assign="", function=computed, clears=not given.get("many"))


@pytest.mark.parametrize("size", [10, 100, 5000])
def test_a_function_fills_every_row(database, item, size):
    item.execute("ALTER TABLE item ADD note text")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": size}):
        Runner(database, Told(), apps()).run((function(half),))
    assert item.execute("SELECT count(*) FROM item WHERE twin = price / 2").fetchone() == (3000,)


@pytest.mark.parametrize("size", [10, 5000])
def test_a_function_of_several_values(database, item, size):
    item.execute("ALTER TABLE item ADD note text")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": size}):
        Runner(database, Told(), apps()).run((function(several, field="", column="", many=True),))
    found = item.execute("SELECT count(*) FROM item WHERE twin = price * 2 AND note = price || ' % '''").fetchone()
    assert found == (2000,)
    assert item.execute("SELECT count(twin) FROM item").fetchone() == (2000,)


def test_a_function_leaves_rows_that_somebody_holds_for_the_end(database, item, other_connection):
    item.execute("ALTER TABLE item ADD note text")
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id IN (5, 700)")

    def fill(connection: Any) -> None:
        with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 10}):
            Runner(connection, Told(), apps()).run((function(half),))

    worker = Migrating(fill)
    until(lambda: item.execute("SELECT count(twin) FROM item").fetchone() == (2998,))
    other_connection.execute("COMMIT")
    worker.result()
    assert item.execute("SELECT count(*) FROM item WHERE twin = price / 2").fetchone() == (3000,)


# What a run that was killed, or cancelled, leaves.

ONCE = fill_of(guard="TRUE", assign='"fills" = "fills" + 1', clears=False)


class End(Told):
    """Ends the run at the first look at how far it is."""

    def meter(self, *args: Any) -> None:
        raise KeyboardInterrupt


def ended_early(connection: Any, monkeypatch: Any, step: Backfill, **settings: Any) -> None:
    monkeypatch.setattr(news.Meter, "is_due", lambda self: time.monotonic() > self.began + 0.02)
    with pytest.raises(KeyboardInterrupt):
        run(connection, step, End(), **settings)
    monkeypatch.undo()


def test_one_that_was_cancelled_goes_on_where_it_was(database, item, monkeypatch):
    """From the start, a row would be filled twice where the guard can't tell."""
    item.execute("ALTER TABLE item ADD fills int DEFAULT 0")
    ended_early(database, monkeypatch, ONCE)
    assert item.execute("SELECT array_agg(DISTINCT fills ORDER BY fills) FROM item").fetchone() == ([0, 1],)
    progress.rows(database).update(status=Status.CANCELLED)
    run(database, ONCE)
    assert item.execute("SELECT DISTINCT fills FROM item").fetchall() == [(1,)]


@pytest.mark.parametrize("rows", [1, 3000])
def test_one_that_is_through_is_not_done_twice_until_its_migration_is_recorded(database, item, rows):
    item.execute("ALTER TABLE item ADD fills int DEFAULT 0")
    item.execute("DELETE FROM item WHERE id > %s", [rows])
    run(database, ONCE)
    told = Told()
    run(database, ONCE, told)
    assert told.finished == [("item: fill twin", "filled before")]
    assert item.execute("SELECT DISTINCT fills FROM item").fetchall() == [(1,)]
    progress.record(database, "", "")
    run(database, ONCE)
    assert item.execute("SELECT DISTINCT fills FROM item").fetchall() == [(2,)]


def test_a_deferred_constraint_rejects_rows_too(database, item):
    """Such as Django's foreign keys: at the commit it would be too late to say which row it is."""
    item.execute("CREATE TABLE parent (id int PRIMARY KEY)")
    item.execute("INSERT INTO parent SELECT n FROM generate_series(1, 3000) n WHERE n <> 77")
    item.execute("ALTER TABLE item ADD FOREIGN KEY (twin) REFERENCES parent DEFERRABLE INITIALLY DEFERRED")
    with pytest.raises(StepFailed) as caught:
        run(database)
    assert '"id" = 77 (insert or update on table "item" violates foreign key' in str(caught.value)
    assert wrong(item) == 1


def test_behind_a_pooler_that_gives_other_process_ids(database, item, monkeypatch):
    monkeypatch.setattr("psycopg.ConnectionInfo.backend_pid", 1)
    run(database)
    assert wrong(item) == 0


@pytest.mark.parametrize("who", ["superuser", "no superuser", "granted", "set by somebody"])
def test_wal_is_compressed_where_that_is_allowed_and_nobody_decided_otherwise(database, item, who):
    if who == "granted" and database.pg_version < 150000:
        pytest.skip("Before PostgreSQL 15 it can't be granted.")
    name, role = database.settings_dict["NAME"], f"r{database.settings_dict['NAME'][-20:]}"
    methods = item.execute("SELECT enumvals FROM pg_settings WHERE name = 'wal_compression'").fetchone()[0] or []
    wanted = next((method for method in ("lz4", "zstd") if method in methods), "off")
    item.execute("ALTER TABLE item ADD seen text")
    item.execute(f"CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role}; ALTER TABLE item OWNER TO {role}")
    if who == "granted":
        item.execute(f"GRANT SET ON PARAMETER wal_compression TO {role}")
    if who == "set by somebody":
        item.execute(f'ALTER DATABASE "{name}" SET wal_compression = off')
    database.close()
    if who in ("no superuser", "granted"):
        with database.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
    run(database, fill_of(assign='"twin" = "price", "seen" = current_setting(\'wal_compression\')'))
    expected = wanted if who in ("superuser", "granted") else "off"
    assert item.execute("SELECT DISTINCT seen FROM item").fetchall() == [(expected,)]
    database.close()
    assert wrong(item) == 0
    item.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("by", ["expression", "function"])
def test_whatever_the_isolation_of_the_session(database, item, other_connection, level, by):
    item.execute("ALTER TABLE item ADD note text")
    name = database.settings_dict["NAME"]
    item.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{level}'")
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id IN (5, 700)")

    def fill(connection: Any) -> None:
        with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 10}):
            Runner(connection, Told(), apps()).run((FILL if by == "expression" else function(price_of),))

    worker = Migrating(fill)
    until(lambda: item.execute("SELECT count(twin) FROM item").fetchone() == (2998,))
    other_connection.execute("COMMIT")
    worker.result()
    assert wrong(item) == 0


def price_of(row: Any) -> Any:
    return row.price


@pytest.mark.parametrize("how", ["DROP TABLE high", "ALTER TABLE item DETACH PARTITION high; DROP TABLE high"])
def test_a_partition_that_is_dropped_meanwhile_is_left_out(database, connect, how):
    session = connect()
    session.execute("CREATE TABLE item (id int PRIMARY KEY, price int, twin int) PARTITION BY RANGE (id)")
    session.execute("CREATE TABLE low PARTITION OF item FOR VALUES FROM (0) TO (1000)")
    session.execute("CREATE TABLE high PARTITION OF item FOR VALUES FROM (1000) TO (9000)")
    session.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 3000) n")

    class Drop(Told):
        def meter(self, *args: Any) -> None:
            if wrong(session) < 1500:
                session.execute(how)
                patch.undo()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(news.Meter, "is_due", lambda self: True)
        run(database, told=Drop(), BACKFILL_BATCH_SIZE=100)
    assert session.execute("SELECT count(*) FROM item").fetchone() == (999,)
    assert wrong(session) == 0


def test_rows_that_moved_are_found_behind_many_that_stay_as_they_are(database, item, monkeypatch):
    """What is set doesn't fill these: their price is null."""
    monkeypatch.setattr(ending, "SWEPT", 50)
    item.execute("ALTER TABLE item ADD filler text")
    item.execute("CREATE INDEX ON item (filler)")
    item.execute("UPDATE item SET price = NULL WHERE id < 500")
    item.execute("VACUUM FULL item")
    item.execute("DELETE FROM item WHERE id BETWEEN 500 AND 1000")
    item.execute("VACUUM (TRUNCATE off) item")

    class Move(Told):
        moved = False

        def meter(self, *args: Any) -> None:
            if not self.moved:
                item.execute("UPDATE item SET filler = 'x' WHERE id > 2700")
                self.moved = True

    monkeypatch.setattr(news.Meter, "is_due", lambda self: True)
    run(database, told=Move())
    assert wrong(item) == 0


def test_the_estimate_goes_by_the_size_of_the_table_today(database, item):
    item.execute("ANALYZE item")
    item.execute("INSERT INTO item SELECT n, n FROM generate_series(3001, 30000) n")
    (part,) = parts_of(database, FILL)
    assert 27_000 < part.rows < 33_000


def test_why_there_is_one_pass_is_told_once(database, item):
    item.execute("CREATE INDEX ON item (twin)")
    item.execute("ANALYZE item")
    told = Told()
    run(database, told=told)
    assert told.progressed == ["an index contains the column, so no update can be HOT: one pass"]


def test_one_that_ends_while_another_had_taken_over_leaves_the_end_to_that(database, item):
    """A worker that slept so long that its section was given away finds that out, and does nothing."""
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 10}):
        first = progress.begin(database, FILL, app_label="", migration="", status=Status.RUNNING)
        slow = work.Work(Session(database, Told()), FILL, first)
        section = next(slow._sections())
        item.execute("UPDATE safemigrations_backfill_section SET touched_at = now() - interval '2 min'")
        Migrating(lambda c: work.Work(Session(c, Told()), FILL, first).run()).result()
        assert wrong(item) == 0
        slow.rests.watch = Watch(database, FILL)
        slow._fill_section(section)
        slow.rests.watch = None
        assert [row.status for row in progress.rows(database)] == [Status.DONE]


# Other databases, roles, settings of the session.


def test_another_database(two_databases):
    _, other = two_databases
    with other.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id int PRIMARY KEY, price int, twin int)")
        cursor.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 3000) n")
        run(other)
        cursor.execute("SELECT count(*) FROM item WHERE twin = price")
        assert cursor.fetchone() == (3000,)
    assert [row.status for row in progress.rows(other)] == [Status.DONE]
    assert list(progress.rows(two_databases[0])) == []


def test_a_worker_needs_no_right_to_create_anything(database, item):
    first = progress.begin(database, FILL, app_label="", migration="", status=Status.RUNNING)
    item.execute("CREATE ROLE clerk")
    try:
        item.execute("REVOKE CREATE ON SCHEMA public FROM public")
        item.execute("GRANT SELECT, UPDATE ON item TO clerk")
        item.execute("GRANT SELECT, UPDATE ON safemigrations_backfill TO clerk")
        item.execute("GRANT ALL ON safemigrations_backfill_section, safemigrations_backfill_section_id_seq TO clerk")
        with database.cursor() as cursor, override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 10}):
            cursor.execute("SET ROLE clerk")
            work.Work(Session(database, Told()), FILL, first).run()
        assert wrong(item) == 0
    finally:
        database.close()
        item.execute("DROP OWNED BY clerk")
        item.execute("DROP ROLE clerk")


def test_timeouts_of_the_role_are_meant_for_requests(database, item):
    item.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.id = 77 THEN PERFORM pg_sleep(1.1); END IF; RETURN NEW; END $$"
    )
    item.execute("CREATE TRIGGER slowly BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION slowly()")
    name = database.settings_dict["NAME"]
    for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
        item.execute(f'ALTER DATABASE "{name}" SET {timeout} = 1000')
    database.close()
    run(database)
    assert wrong(item) == 0


def test_a_schema_of_the_search_path(database, item):
    item.execute("CREATE SCHEMA first")
    item.execute("CREATE TABLE first.item (id bigint PRIMARY KEY, price int, twin int)")
    item.execute("INSERT INTO first.item SELECT n, n FROM generate_series(1, 2000) n")
    with database.cursor() as cursor:
        cursor.execute("SET search_path = first, public")
    run(database)
    assert (wrong(item, "first.item"), wrong(item, "public.item")) == (0, 3000)


# Pausing, cancelling, another pace.


def test_it_pauses_and_goes_on(database, item):
    told = Told()
    worker = Migrating(lambda connection: run(connection, told=told, BACKFILL_RATE=50))
    until(lambda: list(progress.rows(database)))
    progress.rows(database).update(status=Status.PAUSED)
    until(lambda: "waiting: paused; to go on: python manage.py safemigrations backfill resume" in told.progressed)
    before = wrong(item)
    until_it_has_looked_again(item, worker.pid)
    assert wrong(item) == before > 0
    progress.rows(database).update(status=Status.RUNNING, pace={"rate": None})
    worker.result()
    assert wrong(item) == 0


def test_it_is_cancelled_and_the_next_run_goes_on(database, item):
    worker = Migrating(lambda connection: run(connection, BACKFILL_RATE=50))
    until(lambda: list(progress.rows(database)))
    progress.rows(database).update(status=Status.CANCELLED)
    with pytest.raises(StepFailed) as caught:
        worker.result()
    assert "was cancelled" in str(caught.value)
    before = wrong(item)
    assert before > 0
    run(database)
    assert wrong(item) == 0


def test_the_rate_is_kept(database, item):
    began = time.monotonic()
    run(database, BACKFILL_RATE=3000, BACKFILL_BATCH_SIZE=100)
    assert time.monotonic() - began > 0.9


# What it yields to.


def test_it_notices_who_waits_for_it(database, item, other_connection):
    with database.cursor() as cursor, Watch(database, FILL) as watch:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE item SET price = 1 WHERE id = 1")
        waiting = Migrating(lambda _: other_connection.execute("UPDATE item SET price = 2 WHERE id = 1"))
        until(watch.had_waiters)
        cursor.execute("COMMIT")
        waiting.result()
        looks = "SELECT pid FROM pg_stat_activity WHERE query ~ 'pg_blocking_pids' AND pid <> pg_backend_pid()"
        (pid,) = until(lambda: item.execute(looks).fetchone())
        until_it_has_looked_again(item, pid, times=2)  # the first of these may have begun before the commit
        watch.had_waiters()
        until_it_has_looked_again(item, pid)
        assert not watch.had_waiters()
        assert watch.stop() == ""
