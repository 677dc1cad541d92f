"""AddConstraint of a UniqueConstraint -> AddConstraintConcurrently."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.db import IntegrityError, models
from django.db.migrations import (
    AddConstraint,
    AddField,
    CreateModel,
    RemoveConstraint,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Deferrable, F, Q, UniqueConstraint
from django.db.models.functions import Lower
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import AddConstraintConcurrently
from safemigrations.operations.written import written

from .contention import Migrating, until
from .representatives import crossed
from .shop import (
    AWKWARD,
    LIBRARY,
    Nowhere,
    Shop,
    assert_does_what_stock_does,
    assert_is_read_back,
    book,
    file_of,
    optimized,
    quoted,
)

NAME = "book_unique"
UNIQUE = UniqueConstraint(fields=["title", "pages"], name=NAME)
ADD = AddConstraintConcurrently("book", UNIQUE)
OVER = AddConstraintConcurrently("book", UNIQUE, takes_over=True)


def with_pages(**options: Any) -> CreateModel:
    return book(("pages", models.IntegerField(null=True)), **options)


def there(shop: Shop, table: str = "shop_book") -> tuple[dict[str, str], dict[str, str]]:
    return shop.constraints(table), shop.indexes(table)


# The exact plan.


def test_the_plan_of_a_constraint(database):
    shop = Shop(database, with_pages())
    assert shop.plan(ADD) == (
        "-- shop_book: no two rows have the same (title, pages) (looked up when it is run)\n"
        "-- shop_book: unique index book_unique\n"
        'CREATE UNIQUE INDEX CONCURRENTLY "book_unique" ON "shop_book" ("title", "pages");\n'
        "-- shop_book: (title, pages) is unique\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "book_unique" UNIQUE USING INDEX "book_unique";'
    )
    assert shop.plan(ADD, backwards=True) == (
        "-- shop_book: drop unique constraint book_unique\n"
        'ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "book_unique";\n'
        "-- shop_book: drop index book_unique\n"
        'DROP INDEX CONCURRENTLY IF EXISTS "book_unique";'
    )
    assert shop.plan(OVER) == shop.plan(ADD)
    assert shop.plan(OVER, backwards=True) == "-- (no-op)"


def test_the_plan_of_what_django_makes_an_index(database):
    shop = Shop(database, with_pages())
    lower = UniqueConstraint(Lower("title"), F("pages").desc(), name=NAME, condition=Q(pages__gt=0))
    operation = AddConstraintConcurrently("book", lower)
    assert shop.plan(operation) == (
        "-- shop_book: no two rows have the same key of book_unique among those of book_unique"
        " (looked up when it is run)\n"
        "-- shop_book: unique index book_unique\n"
        'CREATE UNIQUE INDEX CONCURRENTLY "book_unique" ON "shop_book" ((LOWER("title")), "pages" DESC)'
        ' WHERE "pages" > 0;\n'
        'ANALYZE "shop_book";'
    )
    assert shop.plan(operation, backwards=True) == (
        '-- shop_book: drop unique index book_unique\nDROP INDEX CONCURRENTLY IF EXISTS "book_unique";'
    )


# Forwards.

KINDS: dict[str, UniqueConstraint] = {
    "fields": UNIQUE,
    "deferred": UniqueConstraint(fields=["title"], name=NAME, deferrable=Deferrable.DEFERRED),
    "immediate": UniqueConstraint(fields=["title"], name=NAME, deferrable=Deferrable.IMMEDIATE),
    "condition": UniqueConstraint(fields=["title"], name=NAME, condition=Q(pages__gt=5, title__gt="50% it's")),
    "expressions": UniqueConstraint(Lower("title"), F("pages").desc(nulls_last=True), name=NAME),
    "include": UniqueConstraint(fields=["title"], name=NAME, include=["pages"]),
    "opclasses": UniqueConstraint(fields=["title"], name=NAME, opclasses=["varchar_pattern_ops"]),
    "nulls equal": UniqueConstraint(fields=["pages"], name=NAME, nulls_distinct=False),
    "nulls equal, expression": UniqueConstraint("pages", name=NAME, nulls_distinct=False, condition=Q(title__gt="B")),
    "long name": UniqueConstraint(fields=["title"], name="ü" * 60),
    "long name, index": UniqueConstraint(fields=["title"], name="n" * 80, condition=Q(pages__gt=5)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_one_of_stock_and_there_before_new_code(database, kind):
    shop = Shop(database, with_pages())
    shop.migrate(AddConstraint("book", KINDS[kind]))
    stock = there(shop)
    shop.back()
    shop.migrate(AddConstraintConcurrently("book", KINDS[kind]))
    assert there(shop) == stock != ({}, {})
    assert shop.left() == []
    shop.again()
    assert there(shop) == stock

    shop.migrate(RemoveConstraint("book", KINDS[kind].name))  # a later stock operation finds it
    assert there(shop) == ({}, {})


SAME: dict[str, tuple[list[tuple[str, int | None]], str]] = {
    "fields": ([("Emma", 1), ("Emma", 1), ("Emma", 2), ("Emma", None), ("Emma", None)], "(title, pages): Emma 1"),
    "condition": (
        [("Emma", 9), ("Emma", 8), ("Evelina", 1), ("Evelina", 2), ("50% it's", 9)],
        "(title) among those of book_unique: Emma",
    ),
    "expressions": ([("Emma", 1), ("EMMA", 1), ("Emma", 2)], "key of book_unique: emma 1"),
    "include": ([("Emma", 1), ("Emma", 2)], "(title): Emma"),
    "nulls equal": ([("Emma", None), ("Evelina", None), ("x", 1)], "(pages): None"),
    "nulls equal, expression": (
        [("Emma", None), ("Evelina", None), ("A", 1), ("A", 1)],
        "key of book_unique among those of book_unique: None",
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_duplicates_are_named_before_anything_is_touched(database, kind):
    rows, named = SAME[kind]
    shop = Shop(database, with_pages())
    old = shop.model()
    old.objects.bulk_create([old(title=title, pages=pages) for title, pages in rows])
    with pytest.raises(StepFailed) as caught:
        shop.migrate(AddConstraintConcurrently("book", KINDS[kind]))
    assert str(caught.value) == (
        f"shop.Book: several rows have the same {named}. Nothing was changed. Remove the duplicates, then run the "
        "same command again."
    )
    assert there(shop) == ({}, {})


def test_many_duplicates_are_counted(database):
    shop = Shop(database, with_pages())
    shop.execute("INSERT INTO shop_book (title, pages) SELECT n % 1000, 1 FROM generate_series(1, 2000) n")
    with pytest.raises(StepFailed, match=r"\(title, pages\): \d+ 1, \d+ 1, \d+ 1, \d+ 1, \d+ 1 and 995 more\. "):
        shop.migrate(ADD)


@pytest.mark.parametrize("kind", ["fields", "expressions"])
def test_a_duplicate_that_comes_while_the_index_is_built_leaves_nothing(database, kind, other_connection, connect):
    """An INVALID unique index would refuse duplicates that were no error before."""
    shop = Shop(database, with_pages())
    shop.execute("INSERT INTO shop_book (title, pages) VALUES ('Emma', 1)")
    other_connection.execute("BEGIN")  # what is built waits for it, and then finds its row
    other_connection.execute("INSERT INTO shop_book (title, pages) VALUES ('Emma', 1)")
    operation = AddConstraintConcurrently("book", KINDS[kind])
    migrating = Migrating(lambda connection: elsewhere(shop, connection).migrate(operation))
    watch = connect()
    until(lambda: watch.execute("SELECT 1 FROM pg_class WHERE relname = 'book_unique'").fetchone())
    other_connection.execute("COMMIT")
    with pytest.raises(StepFailed, match="is duplicated"):
        migrating.result()
    assert there(shop) == ({}, {})
    shop.execute("INSERT INTO shop_book (title, pages) VALUES ('Emma', 1)")
    with pytest.raises(StepFailed, match="several rows have the same"):
        shop.migrate(operation)


def elsewhere(shop: Shop, connection: Any) -> Shop:
    """The same shop, migrated by another connection."""
    other = copy.copy(shop)
    other.connection, other.recorder = connection, MigrationRecorder(connection)
    return other


def test_upserts_of_new_code_work_after_expand(database):
    shop = Shop(database, with_pages())
    shop.migrate(ADD)
    new = shop.model()
    for _ in range(2):
        new.objects.bulk_create(
            [new(title="Emma", pages=5)],
            update_conflicts=True,
            update_fields=["title"],
            unique_fields=["title", "pages"],
        )
    with pytest.raises(IntegrityError):
        new.objects.create(title="Emma", pages=5)


PARTITIONED = """
    CREATE TABLE shop_book (id bigint, title varchar(100) NOT NULL, pages int, PRIMARY KEY (id)) PARTITION BY HASH (id);
    CREATE TABLE shop_book_0 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE shop_book_1 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""


@pytest.mark.parametrize("deferrable", [None, Deferrable.DEFERRED])
def test_a_partitioned_table(database, deferrable):
    shop = Shop(database, SeparateDatabaseAndState([RunSQL(PARTITIONED)], [with_pages()]))
    unique = UniqueConstraint(fields=["title", "id"], name=NAME, deferrable=deferrable)
    shop.migrate(AddConstraint("book", unique))
    stock = [there(shop, table) for table in ("shop_book", "shop_book_0", "shop_book_1")]
    shop.back()
    shop.migrate(AddConstraintConcurrently("book", unique))
    assert [there(shop, table) for table in ("shop_book", "shop_book_0", "shop_book_1")] == stock
    shop.again()
    shop.back()
    assert [there(shop, table) for table in ("shop_book", "shop_book_0", "shop_book_1")] == [({}, {})] * 3


def test_a_partitioned_table_whose_key_it_lacks(database):
    shop = Shop(database, SeparateDatabaseAndState([RunSQL(PARTITIONED)], [with_pages()]))
    with pytest.raises(StepFailed, match="must include all partitioning columns"):
        shop.migrate(ADD)
    assert [there(shop, table) for table in ("shop_book", "shop_book_0", "shop_book_1")] == [({}, {})] * 3


def test_what_this_version_of_postgresql_does_not_have_is_left_out_as_by_stock(database, monkeypatch):
    monkeypatch.setattr(type(database.features), "supports_nulls_distinct_unique_constraints", False)  # before 15
    shop = Shop(database, with_pages())
    shop.migrate(AddConstraintConcurrently("book", KINDS["nulls equal"]))
    assert there(shop) == ({}, {})
    shop.back()


# Backwards.


@pytest.mark.parametrize("kind", KINDS)
def test_backwards_and_forwards_again(database, kind):
    shop = Shop(database, with_pages())
    operation = AddConstraintConcurrently("book", KINDS[kind])
    shop.migrate(operation)
    forwards = there(shop)
    shop.back()
    assert there(shop) == ({}, {})
    shop.migrate(operation)
    assert there(shop) == forwards


# The written form.


def test_the_file():
    assert (
        "        AddConstraintConcurrently(\n"
        "            model_name='book',\n"
        "            constraint=models.UniqueConstraint(fields=('title', 'pages'), name='book_unique'),\n"
        "        ),\n"
    ) in file_of(ADD)
    assert "    atomic = False  # builds an index concurrently\n" in file_of(ADD)
    assert "            takes_over=True,\n" in file_of(OVER)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_read_back(kind):
    assert_is_read_back(AddConstraintConcurrently("book", KINDS[kind]))
    assert_is_read_back(OVER)


def test_what_it_says_of_itself():
    assert ADD.describe() == "Create constraint book_unique on model book, concurrently"
    assert ADD.migration_name_fragment == "book_book_unique"


# The optimizer.


def test_it_folds_into_the_model_that_is_created_with_it():
    assert optimized(with_pages(), ADD) == optimized(with_pages(), AddConstraint("book", UNIQUE))
    assert len(optimized(with_pages(), ADD)) == 1


def test_it_vanishes_with_the_operation_that_removes_the_constraint():
    assert optimized(ADD, RemoveConstraint("book", NAME)) == []


def test_nothing_unsafe_becomes_of_it():
    note = AddField("book", "note", models.TextField(null=True))
    assert optimized(ADD, note) == [written(ADD), written(note)]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, with_pages())
        shop.migrate(ADD)
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, ADD, AddConstraint("book", UNIQUE), with_pages())


# Awkward names.


@crossed("table, name, kind", AWKWARD, ["fields", "condition", "expression"])
def test_awkward_names(database, table, name, kind):
    extra = models.CharField(max_length=9, db_column=name, null=True)
    unique = {
        "fields": UniqueConstraint(fields=["extra"], name=name),
        "condition": UniqueConstraint(fields=["extra"], name=name, condition=Q(extra__gt="a")),
        "expression": UniqueConstraint(Lower("extra"), name=name),
    }[kind]
    shop = Shop(database, LIBRARY, book(("extra", extra), db_table=table))
    where = quoted(table)
    shop.migrate(AddConstraint("book", unique))
    stock = there(shop, where)
    shop.back()
    shop.migrate(AddConstraintConcurrently("book", unique))
    assert there(shop, where) == stock
    shop.again()
    shop.back()
    assert there(shop, where) == ({}, {})


# Wrong arguments.


def test_another_constraint_is_refused():
    check = models.CheckConstraint(condition=Q(pages__gt=0), name="positive")
    with pytest.raises(TypeError, match=r"book.positive is for a UniqueConstraint. Use ValidateConstraintLater for"):
        AddConstraintConcurrently("book", check)  # type: ignore[arg-type]
