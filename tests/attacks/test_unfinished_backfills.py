"""A backfill that isn't finished: nobody takes away what it needs, says that it is done, or begins it anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import models
from django.db.migrations import (
    AlterField,
    AlterModelTable,
    CreateModel,
    DeleteModel,
    RemoveField,
    RenameField,
    RenameModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.models import F, Q, Value
from django.db.models.functions import Concat
from django.test import override_settings

from safemigrations.operations import Backfill

from ..shop import KEY
from .deployment import Deployment
from .library import LATER, library
from .restoring import PLAIN, dsn_of, restored

OF_ITSELF = Backfill("book", {"note": Concat(F("title"), Value(" "), F("code"))}, where=Q(note=None), can_wait=True)
OF_AUTHORS = Backfill("book", {"note": F("author__name")}, where=Q(note=None), can_wait=True)


@dataclass(frozen=True)
class Takes:
    """A later release that takes from a backfill what it needs; what the books and their notes are called then."""

    name: str
    backfill: Backfill
    operation: Operation
    table: str = "shop_book"
    note: str = "note"

    def __str__(self) -> str:
        return self.name


def text(length: int, **options: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=length, **options)


TAKES = [
    Takes("the model renamed", OF_ITSELF, RenameModel("Book", "Tome"), table="shop_tome"),
    Takes("its table renamed", OF_ITSELF, AlterModelTable("book", "tomes"), table="tomes"),
    Takes("a column that it reads renamed", OF_ITSELF, RenameField("book", "title", "heading")),
    Takes("a column that it reads removed", OF_ITSELF, RemoveField("book", "code")),
    Takes("a column that it reads of another type", OF_ITSELF, AlterField("book", "code", text(39))),
    Takes("a column that it reads called otherwise", OF_ITSELF, AlterField("book", "code", text(40, db_column="c"))),
    Takes("the column that it fills renamed", OF_ITSELF, RenameField("book", "note", "remark"), note="remark"),
    Takes("the column that it fills of another type", OF_ITSELF, AlterField("book", "note", text(39, null=True))),
    Takes("another model that it reads renamed", OF_AUTHORS, RenameModel("Author", "Writer")),
    Takes("another table that it reads renamed", OF_AUTHORS, AlterModelTable("author", "writers")),
    Takes("a column of another table that it reads renamed", OF_AUTHORS, RenameField("author", "name", "full_name")),
    Takes("a column of another table that it reads removed", OF_AUTHORS, RemoveField("author", "name")),
    Takes("the relation that it reads by removed", OF_AUTHORS, RemoveField("book", "author")),
]
STOP = """
    CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RAISE EXCEPTION ''stopped'' USING ERRCODE = ''query_canceled''; END';
    CREATE TRIGGER stop BEFORE UPDATE ON shop_book FOR EACH ROW WHEN (NEW.id = 95) EXECUTE FUNCTION stop()
"""


@contextmanager
def stopped_half_way(shop: Deployment) -> Iterator[None]:
    """What fills rows meanwhile is ended before row 95, as by Ctrl-C."""
    shop.sql(STOP)
    yield
    shop.sql("DROP FUNCTION stop() CASCADE")


@pytest.fixture
def later(shop: Deployment) -> Iterator[Deployment]:
    """A library where what can wait is left for `backfill run`."""
    with override_settings(SAFEMIGRATIONS=LATER):
        yield library(shop)


def leave(shop: Deployment, backfill: Backfill, *, begun: bool) -> None:
    shop.deploy(backfill).check()
    if begun:
        with stopped_half_way(shop):
            assert shop.backfill("run").error
        assert 0 < shop.count("note IS NULL") < 80
    else:
        assert shop.count("note IS NULL") == 80


def assert_is_finished_first(shop: Deployment, takes: Takes) -> None:
    def unfilled() -> int:
        return shop.count(f'"{takes.note}" IS NULL', f'"{takes.table}"')

    contracted = shop.contract()
    assert contracted.refused or unfilled() == 0, "contracted while rows weren't filled"
    shop.backfill("run").check()
    assert unfilled() == 0, "done while rows weren't filled"
    shop.contract().check()
    assert unfilled() == 0


@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "begun"])
@pytest.mark.parametrize("takes", TAKES, ids=str)
def test_what_an_unfinished_backfill_needs_is_not_taken_from_it(later, takes: Takes, begun):
    leave(later, takes.backfill, begun=begun)
    if later.deploy(takes.operation).refused:
        return
    assert_is_finished_first(later, takes)


@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "begun"])
@pytest.mark.parametrize("takes", TAKES, ids=str)
def test_nor_after_a_restore(later, takes: Takes, begun, tmp_path: Path, monkeypatch):
    leave(later, takes.backfill, begun=begun)
    if later.deploy(takes.operation).refused:
        return
    with restored(PLAIN, tmp_path, monkeypatch) as copied:
        later.dsn = dsn_of(copied.settings_dict["NAME"])
        assert_is_finished_first(later, takes)


@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "begun"])
def test_a_model_is_not_deleted_under_an_unfinished_backfill(later, begun):
    leave(later, OF_ITSELF, begun=begun)
    if later.deploy(DeleteModel("Book")).refused:
        return
    contracted = later.contract()
    assert contracted.refused
    assert later.count("TRUE") == 120


@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "begun"])
def test_a_table_that_somebody_renamed_is_no_partition_that_was_dropped(later, begun):
    leave(later, OF_ITSELF, begun=begun)
    later.sql("ALTER TABLE shop_book RENAME TO elsewhere")
    run = later.backfill("run")
    assert run.refused or later.count("note IS NULL", "elsewhere") == 0


# Filled twice.

AGAIN = Backfill("book", {"pages": F("pages") + 1}, where=Q(truth__gt=0))  # rows that are filled still meet it
ONCE, TWICE = "pages = truth + 1", "pages > truth + 1"


def digest_of_another_version(shop: Deployment) -> None:
    shop.sql("UPDATE safemigrations_backfill SET digest = md5(digest)")


def step_of_another_version(shop: Deployment) -> None:
    digest_of_another_version(shop)
    shop.sql("UPDATE safemigrations_backfill SET step = step - 'can_wait' - 'clears'")
    shop.sql("ALTER TABLE safemigrations_backfill DROP COLUMN signature")


def rewritten(shop: Deployment) -> None:
    shop.sql("VACUUM FULL shop_book")


MEANWHILE = {
    "nothing": lambda shop: None,
    "a package whose steps have a field more": digest_of_another_version,
    "a package whose steps had a field less": step_of_another_version,
    "the table was rewritten": rewritten,
}


def assert_no_row_is_filled_twice(shop: Deployment) -> None:
    again = shop.migrate()
    assert shop.count(TWICE) == 0
    if not again.refused:
        again.check()
        assert shop.count(ONCE) == 120


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_backfill_that_goes_on_fills_no_row_twice(books, what):
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        with stopped_half_way(books):
            assert books.deploy(AGAIN).error
        assert 0 < books.count(ONCE) < 120
        MEANWHILE[what](books)
        assert_no_row_is_filled_twice(books)


def test_a_backfill_that_goes_on_after_a_restore_fills_no_row_twice(books, tmp_path, monkeypatch):
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        with stopped_half_way(books):
            assert books.deploy(AGAIN).error
        assert 0 < books.count(ONCE) < 120
        with restored(PLAIN, tmp_path, monkeypatch) as copied:
            books.dsn = dsn_of(copied.settings_dict["NAME"])
            assert_no_row_is_filled_twice(books)


# Keys that move.

SHELVES = """
    CREATE TABLE shop_shelf (id integer, room integer NOT NULL, state varchar(9) NOT NULL DEFAULT 'old',
        PRIMARY KEY (id, room)) PARTITION BY LIST (room);
    CREATE TABLE shop_shelf_1 PARTITION OF shop_shelf FOR VALUES IN (1);
    CREATE TABLE shop_shelf_2 PARTITION OF shop_shelf FOR VALUES IN (2);
"""
SHELF = CreateModel(
    "Shelf",
    [
        ("pk", models.CompositePrimaryKey("id", "room")),
        ("id", models.IntegerField()),
        ("room", models.IntegerField()),
        ("state", models.CharField(max_length=9, default="old")),
    ],
)
LABEL = CreateModel(
    "Label", [("name", models.CharField(max_length=9, primary_key=True)), ("state", models.CharField(max_length=9))]
)
SLOT = CreateModel("Slot", [KEY, ("state", models.CharField(max_length=9, default="old"))])


@dataclass(frozen=True)
class Moves:
    """Rows whose keys users change after a keyed backfill has gone by the place where they come to stand."""

    name: str
    create: Operation
    fill: str
    model: str
    stop: str  # the row before which it is stopped
    move: str

    def __str__(self) -> str:
        return self.name


MOVES = [
    Moves(
        "a number",
        SLOT,
        "INSERT INTO shop_slot (state) SELECT 'old' FROM generate_series(1, 2000)",
        "slot",
        "NEW.id = 1505",
        "UPDATE shop_slot SET id = -id WHERE id > 1600",
    ),
    Moves(
        "a text",
        LABEL,
        "INSERT INTO shop_label SELECT 'n' || 10000 + n, 'old' FROM generate_series(1, 2000) n",
        "label",
        "NEW.name = 'n11505'",
        "UPDATE shop_label SET name = 'a' || name WHERE name > 'n11600'",
    ),
    Moves(
        "a composite key",
        SeparateDatabaseAndState([RunSQL(SHELVES.partition("PARTITION BY")[0] + ";")], [SHELF]),
        "INSERT INTO shop_shelf SELECT n, 1 FROM generate_series(1, 2000) n",
        "shelf",
        "NEW.id = 1505",
        "UPDATE shop_shelf SET id = -id WHERE id > 1600",
    ),
    Moves(
        "a row that goes to a partition which is done",
        SeparateDatabaseAndState([RunSQL(SHELVES)], [SHELF]),
        "INSERT INTO shop_shelf SELECT n, 1 + n / 1001 FROM generate_series(1, 2000) n",
        "shelf",
        "NEW.id = 1505",
        "UPDATE shop_shelf SET room = 1 WHERE id > 1600",
    ),
]


@pytest.mark.parametrize("moves", MOVES, ids=str)
def test_rows_whose_keys_users_change_meanwhile_are_filled(shop, moves: Moves):
    shop.deploy(moves.create).check()
    shop.sql(moves.fill)
    table = f"shop_{moves.model}"
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 20}):
        shop.sql(STOP.replace("shop_book", table).replace("NEW.id = 95", moves.stop))
        assert shop.deploy(Backfill(moves.model, {"state": Value("new")}, where=~Q(state="new"))).error
        assert 0 < shop.count("state = 'new'", table) < 2000
        shop.sql("DROP FUNCTION stop() CASCADE")
        shop.sql(moves.move)
        again = shop.migrate()
    assert again.refused or shop.count("state <> 'new'", table) == 0
