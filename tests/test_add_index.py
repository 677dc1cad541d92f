"""AddIndex -> AddIndexConcurrently."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread
from typing import Any

import psycopg
import pytest
from django.contrib.postgres.indexes import GinIndex, HashIndex
from django.contrib.postgres.search import SearchVector
from django.db import NotSupportedError, models, transaction
from django.db.migrations import AddField, AddIndex, AlterField, RemoveIndex, RunSQL, SeparateDatabaseAndState
from django.db.models.functions import Lower
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import AddIndexConcurrently
from safemigrations.operations.written import written
from safemigrations.plans.steps import Step
from safemigrations.running.run import Report

from .shop import (
    LIBRARY,
    Nowhere,
    Shop,
    assert_does_what_stock_does,
    assert_is_read_back,
    book,
    file_of,
    optimized,
    quoted,
    raw,
)

TITLE = models.Index(fields=["title"], name="book_title")
ADD = AddIndexConcurrently("book", TITLE)

# The exact plan.


def test_the_plan(database):
    shop = Shop(database, book())
    assert shop.plan(ADD) == (
        '-- shop_book: index book_title\nCREATE INDEX CONCURRENTLY "book_title" ON "shop_book" ("title");'
    )
    assert shop.plan(ADD, backwards=True) == (
        '-- shop_book: drop index book_title\nDROP INDEX CONCURRENTLY IF EXISTS "book_title";'
    )


def test_the_plan_of_an_expression_gathers_its_statistics(database):
    index = models.Index(Lower("title").desc(), name="book_lower", condition=models.Q(title__contains="50%"))
    assert Shop(database, book()).plan(AddIndexConcurrently("book", index)) == (
        "-- shop_book: index book_lower\n"
        'CREATE INDEX CONCURRENTLY "book_lower" ON "shop_book" ((LOWER("title")) DESC)'
        """ WHERE "title"::text LIKE  E'%50\\\\%%';\n"""
        'ANALYZE "shop_book";'
    )


# Forwards.

INDEXES = [
    TITLE,
    models.Index(fields=["-title", "id"], name="book_index"),
    models.Index(fields=["title"], name="book_index", condition=models.Q(title__gt="m'%s'")),
    models.Index(fields=["id"], name="book_index", include=["title"]),
    models.Index(fields=["title"], name="book_index", opclasses=["varchar_pattern_ops"]),
    models.Index(Lower("title"), "id", name="book_index"),
    HashIndex(fields=["title"], name="book_index", fillfactor=70),
    GinIndex(SearchVector("title", config="english"), name="book_index", fastupdate=False),
]


@pytest.mark.parametrize("index", INDEXES, ids=repr)
def test_the_index_is_the_one_that_stock_builds(database, index):
    shop = Shop(database, book())
    shop.migrate(AddIndex("book", index))
    stock = shop.indexes()
    shop.back()
    assert shop.indexes() == {}

    shop.migrate(AddIndexConcurrently("book", index))
    assert shop.indexes() == stock
    assert list(stock) == [index.name]
    assert shop.left() == []


def test_statistics_of_an_expression_are_there(database):
    shop = Shop(database, book())
    shop.model().objects.bulk_create([shop.model()(title=f"Title {n % 3}") for n in range(30)])
    shop.migrate(AddIndexConcurrently("book", models.Index(Lower("title"), name="book_lower")))
    assert shop.execute("SELECT n_distinct FROM pg_stats WHERE tablename = 'book_lower'") == [3.0]


def test_an_index_that_is_there_already_is_kept(database):
    shop = Shop(database, book())
    shop.execute("CREATE INDEX book_title ON shop_book (title)")
    (before,) = shop.execute("SELECT 'book_title'::regclass::oid")
    shop.migrate(ADD)
    assert shop.execute("SELECT 'book_title'::regclass::oid") == [before]


def test_an_invalid_leftover_is_dropped_and_built_anew(database):
    shop = Shop(database, book())
    shop.execute("INSERT INTO shop_book (title) VALUES ('Emma'), ('Emma')")
    with pytest.raises(Exception, match="could not create unique index"):
        shop.execute("CREATE UNIQUE INDEX CONCURRENTLY book_title ON shop_book (title)")
    assert shop.indexes() == {"book_title": " USING btree (title) INVALID"}

    shop.migrate(ADD)
    assert shop.indexes() == {"book_title": " USING btree (title)"}
    assert shop.execute("SELECT indisunique FROM pg_index WHERE indexrelid = 'book_title'::regclass") == [False]


class ReleaseOnProgress(Report):
    """Ends a transaction as soon as the run says something."""

    def __init__(self, holder: psycopg.Connection) -> None:
        self.holder = holder
        self.said: list[str] = []

    def progress(self, step: Step, text: str) -> None:
        self.said.append(text)
        self.holder.rollback()

    def waiting(self, step: Step, blockers: Sequence[Any], seconds: float) -> None: ...


IS_BEGUN = "SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid <> 0 AND datname = current_database()"


def test_an_index_that_somebody_else_is_building_is_waited_for(database, connect):
    shop = Shop(database, book())
    holder, builder = connect(), connect()
    holder.autocommit = False
    holder.execute("INSERT INTO shop_book (title) VALUES ('Emma')")
    build = Thread(target=builder.execute, args=("CREATE INDEX CONCURRENTLY book_title ON shop_book (title)",))
    build.start()
    while not shop.execute(IS_BEGUN):
        shop.execute("SELECT pg_sleep(0.01)")

    report = ReleaseOnProgress(holder)
    shop.migrate(ADD, report=report)
    build.join()
    assert report.said[0] == f"pid {builder.info.backend_pid} is building this index already; waiting for it"
    assert shop.indexes() == {"book_title": " USING btree (title)"}


PARTITIONED = """
    CREATE TABLE shop_book (id bigint, title varchar(100), PRIMARY KEY (id, title)) PARTITION BY RANGE (title);
    CREATE TABLE shop_book_a PARTITION OF shop_book FOR VALUES FROM (MINVALUE) TO ('m');
    CREATE TABLE shop_book_n PARTITION OF shop_book FOR VALUES FROM ('m') TO (MAXVALUE) PARTITION BY RANGE (title);
    CREATE TABLE "Shop book n" PARTITION OF shop_book_n FOR VALUES FROM ('m') TO (MAXVALUE);
"""


def test_each_partition_gets_its_own(database):
    shop = Shop(database, SeparateDatabaseAndState([RunSQL(PARTITIONED)], [book()]))
    index = models.Index(fields=["id"], name="book_index")
    shop.migrate(AddIndexConcurrently("book", index))
    assert shop.execute(
        "SELECT count(*), bool_and(indisvalid) FROM pg_partition_tree('book_index') JOIN pg_index ON indexrelid = relid"
    ) == [(4, True)]

    shop.back()
    assert shop.indexes() == shop.indexes("shop_book_a") == shop.indexes('"Shop book n"') == {}


def test_it_refuses_a_transaction(database):
    shop = Shop(database, book())
    with (
        transaction.atomic(),
        pytest.raises(
            NotSupportedError,
            match=r"The AddIndexConcurrently operation cannot be executed inside a transaction "
            r"\(set atomic = False on the migration\)\.",
        ),
    ):
        shop.migrate(ADD)


def test_a_missing_table_is_named(database):
    shop = Shop(database, book())
    shop.execute("DROP TABLE shop_book")
    with pytest.raises(StepFailed) as caught:
        shop.migrate(ADD)
    assert str(caught.value) == (
        "Table \"shop_book\" doesn't exist in database 'default'. Was its migration faked, or is the search_path "
        "another one? Look with: python manage.py safemigrations verify --sql"
    )


# Backwards.


def test_backwards_and_forwards_again(database):
    shop = Shop(database, book())
    shop.migrate(ADD)
    shop.back()
    assert shop.indexes() == {}
    shop.migrate(ADD)
    assert shop.indexes() == {"book_title": " USING btree (title)"}


def test_backwards_when_the_index_is_gone(database):
    shop = Shop(database, book())
    shop.migrate(ADD)
    shop.execute("DROP INDEX book_title")
    shop.back()
    assert shop.indexes() == {}


# The written form.


def test_the_file():
    assert file_of(ADD) == (
        "from django.db import migrations, models\n"
        "from safemigrations.operations import AddIndexConcurrently\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # builds an index concurrently\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        AddIndexConcurrently(\n"
        "            model_name='book',\n"
        "            index=models.Index(fields=['title'], name='book_title'),\n"
        "        ),\n"
        "    ]\n"
    )


@pytest.mark.parametrize("index", INDEXES, ids=repr)
def test_the_file_is_read_back(index):
    assert_is_read_back(AddIndexConcurrently("book", index))


def test_what_it_says_of_itself():
    assert ADD.describe() == "Create index book_title on field(s) title of model book, concurrently"
    assert ADD.migration_name_fragment == "book_book_title"


# The optimizer.


def test_it_folds_into_the_model_that_is_created_with_it():
    assert optimized(book(), ADD) == optimized(book(indexes=[TITLE]))


def test_it_vanishes_with_its_removal():
    assert optimized(ADD, RemoveIndex("book", "book_title")) == []


def test_nothing_unsafe_becomes_of_it():
    note = AddField("book", "note", models.TextField(null=True))
    assert optimized(ADD, note) == optimized(ADD) + optimized(note)
    assert optimized(note, ADD) == optimized(note) + optimized(ADD)


def test_unrelated_operations_pass():
    """As stock's AddIndex lets them."""
    names = AddField("author", "name", models.TextField(null=True))
    again = AlterField("author", "name", models.CharField(max_length=5, null=True))
    stock = optimized(names, AddIndex("book", TITLE), again)
    assert optimized(names, ADD, again) == [written(ADD) if "AddIndex" in line else line for line in stock]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, book())
        shop.migrate(ADD)
        assert shop.plan(AddIndexConcurrently("book", models.Index(fields=["id"], name="other"))) == "-- (no-op)"
        shop.back()
    assert "shop_book" not in shop.tables()


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, ADD, AddIndex("book", TITLE), book())


# Awkward names.


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("Shop Book's", "Book Title"),
        ('"Books in Quotes"', "order"),
        ('"library"."Shop Book"', "указатель_книги"),
        ("100% book", "i" * 30),
        ("b" * 63, "Book Title"),
        ("книга_" * 5, "указатель_книги"),
        ("select", "order"),
        ('The ""Book"" {}', 'a ""title"" {0}'),
        ('"my ""own"" {}"."Shop ""Book"""', "$safemig$"),
    ],
)
def test_awkward_names(database, table, name):
    shop = Shop(database, LIBRARY, book(db_table=table))
    where = quoted(table)
    shop.migrate(AddIndexConcurrently("book", models.Index(fields=["title"], name=name)))
    assert shop.indexes(where) == {raw(name): " USING btree (title)"}
    shop.back()
    assert shop.indexes(where) == {}


def test_a_leftover_with_an_awkward_name_is_dropped(database):
    shop = Shop(database, LIBRARY, book(db_table='"library"."Shop Book"'))
    shop.execute("""INSERT INTO library."Shop Book" (title) VALUES ('Emma'), ('Emma')""")
    with pytest.raises(Exception, match="could not create unique index"):
        shop.execute('CREATE UNIQUE INDEX CONCURRENTLY "Book Title" ON library."Shop Book" (title)')
    shop.migrate(AddIndexConcurrently("book", models.Index(fields=["title"], name="Book Title")))
    assert shop.indexes('library."Shop Book"') == {"Book Title": " USING btree (title)"}


# Wrong arguments.


def test_an_index_without_a_name_fails_at_import():
    with pytest.raises(ValueError, match="Indexes passed to AddIndex operations require a name argument"):
        AddIndexConcurrently("book", models.Index(fields=["title"]))
