"""A reverse that stops half way: there is a way on, a way back to what was expanded, and no contract meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
import pytest
from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.test import override_settings

from ..shop import KEY
from ..snapshot import Snapshot
from .deployment import Deployment
from .library import BIGGER, COMPUTED, RENAMED, TEXT, UNIQUE, library

EXTRA = AddField("book", "extra", models.IntegerField(default=7))
NICKNAME = AddField("author", "nickname", models.CharField(max_length=9, default=""))


@dataclass(frozen=True)
class Release:
    """One migration, and SQL after which its way back stops; the last operation is taken back first."""

    name: str
    operations: Sequence[Operation]
    spoil: str = ""
    contracted: bool = False

    def __str__(self) -> str:
        return self.name


STOPS = [
    Release(
        "a number that doesn't fit any more",
        [BIGGER.operation, EXTRA],
        "UPDATE shop_book SET pages = 1::bigint << 40 WHERE id = 3",
    ),
    Release(
        "a number that doesn't fit any more after the contract",
        [BIGGER.operation, EXTRA],
        "UPDATE shop_book SET pages = 1::bigint << 40 WHERE id = 3",
        contracted=True,
    ),
    Release(
        "a text that doesn't fit any more",
        [AlterField("book", "title", models.CharField(max_length=400)), EXTRA],
        "UPDATE shop_book SET title = repeat('x', 300) WHERE id = 3",
    ),
    Release(
        "an indexed text that doesn't fit any more",
        [AlterField("book", "title", models.CharField(max_length=400, db_index=True))],
        "UPDATE shop_book SET title = repeat('x', 300) WHERE id = 3",
    ),
    Release(
        "a number that the old type hasn't",
        [TEXT.operation, EXTRA],
        "UPDATE shop_book SET sheets = 'many' WHERE id = 3",
    ),
    Release(
        "duplicates",
        [RemoveConstraint("book", "book_code"), EXTRA],
        "UPDATE shop_book SET code = 'same'",
        contracted=True,
    ),
    Release(
        "null where it is forbidden",
        [AlterField("book", "title", models.CharField(max_length=40, null=True)), EXTRA],
        "UPDATE shop_book SET title = NULL WHERE id = 3",
    ),
    Release(
        "values that are gone",
        [RemoveField("book", "author"), EXTRA],
        contracted=True,
    ),
]


@pytest.fixture
def start(shop: Deployment) -> Deployment:
    """A library with a second release, which is what the third is taken back to."""
    library(shop)
    shop.deploy(UNIQUE.operation).check()
    return shop


def expanded(shop: Deployment, release: Release) -> Snapshot:
    shop.write(*release.operations)
    shop.migrate().check()
    if release.contracted:
        shop.contract().check()
    if release.spoil:
        shop.sql(release.spoil)
    return shop.catalog()


@pytest.mark.parametrize("release", STOPS, ids=str)
def test_what_stops_the_way_back_is_found_before_its_first_step(start, release: Release):
    before = expanded(start, release)
    back = start.migrate("0002")
    assert back.refused
    start.assert_unchanged(before)


@pytest.mark.parametrize("contracted", [False, True])
def test_a_type_that_changes_twice_stops_it_before_its_first_step(shop, contracted):
    """The digits move to the other side of the point by way of a type that has room for both."""
    before, after = (
        models.DecimalField(max_digits=digits, decimal_places=places) for digits, places in ((10, 2), (9, 4))
    )
    shop.deploy(CreateModel("Invoice", [KEY, ("amount", before)])).check()
    shop.deploy(AlterField("invoice", "amount", after)).check()
    if contracted:
        shop.contract().check()
    shop.sql("INSERT INTO shop_invoice (amount) VALUES (1.2345)")
    there = shop.catalog()
    back = shop.migrate("0001")
    assert "have a amount that numeric(10, 2) can't hold" in back.error
    shop.assert_unchanged(there)


# However it was stopped.


class Stopped:
    """Ctrl-C after so many lines; `over` when the command had said everything before."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    @property
    def over(self) -> bool:
        return self.left > 0


class Terminated(Stopped):
    """All sessions of the database end after so many lines, as with a failover."""

    def __init__(self, after: int, dsn: str) -> None:
        super().__init__(after)
        self.dsn = dsn

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            with psycopg.connect(self.dsn, autocommit=True) as session:
                session.execute(TERMINATE)


TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
INTERRUPTED = [
    Release("int to bigint", [BIGGER.operation]),
    Release("a model renamed", [RenameModel("Book", "Tome")]),
    Release("several operations", [COMPUTED.operation, NICKNAME, RENAMED.operation]),
]


def after_every_line(start: Deployment, release: Release, then: Callable[[Deployment], None]) -> int:
    """Interrupt the way back after its first line, its second, and so on; how often it was."""
    count = 0
    for number in range(3, 60):  # the first two lines are of what is going to be done
        stop = Stopped(number)
        start.migrate("0002", meanwhile=stop)
        if stop.over:
            break
        then(start)
        count += 1
        start.migrate().check()
    return count


@pytest.mark.parametrize("release", INTERRUPTED, ids=str)
def test_the_same_command_goes_on(start, release: Release):
    origin = start.catalog()
    before = expanded(start, release)

    def go_on(shop: Deployment) -> None:
        shop.migrate("0002").check()
        shop.assert_unchanged(origin)

    assert after_every_line(start, release, go_on) > 1
    start.migrate().check()
    start.assert_unchanged(before)


@pytest.mark.parametrize("release", INTERRUPTED, ids=str)
def test_migrate_brings_back_what_was_expanded(start, release: Release):
    before = expanded(start, release)

    def give_up(shop: Deployment) -> None:
        shop.migrate().check()
        shop.assert_unchanged(before)

    assert after_every_line(start, release, give_up) > 1


def test_what_refuses_rows_stands_while_a_way_back_is_turned_round(start):
    """Both releases write meanwhile. What the way back had not reached isn't made again either."""
    others = [
        RENAMED.operation,
        AddConstraint("book", models.UniqueConstraint(fields=["note", "id"], name="book_note")),
        AddConstraint("book", models.CheckConstraint(condition=models.Q(truth__gt=0), name="truthful")),
        AddIndex("book", models.Index(fields=["title"], name="by_title")),
        EXTRA,
    ]
    release = Release("a rename, constraints and an index", others, contracted=True)
    expanded(start, release)
    standing = (
        "SELECT conname, oid FROM pg_constraint WHERE conname IN ('book_note', 'truthful')"
        " UNION SELECT relname, oid FROM pg_class WHERE relname IN ('book_note', 'by_title') ORDER BY 1, 2"
    )
    there = start.sql(standing)
    assert len(there) == 4

    stop = Stopped(3)
    start.migrate("0002", meanwhile=stop)
    assert not stop.over
    start.migrate().check()
    assert start.sql(standing) == there


@pytest.mark.parametrize("release", INTERRUPTED, ids=str)
def test_the_contract_refuses_and_status_says_why(start, release: Release):
    before = expanded(start, release)
    name = start.names[-1]

    def refuse(shop: Deployment) -> None:
        half_way = shop.catalog()
        if not shop.is_applied(name) or (half_way == before and name not in shop.status().output.splitlines()[0]):
            return  # it has ended, or hasn't begun
        contracted = shop.contract()
        assert contracted.refused
        assert name in contracted.error
        shop.assert_unchanged(half_way)
        assert name in shop.status().output

    assert after_every_line(start, release, refuse) > 1


@pytest.mark.parametrize("lines", [6, 9])
@pytest.mark.parametrize("way", ["interrupted", "terminated"])
def test_a_second_release_is_deployed_on_top(start, way, lines):
    origin = start.catalog()
    expanded(start, INTERRUPTED[-1])
    stop = Stopped(lines) if way == "interrupted" else Terminated(lines, start.dsn)
    assert start.migrate("0002", meanwhile=stop).refused
    assert start.contract().refused
    start.status().check()
    start.manage("showmigrations", "shop").check()
    start.deploy(AddField("author", "born", models.IntegerField(null=True))).check()
    start.contract().check()
    assert start.count("lines = truth * 30 AND sheets = truth") == 120
    start.migrate("0002").check()
    start.assert_unchanged(origin)


def test_a_lock_that_nobody_gives_stops_the_way_back_and_there_is_a_way_on(start, connect):
    before = expanded(start, Release("", [EXTRA, NICKNAME]))
    other = connect()
    other.execute("BEGIN; SELECT FROM shop_book LIMIT 1")
    with override_settings(SAFEMIGRATIONS={"LOCK_RETRY_FOR": 0.5}):
        back = start.migrate("0002")
    other.execute("ROLLBACK")
    assert back.refused
    start.migrate().check()
    start.assert_unchanged(before)


# A model whose key is a foreign key of another name than that of the key that Django makes up without it.


@pytest.mark.parametrize("is_child", [True, False])
@pytest.mark.parametrize("with_parent", [True, False])
def test_a_deleted_model_with_a_link_for_its_key_comes_back_empty(shop, is_child, with_parent):
    """Without its link the table is created again with the key that Django makes up."""
    link = models.OneToOneField("shop.person", models.CASCADE, parent_link=is_child, primary_key=True)
    bases = ("shop.person",) if is_child else (models.Model,)
    person = CreateModel("Person", [KEY, ("name", models.TextField())])
    shop.deploy(person, CreateModel("Rider", [("human", link), ("bike", models.TextField())], bases=bases)).check()
    start = shop.catalog()
    parent = [DeleteModel("Person")] if with_parent else []
    shop.deploy(RemoveField("rider", "human"), DeleteModel("Rider"), *parent).check()
    shop.contract().check()
    shop.migrate("0001").check()
    shop.assert_unchanged(start)
