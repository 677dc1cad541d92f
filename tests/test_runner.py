"""The runner executes steps of every kind, and each of them can be run again after whatever went wrong."""

from __future__ import annotations

import re
import uuid
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.db import NotSupportedError, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.test import override_settings

from safemigrations.errors import LockNotAcquired, StepFailed
from safemigrations.plans.indexes import AddUnique, BuildIndex, DropIndex
from safemigrations.plans.steps import Backfill, Instead, Online, Proof, RowFunction, Statement, Together
from safemigrations.postgres.columns import column_exists
from safemigrations.postgres.lock import Lock
from safemigrations.postgres.tables import is_server
from safemigrations.running import build_progress
from safemigrations.running import indexes as running_indexes
from safemigrations.running.runner import Runner
from tests.contention import Migrating, Told, Worker, is_waiting_for_a_lock, until

ITEM = {'"item"': Lock.ACCESS_EXCLUSIVE}
DROP_SIZE = Statement(why="item: drop column size", sql='ALTER TABLE "item" DROP COLUMN IF EXISTS "size"', locks=ITEM)
ADD_SIZE = Statement(
    why="item: add column size",
    sql='ALTER TABLE "item" ADD COLUMN "size" int',
    locks=ITEM,
    done=column_exists("item", "size"),
    undo=(DROP_SIZE,),
)
INDEX = BuildIndex(why="item: index item_price", table='"item"', name="item_price", definition='("price")')
UNIQUE = BuildIndex(
    why="item: unique index item_price", table='"item"', name="item_price", definition='("price")', unique=True
)
DROP_CHECK = Statement(why="item: drop the check", sql='ALTER TABLE "item" DROP CONSTRAINT "positive"', locks=ITEM)
VALIDATE = Online(
    why="item: no price is negative",
    sql='ALTER TABLE "item" VALIDATE CONSTRAINT "positive"',
    locks={'"item"': Lock.SHARE_UPDATE_EXCLUSIVE},
    on_failure=(DROP_CHECK,),
)


@pytest.fixture
def item(database, connect):
    """A session in a database with a table item, whose prices are the numbers from 1 to 20."""
    session = connect()
    session.execute("CREATE TABLE item (id int PRIMARY KEY, price int, note text)")
    session.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 20) n")
    return session


def run(connection, *steps):
    told = Told()
    Runner(connection, told).run(steps)
    return told


def told(error):
    """The first line of an error; psycopg before 3.3 says what it was doing when it heard of the end."""
    return str(error).splitlines()[0].replace("consuming input failed: ", "")


def indexes(session, table="item"):
    """The valid and the INVALID indexes of a table, without its primary key."""
    query = """SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = %s::regclass AND NOT i.indisprimary ORDER BY 1"""
    return session.execute(query, [table]).fetchall()


def constraints(session, table="item"):
    query = "SELECT conname, convalidated FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'u')"
    return session.execute(query, [table]).fetchall()


# Plans.


def test_a_step_that_is_done_is_skipped(database, item):
    assert run(database, ADD_SIZE).finished == [("item: add column size", "")]
    again = run(database, ADD_SIZE)
    assert again.skipped == ["item: add column size"]
    assert again.finished == []


def test_a_plan_is_undone_by_the_undo_of_its_steps(database, item):
    runner = Runner(database, Told())
    runner.run((ADD_SIZE,))
    runner.undo((ADD_SIZE,))
    assert not runner.is_done(ADD_SIZE)
    runner.undo((ADD_SIZE,))


def test_statements_that_belong_together_take_effect_together_or_not_at_all(database, item):
    step = Together(why="item: both", sql=('ALTER TABLE "item" ADD COLUMN "size" int', "SELECT 1 / 0"), locks=ITEM)
    with pytest.raises(StepFailed):
        run(database, step)
    assert not Runner(database).is_done(ADD_SIZE)


def test_a_step_that_failed_says_why_and_what_stays(database, item):
    step = Statement(why="item: add column price", sql='ALTER TABLE "item" ADD COLUMN "price" int', locks=ITEM)
    with pytest.raises(StepFailed) as caught:
        run(database, ADD_SIZE, step)
    assert str(caught.value) == (
        'item: add column price failed: column "price" of relation "item" already exists\n'
        'Statement: ALTER TABLE "item" ADD COLUMN "price" int\n'
        "What was done before this step stays and is skipped the next time. Fix the cause and run the same command "
        "again.\nWhere the database isn't what its migrations say, this prints how to fix it: python manage.py "
        "safemigrations verify --sql"
    )
    assert Runner(database).is_done(ADD_SIZE)


def test_a_step_that_failed_names_the_statement_that_this_server_got(database, item):
    forbid = Instead(when=is_server(15), sql='ALTER TABLE "item" ALTER COLUMN "size" SET NOT NULL')
    step = Statement(why="item: size can't be null", sql="SELECT 'for older ones'", locks=ITEM, instead=forbid)
    with pytest.raises(StepFailed) as caught:
        run(database, step)
    assert str(caught.value).splitlines()[:2] == [
        'item: size can\'t be null failed: column "size" of relation "item" does not exist',
        'Statement: ALTER TABLE "item" ALTER COLUMN "size" SET NOT NULL',
    ]


def test_a_step_that_this_server_does_not_need_is_not_spoken_of(database, item):
    told = run(database, replace(ADD_SIZE, only_where=is_server(99)))
    assert (told.skipped, told.finished) == ([], [])
    assert not Runner(database).is_done(ADD_SIZE)


@pytest.mark.parametrize("step", [INDEX, DropIndex(why="drop", table='"item"', name="i"), VALIDATE])
def test_what_cannot_be_in_a_transaction_is_refused_there(database, item, step):
    with pytest.raises(NotSupportedError) as caught, transaction.atomic():
        run(database, step)
    assert str(caught.value) == (
        f"{step.why}: this can't be done inside a transaction (set atomic = False on the migration)."
    )


def test_a_statement_inside_somebodys_transaction_ends_with_it(database, item):
    with transaction.atomic():
        run(database, ADD_SIZE)
        transaction.set_rollback(True)
    assert not Runner(database).is_done(ADD_SIZE)


MISSING = (
    "Table \"missing\" doesn't exist in database 'default'. Was its migration faked, or is the search_path another "
    "one? Look with: python manage.py safemigrations verify --sql"
)


def test_a_table_that_is_missing_is_named(database):
    with pytest.raises(StepFailed) as caught:
        run(database, BuildIndex(why="index", table='"missing"', name="i", definition='("id")'))
    assert str(caught.value) == MISSING


def test_an_index_of_a_table_that_has_gone_is_gone(database):
    told = run(database, DropIndex(why="drop", table='"missing"', name="i"))
    assert told.finished == [("drop", "its table is gone")]


# Long steps and the timeouts that roles and poolers set for requests.

SLOW = {
    "Online": Online(why="slow", sql="SELECT slow(1)", locks={}),
    "BuildIndex": BuildIndex(why="slow", table='"item"', name="i", definition="(slow(id))"),
    "Proof": Proof(why="slow", query="SELECT 1 WHERE slow(1) = 0", failure=""),
    "Backfill": Backfill(why="slow", table='"item"', key=('"id"',), guard='"note" IS NULL', assign="note = slow(1)"),
    "Statement": Statement(why="slow", sql="SELECT slow(1)", locks=ITEM),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_statement_timeout_of_the_role_does_not_end_a_long_step(database, item, kind):
    item.execute(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.6); RETURN 1; END'"
    )
    item.execute("DELETE FROM item WHERE id > 1")
    with database.cursor() as cursor:
        cursor.execute("SET statement_timeout = '500ms'; SET lock_timeout = '7s'")
        run(database, SLOW[kind])
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        assert cursor.fetchone() == ("500ms", "7s")


def test_a_statement_timeout_of_the_role_comes_back_after_a_step_that_failed(database, item):
    item.execute("UPDATE item SET price = 1")
    with database.cursor() as cursor:
        cursor.execute("SET statement_timeout = '5s'; SET lock_timeout = '7s'")
        with pytest.raises(StepFailed):
            run(database, UNIQUE)
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        assert cursor.fetchone() == ("5s", "7s")


def test_a_lock_timeout_of_the_role_does_not_leave_an_invalid_index(item, other_connection, dsn):
    name = item.info.dbname
    item.execute(f"ALTER DATABASE {name} SET lock_timeout = '50ms'")
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id = 1")
    migrating = Migrating(lambda connection: run(connection, INDEX))
    query = "SELECT clock_timestamp() - query_start > '0.2 s' FROM pg_stat_activity WHERE pid = %s AND query ~ 'CREATE'"
    until(lambda: item.execute(query, [migrating.pid]).fetchone() == (True,))
    other_connection.execute("COMMIT")
    migrating.result()
    assert indexes(item) == [("item_price", True)]


# Indexes.


def old_snapshot(session):
    """A transaction that CREATE INDEX CONCURRENTLY has to wait for."""
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    session.execute("SELECT count(*) FROM item")
    return session


def test_an_old_snapshot_that_a_build_waits_for_is_named(item, other_connection):
    other_connection.execute("SET application_name = 'pg_dump'")
    old_snapshot(other_connection)
    pid = other_connection.info.backend_pid
    age = "SELECT clock_timestamp() - xact_start > '1.1 s' FROM pg_stat_activity WHERE pid = %s"
    until(lambda: item.execute(age, [pid]).fetchone() == (True,))
    told = Told()
    migrating = Migrating(lambda connection: Runner(connection, told).run((INDEX,)))
    until(lambda: told.waits)
    ((blocker,),) = told.waits
    assert str(blocker) == (
        f"pid {pid} (pg_dump, idle in transaction for {blocker.age:.0f} s: SELECT count(*) FROM item)"
    )
    other_connection.execute("COMMIT")
    migrating.result()


def gives_up(build=lambda connection: Runner(connection, Told()).run((INDEX,))):
    with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.5}), pytest.raises(LockNotAcquired) as caught:
        Migrating(build).result()
    return str(caught.value).splitlines()


@contextmanager
def another_role(item, told):
    """Builds the index as the owner of the table, who may not see what the sessions of other roles do."""
    name = f"deploy_{item.info.dbname}"
    item.execute(f"CREATE ROLE {name}; ALTER TABLE item OWNER TO {name}; GRANT CREATE ON SCHEMA public TO {name}")

    def build(connection):
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {name}")
        Runner(connection, told).run((INDEX,))

    try:
        yield build
    finally:
        item.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_build_does_not_begin_behind_a_forgotten_prepared_transaction(item, other_connection):
    if item.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
        pytest.skip("max_prepared_transactions is 0")
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 7 WHERE id = 1")
    other_connection.execute("PREPARE TRANSACTION 'nightly'")
    _, named, _ = gives_up()
    other_connection.execute("ROLLBACK PREPARED 'nightly'")
    assert re.fullmatch(
        r"  a prepared transaction \('nightly', \d s old; end it with COMMIT PREPARED or ROLLBACK PREPARED\)", named
    )
    assert indexes(item) == []


def test_a_build_waits_for_long_writers_that_are_there_and_not_for_those_that_come(item, other_connection, connect):
    """Somebody may always have been writing for a second."""
    first, second = other_connection, connect()
    for session, id in ((first, 1), (second, 2)):
        session.execute("BEGIN")
        session.execute("UPDATE item SET price = 0 WHERE id = %s", [id])
        until(lambda session=session: is_old(item, session))  # type: ignore[misc]
    told = Told()
    migrating = Migrating(lambda connection: Runner(connection, told).run((INDEX,)))
    until(lambda: told.waits)
    first.execute("COMMIT")
    first.execute("BEGIN")
    first.execute("UPDATE item SET price = 0 WHERE id = 1")
    until(lambda: is_old(item, first))
    second.execute("COMMIT")
    until(lambda: item.execute(BUILDS, [migrating.pid]).fetchone())
    first.execute("COMMIT")
    migrating.result()


def test_a_build_does_not_begin_behind_a_writer_of_whom_it_may_not_see_for_how_long_it_writes(item, other_connection):
    with another_role(item, Told()) as deploy:
        with other_connection.transaction():
            other_connection.execute("UPDATE item SET price = 7 WHERE id = 1")
            _, named, _ = gives_up(deploy)
            assert named.startswith(f"  pid {other_connection.info.backend_pid} ")
            assert indexes(item) == []
        Migrating(deploy).result()
        assert indexes(item) == [("item_price", True)]


BUILDS = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE 'CREATE INDEX CONCURRENTLY%%'"


def is_old(session, other):
    query = "SELECT clock_timestamp() - xact_start > '1.1 s' FROM pg_stat_activity WHERE pid = %s"
    return session.execute(query, [other.info.backend_pid]).fetchone() == (True,)


@pytest.mark.parametrize(
    ("query", "left", "state"),
    [
        ("SELECT 1", "Nothing of the index is left.", []),
        (
            "SELECT count(*) FROM item",
            "The index stays behind, INVALID, because its table is in use; the next run drops it and builds it anew.",
            [("item_price", False)],
        ),
    ],
)
def test_a_build_that_waits_for_an_old_snapshot_gives_up_and_names_it(item, other_connection, query, left, state):
    other_connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    other_connection.execute(query)
    first, named, what, last = gives_up()
    assert re.fullmatch(
        r"item: index item_price: CREATE INDEX CONCURRENTLY was waiting for old snapshots for \d s, and was ended\. "
        r"It waits for:",
        first,
    )
    assert named.startswith(f"  pid {other_connection.info.backend_pid} (client backend, idle in transaction for ")
    assert what == (
        "What was done before stays. End that transaction (SELECT pg_terminate_backend(pid), or what it says there), "
        "then run the same command again."
    )
    assert (last, indexes(item)) == (left, state)
    other_connection.execute("COMMIT")
    Migrating(lambda connection: Runner(connection, Told()).run((INDEX,))).result()
    assert indexes(item) == [("item_price", True)]


def test_an_invalid_leftover_is_dropped_and_built_anew(database, item):
    item.execute("UPDATE item SET price = 1 WHERE id = 2")
    with pytest.raises(Exception, match="could not create unique index"):
        item.execute('CREATE UNIQUE INDEX CONCURRENTLY "item_price" ON item (price)')
    assert indexes(item) == [("item_price", False)]
    item.execute("UPDATE item SET price = id")
    told = run(database, UNIQUE)
    assert told.progressed == ["item_price is an INVALID leftover; dropping it"]
    assert indexes(item) == [("item_price", True)]


def test_an_index_that_is_there_is_left_alone(database, item):
    run(database, INDEX)
    assert run(database, INDEX).finished == [("item: index item_price", "was there already")]


def building(builder, item):
    """A session is building the index of INDEX, and holds the lock on its table."""
    build = Worker(lambda: builder.execute("CREATE INDEX CONCURRENTLY item_price ON item (price)"))
    in_flight = "SELECT 1 FROM pg_stat_progress_create_index WHERE pid = %s AND phase = 'waiting for old snapshots'"
    until(lambda: item.execute(in_flight, [builder.info.backend_pid]).fetchone())
    return build


def looked_often(item, pid, often=3):
    """A backend has sent this many queries more."""
    query = "SELECT query_start FROM pg_stat_activity WHERE pid = %s"
    for _ in range(often):
        before = item.execute(query, [pid]).fetchone()
        until(lambda before=before: item.execute(query, [pid]).fetchone() != before)  # type: ignore[misc]


def test_an_index_that_somebody_else_is_building_is_waited_for(item, other_connection, connect, monkeypatch):
    monkeypatch.setattr(running_indexes, "POLL", 0.01)
    old_snapshot(other_connection)
    builder, told = connect(), Told()
    build = building(builder, item)
    migrating = Migrating(lambda connection: Runner(connection, told).run((INDEX,)))
    until(lambda: told.progressed)
    looked_often(item, migrating.pid)
    other_connection.execute("COMMIT")
    build.result()
    migrating.result()
    assert told.progressed == [f"pid {builder.info.backend_pid} is building this index already; waiting for it"]
    assert told.finished == [("item: index item_price", "was there already")]
    assert indexes(item) == [("item_price", True)]


def test_a_build_of_which_only_the_commit_is_missing_is_waited_for(item, other_connection, connect, monkeypatch):
    """Its lock on the table and the report of its progress have ended, and nobody sees yet that the index is valid."""
    monkeypatch.setattr(running_indexes, "POLL", 0.01)
    item.execute(
        "CREATE FUNCTION hold_up() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock(1); END'"
    )
    item.execute(
        "CREATE EVENT TRIGGER hold_up ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION hold_up()"
    )
    other_connection.execute("SELECT pg_advisory_lock(1)")
    builder, told = connect(), Told()
    pid = builder.info.backend_pid
    build = Worker(lambda: builder.execute("CREATE INDEX CONCURRENTLY item_price ON item (price)"))
    is_held_up = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'advisory'"
    until(lambda: item.execute(is_held_up, [pid]).fetchone())
    assert item.execute("SELECT 1 FROM pg_stat_progress_create_index WHERE pid = %s", [pid]).fetchone() is None
    assert indexes(item) == [("item_price", False)]
    migrating = Migrating(lambda connection: Runner(connection, told).run((INDEX,)))
    until(lambda: told.progressed)
    looked_often(item, migrating.pid)
    other_connection.execute("SELECT pg_advisory_unlock(1)")
    build.result()
    migrating.result()
    assert told.progressed == [f"pid {pid} is building this index already; waiting for it"]
    assert told.finished == [("item: index item_price", "was there already")]
    assert indexes(item) == [("item_price", True)]


def test_a_build_of_another_role_is_waited_for_by_one_that_may_not_see_it(item, other_connection, connect, monkeypatch):
    monkeypatch.setattr(running_indexes, "POLL", 0.01)
    told = Told()
    with another_role(item, told) as deploy:
        old_snapshot(other_connection)
        builder = connect()
        build = building(builder, item)
        migrating = Migrating(deploy)
        until(lambda: told.progressed)
        looked_often(item, migrating.pid)
        other_connection.execute("COMMIT")
        build.result()
        migrating.result()
        assert told.progressed == [f"pid {builder.info.backend_pid} is building this index already; waiting for it"]
        assert indexes(item) == [("item_price", True)]


def test_a_leftover_that_turns_out_to_be_an_index_behind_the_lock_is_left_alone(item, other_connection, monkeypatch):
    """Whoever finished it between the look and the lock on the table has done the work."""
    item.execute("CREATE INDEX item_price ON item (price)")
    item.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'item_price'::regclass")
    other_connection.execute("BEGIN")
    other_connection.execute("LOCK TABLE item IN SHARE UPDATE EXCLUSIVE MODE")
    told = Told()
    migrating = Migrating(lambda connection: Runner(connection, told).run((INDEX,)))
    until(lambda: told.waits)
    other_connection.execute("UPDATE pg_index SET indisvalid = TRUE WHERE indexrelid = 'item_price'::regclass")
    other_connection.execute("COMMIT")
    migrating.result()
    assert told.progressed == []
    assert told.finished == [("item: index item_price", "was there already")]


def test_builds_of_two_sessions_on_one_table_do_not_end_each_other(item, other_connection, connect):
    """Who waits for the table inside CREATE INDEX holds a snapshot, which the one that has the table waits for."""
    other_connection.execute("BEGIN")
    other_connection.execute("LOCK TABLE item IN SHARE UPDATE EXCLUSIVE MODE")
    builder = connect()
    build = Worker(lambda: builder.execute("CREATE INDEX CONCURRENTLY item_price ON item (price)"))
    until(lambda: is_waiting_for_a_lock(item, builder.info.backend_pid))
    told = Told()
    migrating = Migrating(lambda connection: Runner(connection, told).run((INDEX,)))
    until(lambda: told.waits)
    other_connection.execute("COMMIT")
    build.result()
    migrating.result()
    ((why, detail),) = told.finished
    assert why == "item: index item_price"
    assert detail.startswith(("was there already", "of which "))
    assert indexes(item) == [("item_price", True)]


def test_a_unique_build_that_fails_leaves_nothing_behind(database, item):
    item.execute("UPDATE item SET price = 1 WHERE id = 2")
    with pytest.raises(StepFailed) as caught:
        run(database, UNIQUE)
    assert str(caught.value) == (
        'item: unique index item_price failed: could not create unique index "item_price"\n'
        "DETAIL:  Key (price)=(1) is duplicated.\n"
        'Statement: CREATE UNIQUE INDEX CONCURRENTLY "item_price" ON "item" ("price")\n'
        "What was done before this step stays and is skipped the next time. Fix the cause and run the same command "
        "again."
    )
    assert indexes(item) == []


def test_the_progress_of_a_build_is_read_and_told(item, other_connection, monkeypatch):
    monkeypatch.setattr(build_progress, "AFTER", 0.01)
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id = 1")
    told = Told()
    migrating = Migrating(lambda connection: Runner(connection, told).run((INDEX,)))
    until(lambda: told.progressed)
    other_connection.execute("COMMIT")
    migrating.result()
    pid = other_connection.info.backend_pid
    assert re.fullmatch(
        rf"waiting for writers before build, 0 of 1 gone \(pid {pid} \(client backend, idle in transaction for \d s: "
        r"UPDATE item SET price = \? WHERE id = \?\)\)",
        told.progressed[0],
    )


def test_a_build_whose_backend_is_ended_is_done_anew_by_the_next_run(item, other_connection):
    old_snapshot(other_connection)
    migrating = Migrating(lambda connection: run(connection, UNIQUE))
    until(lambda: indexes(item))
    item.execute("SELECT pg_terminate_backend(%s)", [migrating.pid])
    with pytest.raises(StepFailed) as caught:
        migrating.result()
    assert (
        told(caught.value) == "item: unique index item_price failed: the connection to the server was lost ("
        "terminating connection due to administrator command)"
    )
    assert indexes(item) == [("item_price", False)]
    other_connection.execute("COMMIT")
    Migrating(lambda connection: run(connection, UNIQUE)).result()
    assert indexes(item) == [("item_price", True)]


# Partitioned tables.


@pytest.fixture
def nested(database, connect):
    """A table with a partition, and a partition that is partitioned itself."""
    session = connect()
    session.execute("CREATE TABLE item (id int, price int) PARTITION BY RANGE (id)")
    session.execute("CREATE TABLE item_low PARTITION OF item FOR VALUES FROM (0) TO (10)")
    session.execute("CREATE TABLE item_high PARTITION OF item FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (id)")
    session.execute('CREATE TABLE "item High 1" PARTITION OF item_high FOR VALUES FROM (10) TO (20)')
    session.execute("CREATE TABLE item_high_2 PARTITION OF item_high FOR VALUES FROM (20) TO (30)")
    session.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 29) n")
    return session


PARTS = ["item", "item_low", "item_high", '"item High 1"', "item_high_2"]
BY_ID = BuildIndex(why="item: index by_id", table='"item"', name="by_id", definition='("id", "price")', unique=True)


def test_a_partitioned_table_gets_a_valid_index_part_by_part(database, nested):
    told = run(database, BY_ID)
    assert [indexes(nested, part) for part in PARTS] == [
        [("by_id", True)],
        [("item_low_by_id", True)],
        [("item_high_by_id", True)],
        [("item High 1_item_high_by_id", True)],
        [("item_high_2_item_high_by_id", True)],
    ]
    assert [why for why, _ in told.finished] == [
        "item: index by_id: the partitioned table's own, empty until its partitions are attached",
        "item: index by_id: partition item_low",
        "item: index by_id: attach partition item_low",
        "item: index by_id: partition item_high: the partitioned table's own, empty until its partitions are attached",
        "item: index by_id: partition item_high: partition item High 1",
        "item: index by_id: partition item_high: attach partition item High 1",
        "item: index by_id: partition item_high: partition item_high_2",
        "item: index by_id: partition item_high: attach partition item_high_2",
        "item: index by_id: partition item_high",
        "item: index by_id: attach partition item_high",
        "item: index by_id",
    ]
    nested.execute("CREATE TABLE item_new PARTITION OF item FOR VALUES FROM (30) TO (40)")
    assert [valid for _, valid in indexes(nested, "item_new")] == [True]


def test_a_partitioned_build_that_was_ended_goes_on_where_it_stopped(database, nested, other_connection, connect):
    run(database, Statement(why="", sql='CREATE UNIQUE INDEX "by_id" ON ONLY "item" ("id", "price")', locks={}))
    old_snapshot(other_connection)
    migrating = Migrating(lambda connection: run(connection, BY_ID))
    until(lambda: indexes(nested, "item_low"))
    nested.execute("SELECT pg_terminate_backend(%s)", [migrating.pid])
    with pytest.raises(StepFailed):
        migrating.result()
    other_connection.execute("COMMIT")
    Migrating(lambda connection: run(connection, BY_ID)).result()
    assert [[valid for _, valid in indexes(nested, part)] for part in PARTS] == [[True]] * 5


def test_a_unique_build_that_fails_in_one_partition_leaves_nothing_in_any(database, nested):
    """Else the partitions that were done would refuse duplicates which the old release may write."""
    nested.execute("INSERT INTO item VALUES (25, 25)")
    with pytest.raises(StepFailed) as caught:
        run(database, BY_ID)
    assert "Key (id, price)=(25, 25) is duplicated." in str(caught.value)
    assert [indexes(nested, part) for part in PARTS] == [[]] * 5


def test_a_partition_that_came_with_an_index_gets_no_other(database, nested):
    """Created while the index is built, it has one already; a second could not be attached."""
    nested.execute('CREATE UNIQUE INDEX by_id ON ONLY item ("id", "price")')
    nested.execute("CREATE TABLE item_new PARTITION OF item FOR VALUES FROM (30) TO (40)")
    run(database, BY_ID)
    assert [valid for part in (*PARTS, "item_new") for _, valid in indexes(nested, part)] == [True] * 6


def test_indexes_of_partitions_whose_names_are_taken_get_others(database, nested):
    """The index of that name was renamed, for this one to take its place; those of its partitions were not."""
    run(database, BY_ID)
    nested.execute("ALTER INDEX by_id RENAME TO by_id_until_the_contract")
    nested.execute("CREATE TABLE item_low_by_id1 ()")
    run(database, BY_ID)
    assert [indexes(nested, part) for part in PARTS[:2]] == [
        [("by_id", True), ("by_id_until_the_contract", True)],
        [("item_low_by_id", True), ("item_low_by_id2", True)],
    ]


ADD_UNIQUE = AddUnique(
    why="item: unique", table='"item"', name="by_id", columns=('"id"', '"price"'), deferrable=" DEFERRABLE"
)
OWN_BY_ID = replace(BY_ID, for_constraint=True)


def uniques(session, table):
    return session.execute(
        "SELECT conname, condeferrable, conislocal, (SELECT indisvalid FROM pg_index WHERE indexrelid = conindid)"
        f" FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'u' ORDER BY 1"
    ).fetchall()


def test_a_partitioned_table_gets_a_unique_constraint_part_by_part(database, nested):
    run(database, OWN_BY_ID)
    assert [indexes(nested, part) for part in PARTS] == [[]] * 5
    told = run(database, ADD_UNIQUE)
    assert [uniques(nested, part) for part in PARTS] == [
        [("by_id", True, True, True)],
        [("item_low_id_price_key", True, False, True)],
        [("item_high_id_price_key", True, False, True)],
        [("item High 1_id_price_key", True, False, True)],
        [("item_high_2_id_price_key", True, False, True)],
    ]
    assert [why for why, _ in told.finished][:4] == [
        "item: unique: the partitioned table's own, empty until its partitions are attached",
        "item: unique: index of partition item_low",
        "item: unique: partition item_low",
        "item: unique: attach partition item_low",
    ]
    nested.execute("ALTER TABLE item DROP CONSTRAINT by_id")
    assert [uniques(nested, part) for part in PARTS] == [[]] * 5


def test_a_unique_constraint_that_fails_in_one_partition_leaves_nothing_in_any(database, nested):
    nested.execute("INSERT INTO item VALUES (25, 25)")
    with pytest.raises(StepFailed) as caught:
        run(database, ADD_UNIQUE)
    assert "Key (id, price)=(25, 25) is duplicated." in str(caught.value)
    assert [indexes(nested, part) for part in PARTS] == [[]] * 5


def test_a_unique_constraint_without_the_partition_key_is_refused_before_anything_is_built(database, nested):
    with pytest.raises(StepFailed, match="must include all partitioning columns"):
        run(database, replace(ADD_UNIQUE, columns=('"price"',)))
    assert [indexes(nested, part) for part in PARTS] == [[]] * 5


def test_an_index_of_a_partitioned_table_is_dropped_whole(database, nested):
    drop = DropIndex(why="item: drop index by_id", table='"item"', name="by_id")
    run(database, BY_ID)
    run(database, drop)
    assert [indexes(nested, part) for part in PARTS] == [[]] * 5
    assert run(database, drop).finished == [("item: drop index by_id", "was gone already")]


def test_an_index_is_found_and_dropped_by_the_search_path(database, connect):
    session = connect()
    session.execute("CREATE SCHEMA app")
    for schema in ("public", "app"):
        session.execute(f"CREATE TABLE {schema}.item (id int, price int)")
        session.execute(f"CREATE INDEX item_price ON {schema}.item (price)")
    with database.cursor() as cursor:
        cursor.execute("SET search_path = app")
    run(database, DropIndex(why="drop", table='"item"', name="item_price"))
    assert indexes(session, "app.item") == []
    assert indexes(session, "public.item") == [("item_price", True)]
    run(database, INDEX)
    assert indexes(session, "app.item") == [("item_price", True)]


def test_an_index_whose_name_another_schema_has_before_its_own_is_dropped(database, item):
    """The search_path finds the table in one schema, and something of the index's name in one that comes before."""
    item.execute("CREATE INDEX item_price ON item (price)")
    item.execute("CREATE SCHEMA app; CREATE TABLE app.thing (price int)")
    item.execute("CREATE INDEX item_price ON app.thing (price)")
    with database.cursor() as cursor:
        cursor.execute("SET search_path = app, public")
    run(database, DropIndex(why="drop", table='"item"', name="item_price"))
    assert indexes(item) == []
    assert indexes(item, "app.thing") == [("item_price", True)]


# Validation.


def test_rows_that_contradict_leave_no_constraint_that_refuses_a_write(database, item):
    item.execute("UPDATE item SET price = -1 WHERE id < 9")
    item.execute("ALTER TABLE item ADD CONSTRAINT positive CHECK (price > 0) NOT VALID")
    with pytest.raises(StepFailed) as caught:
        run(database, VALIDATE)
    assert str(caught.value).splitlines()[0] == (
        'item: no price is negative failed: check constraint "positive" of relation "item" is violated by some row'
    )
    assert constraints(item) == []


SLOWLY = """CREATE OR REPLACE FUNCTION slowly(int) RETURNS bool LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep({}); RETURN true; END'"""
VALIDATES = (
    "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE 'ALTER TABLE%%VALIDATE%%' AND state = 'active'"
)


def test_a_validation_whose_backend_is_ended_says_so_and_can_be_run_again(item):
    """The connection is gone, so nothing can be cleaned up; and no row has contradicted."""
    item.execute(SLOWLY.format(10))
    item.execute("ALTER TABLE item ADD CONSTRAINT positive CHECK (slowly(price)) NOT VALID")
    migrating = Migrating(lambda connection: run(connection, VALIDATE))
    until(lambda: item.execute(VALIDATES, [migrating.pid]).fetchone())
    item.execute("SELECT pg_terminate_backend(%s)", [migrating.pid])
    with pytest.raises(StepFailed) as caught:
        migrating.result()
    assert (
        told(caught.value) == "item: no price is negative failed: the connection to the server was lost ("
        "terminating connection due to administrator command)"
    )
    assert constraints(item) == [("positive", False)]
    item.execute(SLOWLY.format(0))
    Migrating(lambda connection: run(connection, VALIDATE)).result()
    assert constraints(item) == [("positive", True)]


# Proofs.


@pytest.mark.parametrize(
    ("limit", "named"),
    [
        (1, "1 1"),
        (5, "1 1, 2 2, 3 3, 4 4, 5 5"),
        (6, "1 1, 2 2, 3 3, 4 4, 5 5 and 1 more"),
        (20, "1 1, 2 2, 3 3, 4 4, 5 5 and 15 more"),
    ],
)
def test_a_proof_names_the_rows_that_contradict_it(database, item, limit, named):
    query = f"SELECT id, price FROM item ORDER BY id LIMIT {limit}"
    with pytest.raises(StepFailed) as caught:
        run(database, Proof(why="item: nothing is for sale", query=query, failure="For sale are {rows}."))
    assert str(caught.value) == f"For sale are {named}."


def test_a_proof_without_a_row_holds(database, item):
    proof = Proof(why="item: nothing is free", query="SELECT id FROM item WHERE price = 0", failure="Free are {rows}.")
    assert run(database, proof).finished == [("item: nothing is free", "")]


# Backfills.

FILL = Backfill(
    why="item: fill note", table='"item"', key=('"id"',), guard='"note" IS NULL', assign="\"note\" = 'no. ' || id"
)
KEYS = {
    "numbers": ("int", '"a"', "SELECT n FROM generate_series(1, 50) n"),
    "negative numbers": ("bigint", '"a"', "SELECT n * 1000000007::bigint FROM generate_series(-25, 24) n"),
    "uuids": ("uuid", '"a"', "SELECT gen_random_uuid() FROM generate_series(1, 50)"),
    "texts": ("text", '"a"', "SELECT chr(39) || '% ' || n FROM generate_series(1, 50) n"),
    "moments": ("timestamptz", '"a"', "SELECT now() + n * interval '1 month' FROM generate_series(1, 50) n"),
    "two columns": ("int, b uuid", '"a", "b"', "SELECT n % 7, gen_random_uuid() FROM generate_series(1, 50) n"),
    "nothing": ("int", '"a"', "SELECT 1 WHERE FALSE"),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_every_row_is_filled_whatever_its_key_and_the_size_of_a_batch(database, item, kind, size):
    types, key, rows = KEYS[kind]
    item.execute(f"CREATE TABLE stock (a {types}, total int, PRIMARY KEY ({key}))")
    item.execute(f"INSERT INTO stock {rows}")
    columns = tuple(key.split(", "))
    step = Backfill(why="fill", table='"stock"', key=columns, guard='"total" IS NULL', assign='"total" = 1')
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": size}):
        ((_, detail),) = run(database, step).finished
    expected = 0 if kind == "nothing" else 50
    assert item.execute("SELECT count(*), sum(total) FROM stock").fetchone() == (expected, expected or None)
    assert detail == "no row to fill" if kind == "nothing" else detail.startswith("50 rows, ")
    assert run(database, step).finished == [("fill", "no row to fill")]


def test_a_batch_waits_for_the_row_locks_of_others_and_holds_nobody_up(item, other_connection):
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id = 7")
    migrating = Migrating(lambda connection: run(connection, FILL))
    until(lambda: is_waiting_for_a_lock(item, migrating.pid))
    until(lambda: not is_waiting_for_a_lock(item, migrating.pid))
    item.execute("UPDATE item SET price = 0 WHERE id = 1")  # a row that the batch had before it gave way
    other_connection.execute("COMMIT")
    migrating.result()
    assert item.execute("SELECT count(*) FROM item WHERE note = 'no. ' || id").fetchone() == (20,)


def test_a_batch_that_never_gets_its_rows_gives_up_and_says_so(item, other_connection):
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET price = 0 WHERE id = 7")
    settings = {"LOCK_RETRY_FOR": 3, "BACKFILL_BATCH_SIZE": 1}
    with override_settings(SAFEMIGRATIONS=settings), pytest.raises(LockNotAcquired) as caught:
        Migrating(lambda connection: run(connection, FILL)).result()
    assert str(caught.value) == (
        "Rows stayed locked by another transaction for 3 s. What was filled stays filled. End that transaction and run "
        "the same command again."
    )
    assert item.execute("SELECT count(note) FROM item").fetchone() == (19,)


def doubled(row):
    return None if row.price == 13 else f"{row.price * 2} % '"


def apps(**fields):
    """The models of a migration's state: shop.Item on the table item."""
    state = ProjectState()
    fields = {"id": models.IntegerField(primary_key=True), "price": models.IntegerField(), **fields}
    state.add_model(ModelState("shop", "Item", list(fields.items()), {"db_table": "item"}))
    return state.apps


BY_FUNCTION = Backfill(
    why="item: fill note",
    table='"item"',
    key=('"id"',),
    guard='"note" IS NULL',
    function=RowFunction(
        path="tests.test_runner.doubled",
        takes_row=True,
        app_label="shop",
        migration="0002",
        model="Item",
        field="note",
        column='"note"',
    ),
)


@pytest.mark.parametrize("size", [1, 6, 1000])
def test_a_function_fills_row_by_row(database, item, size):
    item.execute("DELETE FROM item WHERE price = 13")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": size}):
        Runner(database, Told(), apps(note=models.TextField())).run((BY_FUNCTION,))
    assert item.execute("SELECT count(*) FROM item WHERE note = price * 2 || ' % ''' ").fetchone() == (19,)


def test_a_function_that_gives_none_for_a_field_that_is_not_null_is_an_error(database, item):
    runner = Runner(database, Told(), apps(note=models.TextField()))
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 4}), pytest.raises(StepFailed) as caught:
        runner.run((BY_FUNCTION,))
    assert str(caught.value) == (
        "tests.test_runner.doubled gave None for shop.Item 13, and note can't be null. Fix the function and run the "
        "same command again; rows that are filled stay filled."
    )
    (filled,) = item.execute("SELECT count(note) FROM item").fetchone()
    assert 4 <= filled < 20
    item.execute("UPDATE item SET price = 14 WHERE id = 13")
    runner.run((BY_FUNCTION,))
    assert item.execute("SELECT count(note) FROM item").fetchone() == (20,)


def test_a_function_of_rows_whose_key_is_a_uuid(database, item):
    item.execute("DROP TABLE item")
    item.execute("CREATE TABLE item (id uuid PRIMARY KEY, price int, note text)")
    item.execute("INSERT INTO item SELECT gen_random_uuid(), n + 100 FROM generate_series(1, 20) n")
    fields = {"id": models.UUIDField(primary_key=True, default=uuid.uuid4), "note": models.TextField()}
    Runner(database, Told(), apps(**fields)).run((BY_FUNCTION,))
    assert item.execute("SELECT count(*) FROM item WHERE note = price * 2 || ' % ''' ").fetchone() == (20,)
