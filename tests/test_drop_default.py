"""AlterField that drops db_default -> DropDefaultLater."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, models
from django.db.migrations import AddField, AlterField, RemoveField
from django.test import override_settings

from safemigrations.operations import DropDefaultLater
from safemigrations.operations.written import written

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
    raw,
)

WITH = ("state", models.CharField(max_length=10, db_default="it's 100%"))
DROP = DropDefaultLater("book", "state", models.CharField(max_length=10))


# The exact plan.


def test_the_plan(database):
    shop = Shop(database, book(WITH))
    assert shop.plan(DROP) == (
        "-- Left for the contract:\n"
        "--   shop_book: state needs no default in the database any more\n"
        '--   ALTER TABLE "shop_book" ALTER COLUMN "state" DROP DEFAULT;'
    )
    assert shop.plan(DROP, backwards=True) == (
        "-- shop_book: state defaults to 'it''s 100%'\n"
        """ALTER TABLE "shop_book" ALTER COLUMN "state" SET DEFAULT 'it''s 100%';"""
    )


# Forwards.


def test_the_old_release_gets_its_default_until_the_contract(database):
    shop = Shop(database, book(WITH))
    old = shop.model()
    shop.migrate(DROP)
    old.objects.create(title="old")
    new = shop.model()
    new.objects.create(title="new", state="new")
    assert shop.execute("SELECT state FROM shop_book ORDER BY id") == ["it's 100%", "new"]
    assert shop.left() == ["drop the default of state of shop_book"]

    shop.contract()
    assert shop.columns()["state"] == "character varying(10) NOT NULL"
    with pytest.raises(IntegrityError):
        old.objects.create(title="too old")


def test_the_end_is_the_one_of_stock(database):
    shop = Shop(database, book(WITH))
    shop.migrate(AlterField("book", "state", DROP.field))
    stock = shop.columns()
    shop.back()
    shop.migrate(DROP)
    shop.contract()
    assert shop.columns() == stock


def test_a_killed_run_goes_on(database):
    shop = Shop(database, book(WITH))
    shop.migrate(DROP)
    shop.again()
    assert shop.left() == ["drop the default of state of shop_book"]


def test_what_changes_besides_is_refused(database):
    shop = Shop(database, book(WITH))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        shop.migrate(DropDefaultLater("book", "state", models.CharField(max_length=20, unique=True)))
    assert str(caught.value) == (
        "DropDefaultLater book.state also changes type, adds unique. Put that into an operation of its own before this "
        "one, or let makemigrations write them."
    )
    assert shop.constraints() == {}


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
def test_backwards_and_forwards_again(database, contracted):
    shop = Shop(database, book(WITH))
    before = shop.columns()
    for _ in range(2):
        shop.migrate(DROP)
        if contracted:
            shop.contract()
        shop.back()
        assert shop.columns() == before
        assert shop.left() == []


# The written form.


def test_the_file():
    assert file_of(DROP) == (
        "from django.db import migrations, models\n"
        "from safemigrations.operations import DropDefaultLater\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        DropDefaultLater(\n"
        "            model_name='book',\n"
        "            name='state',\n"
        "            field=models.CharField(max_length=10),\n"
        "        ),\n"
        "    ]\n"
    )


def test_the_file_is_read_back():
    assert_is_read_back(DROP)
    assert_is_read_back(DropDefaultLater("book", "state", models.IntegerField(default=3), preserve_default=False))


def test_what_it_says_of_itself():
    assert DROP.describe() == "Alter field state on book; its database default is dropped by the contract"
    assert DROP.migration_name_fragment == "alter_book_state"


# The optimizer.


@pytest.mark.parametrize(
    "stock", [AlterField("book", "state", models.CharField(max_length=20)), RemoveField("book", "state")], ids=str
)
def test_it_is_never_folded_into_stock_operations(stock):
    assert optimized(DROP, stock) == [written(DROP), written(stock)]


def test_unrelated_operations_pass():
    add, alter = AddField("author", "name", models.TextField()), AlterField("author", "name", models.IntegerField())
    assert optimized(add, DROP, alter) == [
        written(DROP),
        written(AddField("author", "name", models.IntegerField())),
    ]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, book(WITH))
        shop.migrate(DROP)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, DROP, AlterField("book", "state", DROP.field), book(WITH))


# Awkward names.


@pytest.mark.parametrize(("table", "column"), AWKWARD)
def test_awkward_names(database, table, column):
    with_default = models.CharField(max_length=10, db_default="a%s'", db_column=column)
    shop = Shop(database, LIBRARY, book(("state", with_default), db_table=table))
    before = shop.columns(quoted(table))
    shop.migrate(DropDefaultLater("book", "state", models.CharField(max_length=10, db_column=column)))
    assert shop.columns(quoted(table)) == before
    shop.contract()
    assert shop.columns(quoted(table))[raw(column)] == "character varying(10) NOT NULL"
    shop.back()
    assert shop.columns(quoted(table)) == before


# Wrong arguments.


def test_a_field_that_keeps_its_default_fails_at_import():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        DropDefaultLater("book", "state", WITH[1])
    assert str(caught.value) == "DropDefaultLater book.state: the field still has a db_default."
