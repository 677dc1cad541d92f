"""The contract queue: what is left stands there once, in order, until it is done."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db.migrations import Migration
from django.db.migrations.recorder import MigrationRecorder

from safemigrations.contracts import carrying_out, queue
from safemigrations.contracts.held import Holder, freed_by, held_by, holder_of, kept_by
from safemigrations.contracts.table import Status
from safemigrations.errors import StepFailed
from safemigrations.plans import claims
from safemigrations.plans.indexes import DropIndex
from safemigrations.plans.steps import Proof, Statement
from safemigrations.postgres.lock import Lock
from safemigrations.running.run import Report
from tests.contention import Migrating, Told, until

WAITS = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
NOTE = claims.column('"item"', "note")
OLD = claims.index('"item"', "old")
TABLE_A, TABLE_B = claims.table('"a"'), claims.table('"b"')


def insert(number, **more):
    """A step that leaves a trace, and can be run twice only by mistake."""
    return Statement(why=f"log {number}", sql=f"INSERT INTO log VALUES ({number})", locks={}, **more)


def put(connection, number, *, app_label="shop", migration="0002", plan=None):
    queue.put(
        connection,
        app_label=app_label,
        migration=migration,
        operation=f"Change({number})",
        label=f"change {number}",
        plan=plan or (insert(number),),
    )


def labels(connection):
    return [str(row) for row in queue.open_rows(connection)]


@pytest.fixture
def log(database, other_connection):
    other_connection.execute("CREATE TABLE log (number int)")

    def numbers():
        return [number for (number,) in other_connection.execute("SELECT number FROM log").fetchall()]

    return numbers


def tables(connection):
    return [name for name in connection.introspection.table_names() if name.startswith("safemigrations")]


def test_the_table_is_made_when_something_is_left_for_the_first_time(database):
    assert queue.open_rows(database) == []
    assert queue.holders(database) == []
    assert carrying_out.contract(database, Report()) == 0
    assert tables(database) == []
    put(database, 1)
    assert tables(database) == ["safemigrations_contract"]


def test_two_sessions_that_make_the_table_at_the_same_moment(database, other_connection, connect):
    """Both found no table; the second one waits for the first and then finds it."""
    put(database, 1)
    other_connection.execute("CREATE TABLE kept (LIKE safemigrations_contract INCLUDING ALL)")
    other_connection.execute("DROP TABLE safemigrations_contract")
    other_connection.execute("BEGIN")
    other_connection.execute("ALTER TABLE kept RENAME TO safemigrations_contract")
    migrating = Migrating(lambda connection: put(connection, 2))
    watch = connect()  # in a transaction pg_stat_activity stays as it was first seen
    until(lambda: watch.execute(WAITS, [migrating.pid]).fetchone())
    other_connection.execute("COMMIT")
    migrating.result()
    assert labels(database) == ["shop.0002  change 2"]


def test_a_row_says_what_is_left_and_of_what(database):
    before = datetime.now(UTC)
    put(database, 1)
    (row,) = queue.open_rows(database)
    assert str(row) == "shop.0002  change 1"
    assert row.steps == (insert(1),)
    assert (row.app_label, row.migration, row.operation) == ("shop", "0002", "Change(1)")
    assert (row.database, row.status, row.attempts, row.last_error) == ("default", Status.PENDING, 0, "")
    assert before <= row.created_at <= datetime.now(UTC)
    assert row.started_at is row.finished_at is None


def test_what_is_put_twice_stands_there_once(database):
    put(database, 1)
    put(database, 2)
    put(database, 1, plan=(insert(1), insert(11)))
    assert labels(database) == ["shop.0002  change 1", "shop.0002  change 2"]
    assert queue.open_rows(database)[0].steps == (insert(1), insert(11))


def test_rows_are_run_in_the_order_in_which_they_were_left(database, log):
    for number in (3, 1, 2):
        put(database, number)
    assert carrying_out.contract(database, Report()) == 3
    assert log() == [3, 1, 2]
    assert carrying_out.contract(database, Report()) == 0
    rows = queue.rows(database)
    assert [(row.status, row.attempts, row.last_error) for row in rows] == [(Status.DONE, 1, "")] * 3
    assert all(row.started_at <= row.finished_at for row in rows)  # type: ignore[operator]


def test_a_row_that_fails_says_what_and_stays_and_so_do_those_behind_it(database, log):
    proof = Proof(why="nothing", query="SELECT 1 FROM log WHERE number = 1", failure="The log has {rows}.")
    put(database, 1)
    put(database, 2, plan=(proof, insert(2)))
    put(database, 3)
    for attempt in (1, 2):
        with pytest.raises(StepFailed, match=r"^The log has 1\.$"):
            carrying_out.contract(database, Report())
        failed, pending = queue.open_rows(database)
        assert (failed.status, failed.attempts, failed.last_error) == (Status.FAILED, attempt, "The log has 1.")
        assert pending.status == Status.PENDING
    assert log() == [1]
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM log")
    assert carrying_out.contract(database, Report()) == 2
    assert log() == [2, 3]
    done = queue.rows(database, operation="Change(2)").get()
    assert (done.status, done.attempts, done.last_error) == (Status.DONE, 3, "")


def test_a_row_whose_backend_was_ended_is_run_again(database, log, other_connection, connect):
    other_connection.execute("BEGIN")
    other_connection.execute("LOCK TABLE log")
    put(database, 1)
    migrating = Migrating(lambda connection: carrying_out.contract(connection, Report()))
    watch = connect()  # in a transaction pg_stat_activity stays as it was first seen
    until(lambda: watch.execute(WAITS, [migrating.pid]).fetchone())
    assert queue.open_rows(database)[0].status == Status.RUNNING
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [migrating.pid])
    with pytest.raises(Exception, match="terminating connection"):
        migrating.result()
    other_connection.execute("COMMIT")
    (row,) = queue.open_rows(database)
    assert row.status == Status.FAILED
    told = row.last_error.replace("consuming input failed: ", "")  # so psycopg before 3.3 begins
    assert told.startswith(
        "log 1 failed: the connection to the server was lost (terminating connection due to administrator command)\n"
    )
    assert carrying_out.contract(database, Report()) == 1
    assert log() == [1]
    assert queue.rows(database).get().attempts == 2


def test_a_row_that_somebody_interrupted_says_so(database, log, monkeypatch):
    put(database, 1)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("safemigrations.contracts.carrying_out.Runner.run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            carrying_out.contract(database, Report())
    assert [(row.status, row.last_error) for row in queue.open_rows(database)] == [(Status.FAILED, "interrupted")]
    assert carrying_out.contract(database, Report()) == 1
    assert log() == [1]


def test_only_what_recorded_migrations_left_is_run(database, log):
    """A migrate that was killed between leaving a row and recording its migration comes again, and finishes first."""
    put(database, 1, app_label="auth", migration="0001_initial")
    put(database, 2, app_label="auth", migration="0002_alter_permission_name_max_length")
    recorder = MigrationRecorder(database)
    recorder.ensure_schema()
    assert labels(database) == []
    recorder.record_applied("auth", "0002_alter_permission_name_max_length")
    assert labels(database) == ["auth.0002_alter_permission_name_max_length  change 2"]
    assert carrying_out.contract(database, Report()) == 1
    assert log() == [2]


def test_what_a_migration_left_that_was_squashed_and_deleted_is_still_run(database, log):
    put(database, 1, migration="0001_long_gone")
    MigrationRecorder(database).ensure_schema()
    assert carrying_out.contract(database, Report()) == 1
    assert log() == [1]


def test_the_open_rows_that_hold_a_name(database, log):
    drop = DropIndex(why="drop", table='"item"', name="old", frees=(OLD,))
    put(database, 1, plan=(insert(1, frees=(NOTE,)), drop))
    put(database, 2, plan=(Statement(why="w", sql="SELECT 1", locks={'"b"': Lock.SHARE, '"a"': Lock.SHARE}),))
    item = claims.table('"item"')
    first = Holder("shop", "0002", "change 1", frozenset({NOTE, OLD, item}), frozenset({NOTE, OLD}))
    second = Holder("shop", "0002", "change 2", frozenset({TABLE_A, TABLE_B}), frozenset())
    holders = queue.holders(database)
    held = {claim: holder_of(claim, holders) for claim in (NOTE, OLD, TABLE_A, TABLE_B)}
    assert held == {NOTE: first, OLD: first, TABLE_A: second, TABLE_B: second}
    assert holder_of(claims.column('"item"', "size"), holders) is None
    queue.rows(database).update(status=Status.DONE)
    assert queue.holders(database) == []


def test_a_migration_does_not_wait_for_what_it_left_itself_before_it_was_killed(database):
    put(database, 1)
    (holder,) = queue.holders(database)
    squashed = Migration("0003_squashed", "shop")
    squashed.replaces = [("shop", "0002")]  # type: ignore[misc]
    assert holder.is_left_by(Migration("0002", "shop"))
    assert holder.is_left_by(squashed)
    assert not holder.is_left_by(Migration("0002", "other"))
    assert not holder.is_left_by(Migration("0003", "shop"))


def test_what_a_migration_leaves_holds_less_against_its_own_operations():
    """A table that the contract gives another name, and a column that it only alters, don't count."""
    locks = {'"a"': Lock.SHARE, '"b"': Lock.SHARE}
    plan = (insert(1, works_on=(NOTE,), takes=(TABLE_A,)), Statement(why="w", sql="", locks=locks, frees=(OLD,)))
    assert held_by(plan) == {NOTE, OLD, TABLE_A, TABLE_B}
    assert kept_by(plan) == {OLD, TABLE_B}
    assert freed_by(plan) == {OLD}


def test_what_a_later_row_drops_anyway_is_not_done_before(database, log):
    """Else the new release, which no longer knows the column, would meet its NOT NULL in between."""
    put(database, 1, plan=(insert(1, works_on=(NOTE,)), insert(11)))
    put(database, 2, plan=(insert(2, frees=(NOTE,)),))
    told = Told()
    assert carrying_out.contract(database, told) == 2
    assert log() == [11, 2]
    assert [row.status for row in queue.rows(database)] == [Status.DONE] * 2


def test_what_a_later_row_drops_with_its_table_is_not_done_before(database, log):
    put(database, 1, plan=(insert(1, works_on=(NOTE,)), insert(11, works_on=(claims.column('"order item"', "note"),))))
    put(database, 2, plan=(insert(2, frees=(claims.table('"item"'),)),))
    carrying_out.contract(database, Report())
    assert log() == [11, 2]


def test_what_has_been_dropped_is_not_worked_on_after_a_kill(database, log):
    """The run was ended when the later row was through, and before the earlier one was marked as done."""
    put(database, 1, plan=(insert(1, works_on=(NOTE,)),))
    put(database, 2, plan=(insert(2, frees=(NOTE,)),))
    carrying_out.contract(database, Report())
    queue.rows(database, operation="Change(1)").update(status=Status.RUNNING)
    assert carrying_out.contract(database, Report()) == 1
    assert log() == [2]
    assert queue.open_rows(database) == []


def test_each_database_has_its_own_queue(two_databases):
    default, other = two_databases
    put(default, 1)
    put(other, 2)
    assert labels(default) == ["shop.0002  change 1"]
    assert labels(other) == ["shop.0002  change 2"]
    assert queue.open_rows(other)[0].database == "other"


def test_the_queue_stands_where_django_migrations_stands(database, other_connection):
    other_connection.execute("CREATE SCHEMA tenant")
    put(database, 1)
    with database.cursor() as cursor:
        cursor.execute("SET search_path = tenant, public")
    MigrationRecorder(database).ensure_schema()
    assert labels(database) == []
    put(database, 2)
    assert labels(database) == ["shop.0002  change 2"]
    assert other_connection.execute("SELECT label FROM public.safemigrations_contract").fetchall() == [("change 1",)]
