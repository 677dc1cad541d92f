"""What is going to stop a run is found before its first step, for all of its migrations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AlterField,
    AlterModelTable,
    CreateModel,
    Migration,
    RemoveConstraint,
    RenameField,
    RenameModel,
    RunPython,
)
from django.db.models import CheckConstraint, F, Q, UniqueConstraint, Value

from safemigrations.errors import to_type
from safemigrations.hooks.foreseeing import Foreseeing
from safemigrations.operations import (
    AddConstraintConcurrently,
    Backfill,
    ExpandAlterField,
    ExpandAlterModelTable,
    ExpandRenameModel,
    MoveModelIn,
)
from safemigrations.plans import claims, steps
from safemigrations.plans.carried import Renamed
from safemigrations.plans.steps import Proof
from safemigrations.postgres.columns import column_exists
from safemigrations.running.foreseeing.current_names import CurrentNames
from safemigrations.running.run import Run

from .attacks.deployment import Deployment, deployment
from .attacks.library import BIGGER, COLUMN, COMPUTED, RENAMED, TEXT, UNIQUE, library
from .cases import STORE, InStore
from .shop import KEY, Shop, book

SAME = "UPDATE shop_book SET code = 'same' WHERE id < 3"
DUPLICATES = (
    "shop.Book: several rows have the same (code): same. Nothing was changed. Remove the duplicates, then run the same "
    "command again."
)
EXTRA = AddField("book", "extra", models.IntegerField(default=7))
EXTRA_OF_VOLUME = AddField("volume", "extra", models.IntegerField(default=7))
NICKNAME = AddField("author", "nickname", models.CharField(max_length=9, null=True))


@pytest.fixture
def books(dsn, tmp_path):
    with deployment(tmp_path, dsn) as made:
        yield library(made)


def refused(books: Deployment) -> str:
    """What `migrate` says, and `migrate --plan` before it; neither changes anything."""
    before = books.catalog()
    planned, end = books.migrate(plan=True), books.migrate()
    assert end.refused
    books.assert_unchanged(before)
    shown = planned.output.partition("Would be refused:\n")[2]
    assert [line.strip() for line in shown.splitlines()] == end.error.splitlines()
    return end.error


def test_of_all_migrations_before_the_first(books):
    books.sql(SAME)
    books.write(COMPUTED.operation)
    books.write(UNIQUE.operation)
    assert refused(books) == DUPLICATES


def test_everything_at_once(books):
    books.sql(f"{SAME}; ALTER TABLE shop_book ADD sheets integer")
    books.write(UNIQUE.operation, RENAMED.operation)
    first, second = refused(books).splitlines()
    assert first == DUPLICATES
    assert "sheets" in second


def test_what_an_open_contract_holds(books):
    books.deploy(RENAMED.operation).check()
    books.write(COMPUTED.operation)
    books.write(AlterField("book", "sheets", models.BigIntegerField(null=True)))
    assert "still belongs to the contract of shop.0002_release" in refused(books)


def test_what_a_contract_of_the_same_run_will_hold(books):
    books.write(RENAMED.operation)
    books.write(AlterField("book", "sheets", models.BigIntegerField(null=True)))
    first, contract, catch_up = (
        to_type(f"migrate{options}", None)
        for options in (" shop 0002_release", " shop 0002_release --contract --only", " --catch-up")
    )
    assert refused(books) == (
        "shop.0003_release needs the twin sheets of shop_book, which will belong to the contract of shop.0002_release "
        "(drop the twin sheets of shop_book; pages is called sheets then) until that has run. Nothing was changed. "
        f"Type first: {first}\nThen roll that release out. When no server runs the release before that migration any "
        f"more, type: {contract}\nWhere no other release is connected, as on a staging server that is several releases "
        f"behind: {catch_up}"
    )
    books.migrate(catch_up=True).check()


def test_a_table_whose_rows_only_the_contract_would_fill(books):
    books.sql("CREATE RULE frozen AS ON UPDATE TO shop_book DO INSTEAD NOTHING")
    books.write(NICKNAME)
    books.write(ExpandAlterField("book", "title", models.CharField(max_length=30)))
    assert "The rule frozen of shop_book does something else in the place of an UPDATE" in refused(books)
    books.sql("ALTER TABLE shop_book DISABLE RULE frozen")
    books.migrate().check()


def test_so_is_what_an_open_contract_holds(books):
    books.deploy(RENAMED.operation).check()
    books.write(NICKNAME)
    books.write(AddField("book", "pages", models.IntegerField(null=True)))
    assert "The column pages of shop_book still belongs to the contract of shop.0002_release" in refused(books)


def remove_duplicates(apps, schema_editor):
    apps.get_model("shop", "book").objects.filter(code="same").update(code=F("id"))


@pytest.mark.parametrize("by", ["RunPython", "Backfill"])
def test_what_the_run_itself_fixes_is_no_reason(books, by):
    """A question about rows that an earlier operation changes is asked when its turn has come."""
    books.sql(SAME)
    fix = {
        "RunPython": RunPython(remove_duplicates, RunPython.noop),
        "Backfill": Backfill("book", {"code": F("title")}, where=Q(code=Value("same"))),
    }
    books.write(fix[by])
    books.write(UNIQUE.operation)
    assert "refused" not in books.migrate(plan=True).output
    books.migrate().check()


def check(column, table="book"):
    return AddConstraint(table, CheckConstraint(condition=Q(**{f"{column}__gt": 0}), name="positive"))


def unique(column):
    return AddConstraint("book", UniqueConstraint(fields=[column], name="once"))


PAGES = "UPDATE shop_book SET pages = 0 WHERE id = 7"
LONGER = AlterField("book", "title", models.CharField(max_length=400))
AHEAD = {
    "another name": (RENAMED.operation, check("sheets"), "UPDATE shop_book SET pages = 0 WHERE id = 7", "id: 7"),
    "another type": (BIGGER.operation, check("pages"), "UPDATE shop_book SET pages = 0 WHERE id = 7", "id: 7"),
    "a name that holds the old one": (
        RenameField("book", "code", "code_of_book"),
        unique("code_of_book"),
        SAME,
        "(code_of_book): same",
    ),
    "another name and another type": (
        TEXT.operation,
        unique("pages"),
        "UPDATE shop_book SET pages = 3 WHERE id < 3",
        "(pages): 3",
    ),
    "another collation": (
        AlterField("book", "code", models.CharField(max_length=40, db_collation="C")),
        unique("code"),
        SAME,
        "(code): same",
    ),
}


@pytest.mark.parametrize("kind", AHEAD)
def test_rows_are_asked_by_the_column_as_it_is_now(books, kind):
    """The column that the question names comes with the run itself."""
    first, then, spoil, found = AHEAD[kind]
    books.sql(spoil)
    books.write(first)
    books.write(then)
    assert found in refused(books)


BY_DJANGO = {
    "another name": (RENAMED.operation, check("sheets"), PAGES, "id: 7"),
    "another db_column": (COLUMN.operation, check("pages"), PAGES, "id: 7"),
    "another type": (BIGGER.operation, check("pages"), PAGES, "id: 7"),
    "a longer text": (LONGER, unique("title"), SAME.replace("code", "title"), "(title): same"),
}


@pytest.mark.parametrize("kind", BY_DJANGO)
def test_so_are_they_where_an_operation_of_django_itself_comes_first(books, kind):
    """As in migrations from before the app was installed, and in those of others."""
    first, then, spoil, found = BY_DJANGO[kind]
    books.sql(spoil)
    books.write(first, stock=True)
    books.write(then)
    assert found in refused(books)


MODEL, TABLE = ExpandRenameModel("Book", "Volume"), ExpandAlterModelTable("volume", "library")
RENAMES = {
    "another name": [MODEL],
    "two names, one after the other": [MODEL, TABLE],
    "another name, by Django": [RenameModel("Book", "Volume")],
    "two names, one after the other, by Django": [RenameModel("Book", "Volume"), AlterModelTable("volume", "library")],
    "one by ours and one by Django": [MODEL, AlterModelTable("volume", "library")],
}
SPOILT = f"""
    {SAME}; UPDATE shop_book SET pages = 0 WHERE id = 7; UPDATE shop_book SET truth = 99 WHERE id = 8;
    UPDATE shop_book SET title = 'one' WHERE id = 9
"""


@pytest.mark.parametrize("renames", RENAMES.values(), ids=RENAMES)
def test_rows_are_asked_by_the_table_as_it_is_called_now(books, renames):
    books.sql(SPOILT)
    for rename in renames:
        books.write(rename, stock=True)
    for operation in (
        RenameField("volume", "pages", "sheets"),
        check("sheets", "volume"),
        AddConstraint("volume", UniqueConstraint(fields=["code"], name="once")),
        AlterField("volume", "note", models.CharField(max_length=40)),
        AlterField("volume", "truth", models.ForeignKey("shop.Author", models.CASCADE, db_column="truth")),
    ):
        books.write(operation)
    books.sql("ANALYZE")  # with statistics that change in between, another plan would find the rows in another order
    said = refused(books)
    for found in ("id: 7", "(code): same", "note", "truth"):
        assert found in said


def test_rows_of_a_model_that_moves_to_another_app_are_asked_by_the_table_as_it_is_called_now(database):
    shop = Shop(database, InStore(book(("code", models.TextField(default="same")))))
    old = shop.state.apps.get_model(STORE, "Book")
    old.objects.bulk_create([old(title="one"), old(title="two")])
    moved, limited = Migration("0002_moved", "shop"), Migration("0003_limited", "shop")
    moved.operations = [  # type: ignore[misc]
        MoveModelIn("Book", STORE)
    ]
    limited.operations = [  # type: ignore[misc]
        AddConstraintConcurrently("book", UniqueConstraint(fields=["code"], name="once"))
    ]
    foreseeing = Foreseeing(database, Run())
    foreseeing.forwards([(moved, shop.state), (limited, moved.mutate_state(shop.state))])
    assert [refusal.partition(". ")[0] for refusal in foreseeing.refusals] == [
        "shop.Book: several rows have the same (code): same"
    ]


def test_each_name_is_the_current_one():
    current = CurrentNames()
    for old, new in (("a", "spare"), ("b", "a"), ("spare", "b"), ('"s"."old"', '"s"."new"')):
        current.add(Renamed(old=claims.table(old), new=claims.table(new)))
    said = """SELECT "a"."b", 'a', '"b"'::regclass FROM "a" JOIN "b" ON "s"."a" = "s"."new"."x" FROM "new", "ab" x"""
    now = """SELECT "b"."b", 'a', '"a"'::regclass FROM "b" JOIN "a" ON "s"."a" = "s"."old"."x" FROM "new", "ab" x"""
    assert current.of(said) == now
    step = Proof(why='of "a"', query=column_exists('"a"', "id"), failure='"a"', takes=(claims.column("a", "id"),))
    asked = Proof(why='of "a"', query=column_exists('"b"', "id"), failure='"a"', takes=(claims.column("b", "id"),))
    assert current.of(step) == asked


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ('SELECT 1 FROM  "a" x', 'SELECT 1 FROM  "old" x'),
        ('SELECT 1 FROM\n"a"', 'SELECT 1 FROM\n"old"'),
        ('SELECT 1 FROM ONLY ("a")', 'SELECT 1 FROM ONLY ("old")'),
        ('delete from "t" using "a" where "a"."x" = 1', 'delete from "t" using "old" where "old"."x" = 1'),
        ('substring("a"."x" from "a"."y")', 'substring("old"."x" from "old"."y")'),
        ('substring((SELECT x FROM "a") from 2)', 'substring((SELECT x FROM "old") from 2)'),
        ('"x" IS DISTINCT FROM "a"."x"', '"x" IS DISTINCT FROM "old"."x"'),
    ],
)
def test_a_table_is_found_where_people_name_it(said, now):
    current = CurrentNames()
    current.add(Renamed(old=claims.table("old"), new=claims.table("a")))
    assert current.of(said) == now


@pytest.mark.parametrize(
    "expression",
    [
        'SELECT "a", "a" || x FROM "t" WHERE "a" IS NULL',
        '"t"."y" IS DISTINCT FROM "a"',
        """EXTRACT('year' FROM "a" AT TIME ZONE 'UTC') > 1""",
        'substring("a" from "a")',
        'substring(lower("a") from "a")',
        'UPDATE "t" SET "a" = 1',
    ],
)
def test_a_column_may_be_called_like_the_table(expression):
    current = CurrentNames()
    current.add(Renamed(old=claims.table("old"), new=claims.table("a")))
    assert current.of(expression) == expression
    filled = steps.Backfill(why="", table='"a"', key=('"a"',), guard=expression, sets=('"a"',))
    assert current.of(filled) == replace(filled, table='"old"')


@pytest.fixture
def notes(dsn, tmp_path):
    """A table is called like a column of another one."""
    with deployment(tmp_path, dsn) as made:
        made.deploy(CreateModel("Tag", [KEY], {"db_table": "note"})).check()
        yield library(made)


@pytest.mark.parametrize("model", ["author", "tag"])
@pytest.mark.parametrize("rename", [ExpandAlterModelTable, AlterModelTable])
def test_rows_are_asked_where_a_table_is_going_to_be_called_like_their_column(notes, model, rename):
    notes.sql(SAME)
    notes.write(rename(model, "code"), stock=True)
    notes.write(UNIQUE.operation)
    assert refused(notes) == DUPLICATES


@pytest.mark.parametrize("rename", [ExpandAlterModelTable, AlterModelTable])
def test_the_column_is_asked_and_not_the_one_that_is_called_like_the_table_now(notes, rename):
    notes.sql("UPDATE shop_book SET note = 'same'")
    notes.write(rename("tag", "code"), stock=True)
    notes.write(UNIQUE.operation)
    notes.migrate().check()


def test_values_that_have_no_other_type_are_found_before_the_first_migration(books):
    books.write(EXTRA)
    books.write(AlterField("book", "title", models.IntegerField(db_column="number", choices=[(1, "one")])))
    assert "a title that can't be converted to integer" in refused(books)


def test_rows_of_a_table_in_another_schema_are_asked_by_the_column_as_it_is_now(dsn, tmp_path):
    shelf = CreateModel("Shelf", [KEY, ("width", models.IntegerField())], {"db_table": '"store"."shelf"'})
    with deployment(tmp_path, dsn) as made:
        made.sql("CREATE SCHEMA store")
        made.deploy(shelf).check()
        made.sql("INSERT INTO store.shelf (width) VALUES (3), (0)")
        made.write(RenameField("shelf", "width", "how_wide"))
        made.write(check("how_wide", "shelf"))
        assert "id: 2" in refused(made)


def test_a_message_says_what_the_run_did_before(books):
    """A proof that could not be asked early, as an operation before it changes what it reads."""
    books.write(Backfill("book", {"code": Value("same")}, where=Q(id__lt=3)))
    books.write(UNIQUE.operation)
    end = books.migrate()
    assert end.error == DUPLICATES.replace(
        "Nothing was changed.", "What this run did before stays, and is skipped the next time."
    )


BACK = {
    "duplicates": (
        RemoveConstraint("book", "book_code"),
        SAME,
        "shop_book: unique index book_code: several rows have the same key same",
    ),
    "values that don't fit": (
        AlterField("book", "title", models.CharField(max_length=400)),
        "UPDATE shop_book SET title = repeat('x', 300) WHERE id = 3",
        "Rows of shop_book have a title that varchar(40), the type in the release that you go back to, can't hold:",
    ),
    "nulls": (
        AlterField("book", "title", models.CharField(max_length=40, null=True)),
        "UPDATE shop_book SET title = NULL WHERE id = 3",
        'Rows of shop_book have no title, which can\'t be null in the release that you go back to: "id" 3',
    ),
}


@pytest.mark.parametrize("what", BACK)
def test_what_stops_the_way_back(books, what):
    operation, spoil, message = BACK[what]
    books.deploy(UNIQUE.operation).check()
    books.deploy(operation, EXTRA).check()
    books.contract().check()
    books.sql(spoil)
    before = books.catalog()
    back = books.migrate("0002")
    assert back.error.startswith(message)
    assert "Nothing was changed." in back.error
    books.assert_unchanged(before)


def test_rows_are_asked_by_the_names_of_today_on_the_way_back_too(books):
    """What is asked about is called `title` of `shop_book` where the way back has come to it."""
    books.deploy(UNIQUE.operation).check()
    books.write(LONGER, stock=True)
    books.write(RenameField("book", "title", "heading"))
    for operation in (RenameField("book", "heading", "name"), RenameModel("Book", "Volume"), EXTRA_OF_VOLUME):
        books.write(operation, stock=True)
    books.migrate(catch_up=True).check()
    books.sql("UPDATE shop_volume SET name = repeat('x', 300) WHERE id = 3")
    before = books.catalog()
    back = books.migrate("0002")
    assert back.error.startswith("Rows of shop_book have a title that varchar(40), the type in the release")
    assert '"id" 3' in back.error
    books.assert_unchanged(before)
