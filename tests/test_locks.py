"""How a table lock is taken without anybody noticing: real locks in other sessions, ordinary queries beside them."""

from __future__ import annotations

import re
from io import StringIO
from itertools import islice

import psycopg
import pytest
from django.core.management.base import OutputWrapper
from django.core.management.color import no_style
from django.db import DatabaseError, OperationalError, transaction
from django.test import override_settings

from safemigrations.errors import LockNotAcquired
from safemigrations.plans.copies import CopyIndexes
from safemigrations.plans.steps import Statement, Together
from safemigrations.postgres.lock import Lock
from safemigrations.running import transactions
from safemigrations.running.locking import blockers, locks, patience
from safemigrations.running.locking.blockers import Blocker
from safemigrations.running.locking.patience import Attempt
from safemigrations.running.runner import Runner
from safemigrations.running.telling.report import ConsoleReport
from safemigrations.typed import server_version
from tests.contention import (
    AT_WORK,
    AUTOVACUUM_OFTEN,
    Migrating,
    Told,
    autovacuum,
    is_waiting_for_a_lock,
    traffic,
    until,
)

OWN_SERVER = AUTOVACUUM_OFTEN
READ = "SELECT count(*) FROM item WHERE id < 5"
WRITE = "UPDATE item SET price = price + 1 WHERE id = 1"
END_AUTOVACUUM = f"SELECT pg_terminate_backend(pid) FROM ({AT_WORK}) found"
ADD = Statement(
    why="item: add column size",
    sql='ALTER TABLE "item" ADD COLUMN "size" int',
    locks={'"item"': Lock.ACCESS_EXCLUSIVE},
)


@pytest.fixture
def item(database, connect):
    """A session in a database with a table item of some hundred pages."""
    session = connect()
    session.execute("CREATE TABLE item (id int PRIMARY KEY, price int, note text) WITH (fillfactor = 50)")
    session.execute("INSERT INTO item SELECT n, 0, repeat('x', 1000) FROM generate_series(1, 1000) n")
    return session


def has_column(session, column="size", table="item"):
    query = "SELECT FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"
    return session.execute(query, [table, column]).fetchone() is not None


def hold(session, lock="ACCESS SHARE", table="item"):
    """A transaction that holds a lock until it is rolled back."""
    session.execute("BEGIN")
    session.execute(f"LOCK TABLE {table} IN {lock} MODE")
    return session


def is_old(session, pid):
    """Has the transaction of this backend become a long one?"""
    query = "SELECT clock_timestamp() - xact_start > '1.1 s' FROM pg_stat_activity WHERE pid = %s"
    return session.execute(query, [pid]).fetchone() == (True,)


# The tries.


def test_the_first_tries_queue_nobody(database, item, other_connection):
    hold(other_connection)
    tries = list(islice(locks.attempts(database, ADD.locks, lambda who, seconds: None), 3))
    assert tries == [Attempt(None)] * 3
    for attempt in tries:
        with pytest.raises(OperationalError, match="could not obtain lock") as caught, transaction.atomic():
            locks.acquire(database, ADD.locks, attempt)
        assert locks.is_retried(caught.value)
    assert item.execute("SELECT FROM pg_locks WHERE NOT granted AND relation = 'item'::regclass").fetchall() == []


@pytest.mark.parametrize(("setting", "usual"), [(0.2, 0.2), (0.05, 0.05), (30, 0.5)])
def test_a_try_lasts_lock_timeout_and_never_so_long_that_it_would_win_a_deadlock(database, item, setting, usual):
    """Half of deadlock_timeout: PostgreSQL then ends this side, and no request."""
    with override_settings(SAFEMIGRATIONS={"LOCK_TIMEOUT": setting}):
        tries = locks.attempts(database, ADD.locks, lambda who, seconds: None)
        places = (attempt.timeout for attempt in tries if attempt.timeout)  # nobody is in the way
        assert max(islice(places, 5)) == usual


def test_a_long_transaction_is_polled_and_not_queued_behind(database, item, other_connection):
    hold(other_connection)
    until(lambda: is_old(item, other_connection.info.backend_pid))
    tries = list(islice(locks.attempts(database, ADD.locks, lambda who, seconds: None), 6))
    assert tries == [Attempt(None)] * 6


def lock_both(connection):
    """A try that doesn't get both of its locks: how it ended, and the timeouts that it gave its statement."""
    sent = []

    def remember(execute, sql, *args):
        sent.append(sql)
        return execute(sql, *args)

    wanted = {'"item"': Lock.ACCESS_EXCLUSIVE, '"child"': Lock.ACCESS_EXCLUSIVE}
    with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.execute_wrapper(remember):
        locks.acquire(connection, wanted, Attempt(0.5))
    assert locks.is_retried(caught.value)
    return str(caught.value).splitlines()[0], [int(ms) for sql in sent for ms in re.findall(r"_timeout = (\d+)", sql)]


def test_a_machine_that_stalls_once_it_has_the_locks_is_tried_again(database, item):
    """The statement timeout of the LOCK still counts when it is switched off."""
    stalls: list[str] = []

    def stall(execute, sql, *args):
        if sql.endswith("statement_timeout = 0") and not stalls:
            stalls.append(sql)
            sql = f"SELECT pg_sleep(1); {sql}"
        return execute(sql, *args)

    with database.execute_wrapper(stall):
        Runner(database, Told()).run((ADD,))
    assert stalls
    assert has_column(item)


def assert_it_lasts_half_a_second(ended, timeouts):
    """The lock timeout counts anew for each table, that of the statement does not."""
    assert ended == "canceling statement due to statement timeout"
    assert len(timeouts) == 2
    assert 0 < max(timeouts) <= 500


def test_a_try_lasts_as_long_as_its_timeout_however_many_tables_it_locks(item, other_connection, connect):
    """Who queues behind the first table waits for the second one too."""
    item.execute("CREATE TABLE child (id int)")
    hold(other_connection)
    hold(connect(), table="child")
    migrating = Migrating(lock_both)
    until(lambda: has_waited(item, migrating.pid))
    other_connection.execute("ROLLBACK")
    assert_it_lasts_half_a_second(*migrating.result())


def test_partitions_do_not_multiply_the_time_that_a_try_lasts(connect, other_connection):
    session = connect()
    session.execute("CREATE TABLE item (id int) PARTITION BY LIST (id)")
    session.execute("CREATE TABLE item_1 PARTITION OF item FOR VALUES IN (1)")
    session.execute("CREATE TABLE child PARTITION OF item FOR VALUES IN (2)")
    hold(other_connection, table="item_1")
    hold(connect(), table="child")
    migrating = Migrating(lock_both)
    until(lambda: has_waited(session, migrating.pid))
    other_connection.execute("ROLLBACK")
    assert_it_lasts_half_a_second(*migrating.result())


def has_waited(session, pid):
    """Has this backend waited for most of half a second?"""
    query = "SELECT clock_timestamp() - query_start > '0.4 s' FROM pg_stat_activity WHERE pid = %s AND query ~ '^LOCK'"
    return session.execute(query, [pid]).fetchone() == (True,)


def test_the_parent_is_locked_before_the_child(database, item, other_connection):
    item.execute("CREATE TABLE child (item_id int REFERENCES item)")
    hold(other_connection)
    other_connection.execute("LOCK TABLE item IN ROW EXCLUSIVE MODE")

    def attempt(connection):
        wanted = {'"item"': Lock.SHARE_ROW_EXCLUSIVE, '"child"': Lock.SHARE_ROW_EXCLUSIVE}
        with transaction.atomic():
            locks.acquire(connection, wanted, Attempt(20))
            return held(item, migrating.pid)

    migrating = Migrating(attempt)
    until(lambda: is_waiting_for_a_lock(item, migrating.pid))
    assert held(item, migrating.pid) == [("item", "ShareRowExclusiveLock", False)]
    other_connection.execute("ROLLBACK")
    assert migrating.result() == [("child", "ShareRowExclusiveLock", True), ("item", "ShareRowExclusiveLock", True)]


def held(session, pid):
    query = """SELECT relation::regclass::text, mode, granted FROM pg_locks
        WHERE locktype = 'relation' AND pid = %s AND relation >= 16384 AND mode <> 'RowExclusiveLock' ORDER BY 1"""
    return session.execute(query, [pid]).fetchall()


# Who is in the way.


def test_blockers_are_those_whose_mode_conflicts_in_postgresql(database, item, other_connection):
    for mode in Lock:
        hold(other_connection, mode)
        for wanted in Lock:
            try:
                with transaction.atomic():
                    locks.acquire(database, {'"item"': wanted}, Attempt(None))
                refused = False
            except OperationalError:
                refused = True
            found = [blocker.pid for blocker in blockers.blockers(database, {'"item"': wanted})]
            assert found == [other_connection.info.backend_pid] * refused, (mode, wanted)
        other_connection.execute("ROLLBACK")


def test_a_blocker_is_named_with_all_that_helps_to_find_it(database, item, other_connection):
    other_connection.execute("SET application_name = 'celery'")
    hold(other_connection, "ROW EXCLUSIVE")
    other_connection.execute("SELECT   count(*), 'hunter2'\n FROM item -- hunter2, long enough to be cut somewhere")
    (blocker,) = blockers.blockers(database, ADD.locks)
    pid = other_connection.info.backend_pid
    assert 0 < blocker.age < 20
    assert blocker == Blocker(
        pid=pid,
        application="celery",
        backend="client backend",
        state="idle in transaction",
        age=blocker.age,
        query="SELECT   count(*), 'hunter2'\n FROM item -- hunter2, long enough to be cut somewhere",
        transaction=blocker.transaction,
    )
    who = f"pid {pid} (celery, idle in transaction for {blocker.age:.0f} s: "
    assert str(blocker) == f"{who}SELECT count(*), ? FROM item)"
    with override_settings(SAFEMIGRATIONS={"SHOW_QUERIES": True}):
        assert str(blocker) == f"{who}SELECT count(*), 'hunter2' FROM item -- hunter2, long enough…)"


def test_who_holds_a_partition_is_in_the_way_of_the_whole(database, other_connection, connect):
    session = connect()
    session.execute("CREATE TABLE item (id int) PARTITION BY LIST (id)")
    session.execute("CREATE TABLE half PARTITION OF item FOR VALUES IN (1, 2) PARTITION BY LIST (id)")
    session.execute("CREATE TABLE quarter PARTITION OF half FOR VALUES IN (1)")
    hold(other_connection, table="quarter")
    (blocker,) = blockers.blockers(database, ADD.locks)
    assert blocker.pid == other_connection.info.backend_pid


def test_a_look_within_a_transaction_is_not_the_one_before(database, other_connection):
    """PostgreSQL keeps what a transaction has seen of pg_stat_activity."""
    other_connection.execute("CREATE TABLE item (id int)")
    with transaction.atomic():
        for query in ("SELECT 1", "SELECT 2"):
            hold(other_connection)
            other_connection.execute(query)
            (blocker,) = blockers.blockers(database, ADD.locks)
            assert blocker.query == query
            other_connection.execute("ROLLBACK")


def test_a_prepared_transaction_is_named_by_what_ends_it(database, item, other_connection):
    if item.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
        pytest.skip("max_prepared_transactions is 0")
    hold(other_connection)
    other_connection.execute("PREPARE TRANSACTION 'nightly'")
    (blocker,) = blockers.blockers(database, ADD.locks)
    assert blocker.is_long
    assert str(blocker) == (
        f"a prepared transaction ('nightly', {blocker.age:.0f} s old; end it with COMMIT PREPARED or ROLLBACK PREPARED)"
    )
    other_connection.execute("ROLLBACK PREPARED 'nightly'")


def test_after_lock_retry_for_it_ends_and_says_who_holds_what(database, item, other_connection):
    other_connection.execute("SET application_name = 'report'")
    hold(other_connection)
    pid = other_connection.info.backend_pid
    with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.3}), pytest.raises(LockNotAcquired) as caught:
        Runner(database, Told()).run((ADD,))
    first, second, rest = str(caught.value).split("\n", 2)
    assert re.fullmatch(r'"item" could not be locked for \d s\. It is held by:', first)
    assert second.startswith(f"  pid {pid} (report, idle in transaction for ")
    assert rest == (
        "Nothing was changed by this step, and what was done before it stays. Wait for these transactions or end "
        "them with SELECT pg_terminate_backend(pid), then run the same command again."
    )
    other_connection.execute("ROLLBACK")
    Runner(database, Told()).run((ADD,))
    assert has_column(item)


# The procedure as a whole, beside readers and writers.


@pytest.fixture
def every_wait_is_told(monkeypatch):
    monkeypatch.setattr(transactions, "TELL_EVERY", 0.0)


@pytest.mark.usefixtures("every_wait_is_told")
def test_nobody_waits_while_a_long_transaction_holds_the_table(database, dsn, item, other_connection):
    other_connection.execute("SET application_name = 'report'")
    hold(other_connection)
    until(lambda: is_old(item, other_connection.info.backend_pid))
    told = Told()
    with traffic(dsn, READ, WRITE) as queries:
        migrating = Migrating(lambda connection: Runner(connection, told).run((ADD,)))
        until(lambda: len(told.waits) > 8)
        other_connection.execute("ROLLBACK")
        migrating.result()
        sent = queries.sent
        until(lambda: queries.sent > sent + 4)
    assert queries.worst < 0.25
    assert all(other_connection.info.backend_pid in {blocker.pid for blocker in who} for who in told.waits[:8])
    ((why, detail),) = told.finished
    assert why == "item: add column size"
    assert "s waiting for pid" in detail
    assert has_column(item)


def test_nobody_waits_long_for_a_step_among_short_transactions(database, dsn, item, connect):
    """Somebody always holds the table, each for a moment."""
    told = Told()
    with traffic(dsn, READ, WRITE, *["SELECT pg_sleep(0.05) FROM item WHERE id = 1"] * 4) as queries:
        Migrating(lambda connection: Runner(connection, told).run((ADD,))).result()
    assert queries.worst < 0.05 + 0.25 + 0.1
    assert has_column(item)


def test_a_wait_is_counted_once_where_a_step_becomes_others(database, item, other_connection):
    """As where each index of a column is built for its twin, too."""
    item.execute("CREATE INDEX prices ON item (price); ALTER TABLE item ADD twin int")
    copy = CopyIndexes(why="item: every index of price", table='"item"', column="price", twin="twin")
    report = ConsoleReport(OutputWrapper(StringIO()), no_style())
    hold(other_connection, "SHARE UPDATE EXCLUSIVE")
    migrating = Migrating(lambda connection: Runner(connection, report).run((copy,)))
    until(lambda: report.summary.waits)
    other_connection.rollback()
    migrating.result()
    assert list(report.summary.waits) == ["item: index prices for twin too"]


@pytest.mark.usefixtures("own_server")
def test_autovacuum_yields_and_nobody_waits_for_that(database, dsn, item):
    told = Told()
    with autovacuum(item) as pid, traffic(dsn, READ, WRITE) as queries:
        Runner(database, told).run((ADD,))
        assert (pid,) not in item.execute("SELECT pid FROM pg_locks WHERE relation = 'item'::regclass").fetchall()
    assert queries.worst < 0.25
    assert pid in {blocker.pid for who in told.waits for blocker in who}
    assert has_column(item)


@pytest.mark.usefixtures("own_server")
def test_autovacuum_yields_to_a_role_that_may_not_see_that_it_is_one(database, item):
    """Without pg_read_all_stats."""
    item.execute("CREATE ROLE deploy; ALTER TABLE item OWNER TO deploy; GRANT CREATE ON SCHEMA public TO deploy")
    with database.cursor() as cursor:
        cursor.execute("SET ROLE deploy")
    told = Told()
    with autovacuum(item) as pid, override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 20}):
        Runner(database, told).run((ADD,))
        assert (pid,) not in item.execute("SELECT pid FROM pg_locks WHERE relation = 'item'::regclass").fetchall()
    assert has_column(item)


@pytest.mark.usefixtures("every_wait_is_told", "own_server")
def test_an_autovacuum_that_prevents_wraparound_is_named_and_waited_for(database, dsn, item):
    told = Told()
    with autovacuum(item, to_prevent_wraparound=True) as pid, traffic(dsn, READ, WRITE) as queries:
        migrating = Migrating(lambda connection: Runner(connection, told).run((ADD,)))
        until(lambda: len(told.waits) > 4)
        (blocker,) = (one for one in told.waits[-1] if one.pid == pid)  # requests hold it for a moment, too
        assert blocker.is_long
        assert str(blocker) == (
            f"pid {pid} (autovacuum to prevent wraparound, which never yields; {blocker.age:.0f} s)"
        )
        until(lambda: item.execute(END_AUTOVACUUM) and not migrating.is_running)  # the launcher sends another one
        migrating.result()
    assert queries.worst < 0.25
    assert has_column(item)


def test_in_a_deadlock_it_is_the_step_that_gives_way(item, other_connection):
    """A request locks the child first, then the parent; the step has the parent and waits for the child."""
    item.execute("CREATE TABLE child (id int)")
    hold(other_connection, "ROW EXCLUSIVE", table="child")
    migrating = Migrating(lock_both)
    until(
        lambda: (
            ("item", "AccessExclusiveLock", True) in held(item, migrating.pid)
            and is_waiting_for_a_lock(item, migrating.pid)
        )
    )
    other_connection.execute("UPDATE item SET price = 1 WHERE id = 1")  # fails if the request is the victim
    other_connection.execute("COMMIT")
    assert_it_lasts_half_a_second(*migrating.result())
    assert item.execute("SELECT price FROM item WHERE id = 1").fetchone() == (1,)


UPDATES = ("UPDATE child SET n = 1 WHERE id = {0}", "UPDATE item SET price = 1 WHERE id = {0}")
CHILD_FIRST = "BEGIN; {}; SELECT pg_sleep(0.03); {}; COMMIT".format(*UPDATES)
PARENT_FIRST = "BEGIN; {}; SELECT pg_sleep(0.03); {}; COMMIT".format(*reversed(UPDATES))


@pytest.mark.parametrize("writers", [[CHILD_FIRST] * 5, [PARENT_FIRST] * 5], ids=["child first", "parent first"])
def test_a_step_gets_two_tables_in_whatever_order_requests_lock_them(database, dsn, item, writers):
    item.execute("CREATE TABLE child AS SELECT id, 0 AS n FROM item")
    both = Together(
        why="both",
        sql=("ALTER TABLE item ADD COLUMN size int", "ALTER TABLE child ADD COLUMN size int"),
        locks={'"item"': Lock.ACCESS_EXCLUSIVE, '"child"': Lock.ACCESS_EXCLUSIVE},
    )
    with traffic(dsn, *[writer.format(number) for number, writer in enumerate(writers, 1)]):
        Migrating(lambda connection: Runner(connection, Told()).run((both,))).result()
    assert has_column(item, table="child")


def test_who_always_holds_the_table_for_longer_than_lock_timeout_is_waited_for_in_the_end(
    database, dsn, item, monkeypatch
):
    """One after the other, so that there is never a gap, and never a transaction that is old."""
    monkeypatch.setattr(patience, "GROWS_AFTER", 1.0)
    told = Told()
    settings = {"LOCK_TIMEOUT": 0.1, "LOCK_TIMEOUT_MAX": 0.8}
    holders = [f"SELECT pg_sleep({0.3 + number / 50}) FROM item WHERE id = 1" for number in range(8)]
    with traffic(dsn, READ, *holders) as queries, override_settings(SAFEMIGRATIONS=settings):
        Migrating(lambda connection: Runner(connection, told).run((ADD,))).result()
    assert has_column(item)
    assert queries.worst < 0.8 + 0.2
    (text,) = set(told.progressed[:1])
    assert re.fullmatch(
        r"item: whoever uses it does so for long, one after the other; from now on queries may wait up to 0\.\d s "
        r"behind a try \(LOCK_TIMEOUT_MAX\)",
        text,
    )


def test_a_deadlock_over_rows_is_tried_again(database, item, other_connection):
    step = Together(
        why="two rows",
        sql=("UPDATE item SET price = 7 WHERE id = 1", "UPDATE item SET price = 7 WHERE id = 2"),
        locks={'"item"': Lock.ROW_EXCLUSIVE},
    )
    other_connection.execute("BEGIN")
    other_connection.execute("UPDATE item SET note = '' WHERE id = 2")
    migrating = Migrating(lambda connection: Runner(connection, Told()).run((step,)))
    until(lambda: is_waiting_for_a_lock(item, migrating.pid))
    other_connection.execute("UPDATE item SET note = '' WHERE id = 1")
    other_connection.execute("COMMIT")
    migrating.result()
    assert item.execute("SELECT price, note FROM item WHERE id < 3").fetchall() == [(7, ""), (7, "")]


def test_the_timeouts_of_a_session_are_its_own_again(database, item):
    with database.cursor() as cursor:
        cursor.execute("SET statement_timeout = '7s'; SET lock_timeout = '3s'")
    Runner(database, Told()).run((ADD,))
    with database.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        assert cursor.fetchone() == ("7s", "3s")


def test_another_error_than_a_lock_timeout_is_not_tried_again(database, item):
    told = Told()
    wrong = Statement(why="wrong", sql="ALTER TABLE item ADD COLUMN price int", locks=ADD.locks)
    with pytest.raises(Exception, match='column "price" of relation "item" already exists'):
        Runner(database, told).run((wrong,))
    assert told.waits == []


def test_sqlstate_is_read_from_both_drivers():
    class Psycopg2Error(Exception):
        pgcode = "40P01"

    error = DatabaseError("deadlock detected")
    error.__cause__ = Psycopg2Error()
    assert locks.is_retried(error)
    assert locks.sqlstate(psycopg.errors.LockNotAvailable()) == "55P03"
    assert locks.sqlstate(ValueError()) == ""


def test_autovacuum_is_waited_for_whatever_the_transaction_timeout(database, item, connect):
    """That timeout would end the whole session."""
    holder = connect()
    holder.execute("BEGIN; LOCK TABLE item IN SHARE UPDATE EXCLUSIVE MODE")
    with database.cursor() as cursor:
        if server_version(database) >= 170000:
            cursor.execute("SET transaction_timeout = '300ms'")
        with pytest.raises(OperationalError) as error, transaction.atomic():
            locks.evict_autovacuum(database, ['"item"'])
        assert locks.sqlstate(error.value) == locks.LOCK_NOT_AVAILABLE
        cursor.execute("SELECT 1")
