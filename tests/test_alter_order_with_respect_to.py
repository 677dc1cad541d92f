"""AlterOrderWithRespectTo -> AlterOrderWithRespectToConcurrently."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AlterOrderWithRespectTo, CreateModel
from django.test import override_settings

from safemigrations.operations import AlterOrderWithRespectToConcurrently
from safemigrations.operations.written import written

from .shop import (
    KEY,
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

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField())])
BY = ("author", models.ForeignKey("shop.author", models.CASCADE))
ORDER = AlterOrderWithRespectToConcurrently("book", "author")
NO_ORDER = AlterOrderWithRespectToConcurrently("book", None)


def ordered(**options: str) -> CreateModel:
    return book(BY, order_with_respect_to="author", **options)


# The exact plan.


def test_the_plan_of_a_new_order(database):
    shop = Shop(database, AUTHOR, book(BY))
    assert shop.plan(ORDER) == (
        "-- shop_book: add column _order, 0 for every row\n"
        'ALTER TABLE "shop_book" ADD COLUMN "_order" integer NOT NULL DEFAULT 0;\n'
        "-- Left for the contract:\n"
        "--   shop_book: _order needs no default in the database any more\n"
        '--   ALTER TABLE "shop_book" ALTER COLUMN "_order" DROP DEFAULT;'
    )
    assert shop.plan(ORDER, backwards=True) == (
        "-- shop_book: _order defaults to 0\n"
        'ALTER TABLE "shop_book" ALTER COLUMN "_order" SET DEFAULT 0;\n'
        "-- shop_book: drop column _order\n"
        'ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "_order";'
    )


def test_the_plan_of_an_order_that_goes(database):
    shop = Shop(database, AUTHOR, ordered())
    assert shop.plan(NO_ORDER) == (
        "-- shop_book: _order defaults to 0\n"
        'ALTER TABLE "shop_book" ALTER COLUMN "_order" SET DEFAULT 0;\n'
        "-- Left for the contract:\n"
        "--   shop_book: drop column _order\n"
        '--   ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "_order";'
    )
    assert shop.plan(NO_ORDER, backwards=True) == (
        "-- shop_book: add column _order again\n"
        'ALTER TABLE "shop_book" ADD COLUMN "_order" integer NOT NULL DEFAULT 0;\n'
        "-- shop_book: _order needs no default in the database any more\n"
        'ALTER TABLE "shop_book" ALTER COLUMN "_order" DROP DEFAULT;'
    )


# Forwards.


def test_both_releases_write_while_an_order_comes(database):
    shop = Shop(database, AUTHOR, book(BY))
    author, old = shop.model("Author").objects.create(name="Austen").pk, shop.model()
    old.objects.create(title="before", author_id=author)
    shop.migrate(ORDER)
    old.objects.create(title="since", author_id=author)
    new = shop.model()
    new.objects.create(title="new", author_id=author)
    new.objects.create(title="newer", author_id=author)
    assert shop.execute("SELECT title, _order FROM shop_book ORDER BY id") == [
        ("before", 0),
        ("since", 0),
        ("new", 1),
        ("newer", 2),
    ]
    assert shop.left() == ["drop the database default of _order of shop_book"]

    shop.contract()
    assert shop.columns()["_order"] == "integer NOT NULL"


def test_both_releases_write_while_an_order_goes(database):
    shop = Shop(database, AUTHOR, ordered())
    author, old = shop.model("Author").objects.create(name="Austen").pk, shop.model()
    old.objects.create(title="before", author_id=author)
    old.objects.create(title="second", author_id=author)
    shop.migrate(NO_ORDER)
    shop.model().objects.create(title="new", author_id=author)
    assert set(old.objects.values_list("title", "_order")) == {("before", 0), ("second", 1), ("new", 0)}
    assert shop.left() == ["drop _order of shop_book"]

    shop.contract()
    assert list(shop.columns()) == ["id", "title", "author_id"]


def test_another_parent_changes_nothing(database):
    editor = ("editor", models.ForeignKey("shop.author", models.CASCADE, related_name="+"))
    shop = Shop(database, AUTHOR, book(BY, editor, order_with_respect_to="author"))
    before = shop.columns()
    shop.migrate(AlterOrderWithRespectToConcurrently("book", "editor"))
    assert shop.columns() == before
    assert shop.left() == []


@pytest.mark.parametrize("name", ["author", None])
def test_the_end_is_the_one_of_stock(database, name):
    shop = Shop(database, AUTHOR, book(BY) if name else ordered())
    shop.migrate(AlterOrderWithRespectTo("book", name))
    stock = shop.columns()
    shop.back()
    shop.migrate(AlterOrderWithRespectToConcurrently("book", name))
    shop.again()
    shop.contract()
    assert shop.columns() == stock


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("operation", [ORDER, NO_ORDER], ids=["comes", "goes"])
def test_backwards_and_forwards_again(database, operation, contracted):
    shop = Shop(database, AUTHOR, book(BY) if operation is ORDER else ordered())
    before = shop.columns()
    for _ in range(2):
        shop.migrate(operation)
        if contracted:
            shop.contract()
        shop.back()
        assert shop.columns() == before
        assert shop.left() == []


def test_backwards_before_the_contract_the_order_is_what_it_was(database):
    shop = Shop(database, AUTHOR, ordered())
    author = shop.model("Author").objects.create(name="Austen").pk
    for title in "ab":
        shop.model().objects.create(title=title, author_id=author)
    shop.migrate(NO_ORDER)
    shop.back()
    assert shop.execute("SELECT _order FROM shop_book ORDER BY id") == [0, 1]


# The written form.


def test_the_file():
    assert file_of(ORDER) == (
        "from django.db import migrations\n"
        "from safemigrations.operations import AlterOrderWithRespectToConcurrently\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        AlterOrderWithRespectToConcurrently(\n"
        "            name='book',\n"
        "            order_with_respect_to='author',\n"
        "        ),\n"
        "    ]\n"
    )


def test_the_file_is_read_back():
    assert_is_read_back(ORDER)
    assert_is_read_back(NO_ORDER)


def test_what_it_says_of_itself():
    assert ORDER.describe() == "Set order_with_respect_to on book to author; both releases can write until the contract"
    assert ORDER.migration_name_fragment == "alter_book_order_with_respect_to"


# The optimizer.


def test_it_is_never_folded_into_stock_operations():
    stock = AlterOrderWithRespectTo("book", None)
    assert optimized(ORDER, stock) == [written(ORDER), written(stock)]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, AUTHOR, book(BY))
        shop.migrate(ORDER)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    stock = AlterOrderWithRespectTo("book", "author")
    assert_does_what_stock_does(tmp_path, ORDER, stock, AUTHOR, book(BY))


# Awkward names.


@pytest.mark.parametrize("table", ["Book's", '"library"."Shop Book"', "b" * 63, "книга", 'The ""Book"" {}'])
@pytest.mark.parametrize("operation", [ORDER, NO_ORDER], ids=["comes", "goes"])
def test_awkward_names(database, table, operation):
    shop = Shop(database, LIBRARY, AUTHOR, book(BY, db_table=table) if operation is ORDER else ordered(db_table=table))
    before = shop.columns(quoted(table))
    shop.migrate(operation)
    shop.contract()
    assert ("_order" in shop.columns(quoted(table))) == (operation is ORDER)
    shop.back()
    assert shop.columns(quoted(table)) == before
