"""What a plan would send is asked of the database without leaving a trace, and left open where that can't be known."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.plans.copies import CopyIndexes, TryTypes
from safemigrations.plans.indexes import BuildIndex
from safemigrations.plans.steps import Plan, Statement
from safemigrations.postgres.probe import Probe
from safemigrations.postgres.tables import is_server
from safemigrations.running.preview import preview
from safemigrations.running.session import Session

from .snapshot import difference, snapshot

COPY = CopyIndexes(why="item: every index of price for cost too", table='"item"', column="price", twin="cost")
TRY = TryTypes(why="item: indexes fit", table='"item"', types=(("price", "bigint"),), failure="{what}: {error}")
BUILT = 'CREATE INDEX CONCURRENTLY "{}" ON "item" USING btree (cost)'


@pytest.fixture
def item(database: Any, connect: Any) -> Any:
    session = connect()
    session.execute("CREATE TABLE item (id int PRIMARY KEY, price int)")
    session.execute("CREATE INDEX by_price ON item (price)")
    return session


def asked(connection: BaseDatabaseWrapper, *plan: Any, after: tuple[str, ...] = ()) -> Plan:
    return tuple(preview(Session(connection), plan, after=after))


def test_a_question_is_answered_and_leaves_nothing_behind(database, item):
    before = snapshot(database)
    build, trial = asked(database, COPY, TRY)
    assert isinstance(build, BuildIndex)
    assert build.statements == (BUILT.format(build.name),)
    assert [sql.partition(" ")[0] for sql in trial.statements] == ["BEGIN", "CREATE", "CREATE", "ALTER", "ROLLBACK"]
    assert difference(before, snapshot(database)) == {}


def test_a_question_about_what_is_not_there_yet_stays_one(database, item):
    item.execute("ALTER TABLE item DROP COLUMN price")
    assert asked(database, COPY, TRY) == (COPY, TRY)
    item.execute("DROP TABLE item")
    assert asked(database, COPY, TRY) == (COPY, TRY)


@pytest.mark.parametrize(
    ("line", "is_open"),
    [
        ('ALTER TABLE "item" ADD COLUMN "x" int;', True),
        ('ALTER INDEX "by_price" RENAME TO "other";', True),
        ('DROP INDEX CONCURRENTLY IF EXISTS "by_price";', True),
        ('ALTER TABLE "thing" ADD COLUMN "x" int;', False),
    ],
)
def test_a_question_about_what_a_statement_before_it_may_change_stays_one(database, item, line, is_open):
    assert (asked(database, COPY, after=(line,)) == (COPY,)) is is_open


def test_a_role_that_may_not_make_the_table_that_is_rolled_back_gets_no_answer(database, item):
    """On a standby, too; and what comes after it is asked all the same."""
    with database.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    build = BuildIndex(why="build", table='"item"', name="i", definition='("price")')
    assert asked(database, COPY, build) == (COPY, build)


def test_a_locked_table_is_not_waited_for(database, item, other_connection):
    other_connection.execute("BEGIN")
    other_connection.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
    assert asked(database, COPY) == (COPY,)


def test_a_step_that_this_server_does_not_need_is_left_out(database):
    step = Statement(why="w", sql="SELECT 1", locks={}, only_where=Probe(is_server(99)))
    assert asked(database, step) == ()
