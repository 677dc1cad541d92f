"""RemoveIndex -> RemoveIndexLater."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddField, AddIndex, RemoveIndex, RunSQL, SeparateDatabaseAndState
from django.db.models.functions import Lower
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import AddIndexConcurrently, RemoveIndexLater
from safemigrations.operations.written import written

from .shop import (
    AWKWARD,
    CATCH_UP,
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
OTHER = models.Index(fields=["-title", "id"], name="book_title")
BOOK = book(indexes=[TITLE])
REMOVE = RemoveIndexLater("book", "book_title")
ASIDE = RemoveIndexLater("book", "book_title", set_aside=True)
HERE = {"book_title": " USING btree (title)"}

# The exact plan.


def test_the_plan(database):
    shop = Shop(database, BOOK)
    assert shop.plan(REMOVE) == (
        "-- Left for the contract:\n"
        "--   shop_book: drop index book_title\n"
        '--   DROP INDEX CONCURRENTLY IF EXISTS "book_title";'
    )
    assert shop.plan(REMOVE, backwards=True) == (
        '-- shop_book: index book_title\nCREATE INDEX CONCURRENTLY "book_title" ON "shop_book" ("title");'
    )


def test_the_plan_when_another_index_takes_the_name(database):
    shop = Shop(database, BOOK)
    assert shop.plan(ASIDE) == (
        "-- shop_book: index book_title is called safemig_shop_book_book_title until it is dropped\n"
        'ALTER INDEX IF EXISTS "book_title" RENAME TO "safemig_shop_book_book_title";\n'
        "-- Left for the contract:\n"
        "--   shop_book: drop index safemig_shop_book_book_title\n"
        '--   DROP INDEX CONCURRENTLY IF EXISTS "safemig_shop_book_book_title";'
    )
    assert shop.plan(ASIDE, backwards=True) == (
        "-- shop_book: index book_title\n"
        'CREATE INDEX CONCURRENTLY "safemig_shop_book_book_title" ON "shop_book" ("title");\n'
        "-- shop_book: index book_title gets its name back from what took it\n"
        'ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "book_title";\n'
        'DROP INDEX IF EXISTS "book_title";\n'
        'ALTER INDEX IF EXISTS "safemig_shop_book_book_title" RENAME TO "book_title";'
    )


# Forwards.


def test_it_stays_until_the_contract(database):
    shop = Shop(database, BOOK)
    shop.migrate(REMOVE)
    assert shop.indexes() == HERE
    assert shop.left() == ["drop index book_title of shop_book"]

    shop.contract()
    assert shop.indexes() == {}
    assert shop.left() == []


def test_another_index_takes_its_name_at_once(database):
    shop = Shop(database, BOOK)
    shop.migrate(ASIDE, AddIndexConcurrently("book", OTHER))
    new = {"book_title": " USING btree (title DESC, id)"}
    assert shop.indexes() == {**new, "safemig_shop_book_book_title": " USING btree (title)"}

    shop.contract()
    assert shop.indexes() == new


def test_an_index_of_that_name_in_a_later_migration_waits_for_the_contract(database):
    shop = Shop(database, BOOK)
    shop.migrate(REMOVE)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(AddIndexConcurrently("book", OTHER))
    assert str(caught.value) == (
        "The index book_title still belongs to the contract of shop.0002 (drop index book_title of "
        "shop_book). Nothing was changed. When no server runs the release before that migration any more, type: "
        f"python manage.py migrate shop 0002 --contract --only{CATCH_UP}"
    )
    assert shop.indexes() == HERE

    shop.contract()
    shop.migrate(AddIndexConcurrently("book", OTHER))
    assert shop.indexes() == {"book_title": " USING btree (title DESC, id)"}


def test_an_index_that_is_gone_already_is_no_error(database):
    shop = Shop(database, BOOK)
    shop.execute("DROP INDEX book_title")
    shop.migrate(REMOVE)
    shop.contract()
    assert shop.left() == []


def test_a_table_that_is_gone_is_no_error(database):
    shop = Shop(database, BOOK)
    shop.migrate(REMOVE)
    shop.execute("DROP TABLE shop_book")
    shop.contract()
    assert shop.left() == []


def test_an_index_of_a_partitioned_table(database):
    partitioned = """
        CREATE TABLE shop_book (id bigint, title varchar(100), PRIMARY KEY (id)) PARTITION BY HASH (id);
        CREATE TABLE shop_book_0 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE shop_book_1 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE INDEX book_title ON shop_book (title);
    """
    shop = Shop(database, SeparateDatabaseAndState([RunSQL(partitioned)], [BOOK]))
    shop.migrate(REMOVE)
    shop.contract()
    assert shop.indexes() == shop.indexes("shop_book_0") == {}

    shop.back()
    assert shop.indexes() == HERE
    assert len(shop.indexes("shop_book_1")) == 1


# Backwards.


@pytest.mark.parametrize("operation", [REMOVE, ASIDE])
def test_backwards_before_the_contract_nothing_is_built(database, operation):
    shop = Shop(database, BOOK)
    (before,) = shop.execute("SELECT 'book_title'::regclass::oid")
    shop.migrate(operation)
    shop.back()
    assert shop.left() == []
    assert shop.indexes() == HERE
    assert shop.execute("SELECT 'book_title'::regclass::oid") == [before]


@pytest.mark.parametrize("operation", [REMOVE, ASIDE])
@pytest.mark.parametrize(
    "index", [TITLE, models.Index(Lower("title"), name="book_title", condition=models.Q(id__gt=5))], ids=repr
)
def test_backwards_after_the_contract_it_is_built_again(database, operation, index):
    shop = Shop(database, book(indexes=[index]))
    before = shop.indexes()
    shop.migrate(operation)
    shop.contract()
    assert shop.indexes() == {}
    shop.back()
    assert shop.indexes() == before
    shop.migrate(operation)
    shop.contract()
    assert shop.indexes() == {}


def test_backwards_with_an_index_that_took_the_name(database):
    shop = Shop(database, BOOK)
    shop.migrate(ASIDE, AddIndexConcurrently("book", OTHER))
    shop.back()
    assert shop.indexes() == HERE
    shop.migrate(ASIDE, AddIndexConcurrently("book", OTHER))
    shop.contract()
    shop.back()
    assert shop.indexes() == HERE


def test_before_the_contract_another_may_not_be_set_aside(database):
    """There is one name for what is set aside, and the first that has it is still to be dropped."""
    shop = Shop(database, BOOK)
    over = AddIndexConcurrently("book", OTHER, takes_over=True)
    shop.migrate(ASIDE, over)
    with pytest.raises(StepFailed, match="The index safemig_shop_book_book_title still belongs to the contract of"):
        shop.migrate(ASIDE, AddIndexConcurrently("book", TITLE, takes_over=True))
    shop.contract()
    shop.migrate(ASIDE, AddIndexConcurrently("book", TITLE, takes_over=True))
    shop.contract()
    assert shop.indexes() == HERE


# The written form.


def test_the_file():
    assert file_of(REMOVE) == (
        "from django.db import migrations\n"
        "from safemigrations.operations import RemoveIndexLater\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        RemoveIndexLater(\n"
        "            model_name='book',\n"
        "            name='book_title',\n"
        "        ),\n"
        "    ]\n"
    )


@pytest.mark.parametrize("operation", [REMOVE, ASIDE])
def test_the_file_is_read_back(operation):
    assert_is_read_back(operation)


def test_what_it_says_of_itself():
    assert REMOVE.describe() == "Remove index book_title from book; dropped by the contract"
    assert REMOVE.migration_name_fragment == "remove_book_book_title"


# The optimizer.


def test_the_index_of_a_model_that_is_created_with_it_vanishes():
    assert optimized(BOOK, REMOVE) == optimized(BOOK, RemoveIndex("book", "book_title")) == optimized(book(indexes=[]))


def test_it_vanishes_with_the_operation_that_adds_the_index():
    assert optimized(AddIndexConcurrently("book", TITLE), REMOVE) == []
    assert optimized(AddIndex("book", TITLE), REMOVE) == []


def test_the_index_that_takes_the_name_stays():
    both = [ASIDE, AddIndexConcurrently("book", OTHER)]
    assert optimized(*both) == [written(operation) for operation in both]


def test_nothing_unsafe_becomes_of_it():
    note = AddField("book", "note", models.TextField(null=True))
    assert optimized(REMOVE, note) == optimized(REMOVE) + optimized(note)
    assert optimized(note, REMOVE) == optimized(note) + optimized(REMOVE)


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, BOOK)
        shop.migrate(REMOVE)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


@pytest.mark.parametrize("operation", [REMOVE, ASIDE])
def test_another_backend_does_what_stock_does(tmp_path, operation):
    assert_does_what_stock_does(tmp_path, operation, RemoveIndex("book", "book_title"), BOOK)


# Awkward names.


@pytest.mark.parametrize(("table", "name"), AWKWARD)
def test_awkward_names(database, table, name):
    index = models.Index(fields=["title"], name=name)
    shop = Shop(database, LIBRARY, book(db_table=table, indexes=[index]))
    where = quoted(table)
    new = models.Index(fields=["id"], name=name)
    shop.migrate(RemoveIndexLater("book", name, set_aside=True), AddIndexConcurrently("book", new))
    aside, here = sorted(shop.indexes(where), key=lambda found: found == raw(name))
    assert here == raw(name)
    assert aside.startswith("safemig_")
    assert len(aside.encode()) <= 63

    shop.contract()
    assert shop.indexes(where) == {raw(name): " USING btree (id)"}
    shop.back()
    assert shop.indexes(where) == {raw(name): " USING btree (title)"}


# Wrong arguments.


def test_an_index_that_the_model_lacks_is_named(database):
    shop = Shop(database, BOOK)
    with pytest.raises(ValueError, match="No index named nothing on model Book"):
        shop.migrate(RemoveIndexLater("book", "nothing"))
    assert shop.left() == []
