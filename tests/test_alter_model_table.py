"""AlterModelTable -> ExpandAlterModelTable."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import AddField, AlterField, AlterModelTable, CreateModel
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import ExpandAlterModelTable
from safemigrations.operations.written import written

from .shop import (
    AWKWARD,
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
from .snapshot import difference, snapshot
from .test_rename_model import catalog_of, own_m2m, use, without_blocks

OURS = {
    "django_migrations",
    "safemigrations_contract",
    "safemigrations_history",
    "safemigrations_history_step",
}

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField(default=""))])
ALTER = ExpandAlterModelTable("book", "novels")
STOCK = AlterModelTable("book", "novels")


# The exact plan.


def test_the_plan(database):
    shop = Shop(database, book())
    assert without_blocks(shop.plan(ALTER)) == (
        "-- shop_book: its row-level security holds behind a view, too (looked up when it is run)\n"
        "-- shop_book: shop_book is called novels, and a view has the old names\n"
        'ALTER TABLE "shop_book" RENAME TO "novels";\n'
        'CREATE VIEW "shop_book" AS SELECT * FROM "novels" safemig_old_name;\n'
        "COMMENT ON VIEW \"shop_book\" IS 'safemigrations: the old name of a table, until migrate --contract';\n"
        "-- Left for the contract:\n"
        "--   shop_book: no function of your triggers uses the old name (looked up when it is run)\n"
        "--   shop_book: drop the view; the table is called novels\n"
        '--   DROP VIEW IF EXISTS "shop_book";'
    )
    assert shop.plan(ALTER, backwards=True) == (
        "-- shop_book: the table has its old name again\n"
        'DROP VIEW IF EXISTS "shop_book";\n'
        'ALTER TABLE "novels" RENAME TO "shop_book";'
    )


# Forwards.


def test_both_names_work_until_the_contract(database):
    shop = Shop(database, AUTHOR, book(("authors", own_m2m())))
    old = shop.model()
    shop.migrate(ALTER)
    new = shop.model()
    for one, other in ((old, new), (new, old)):
        row = use(one)
        assert other.objects.get(pk=row.pk).title == "Persuasion"
        one.authors.through.objects.create(book_id=row.pk, author_id=shop.model("Author").objects.create().pk)
        assert other.authors.through.objects.filter(book_id=row.pk).delete()[0] == 1
    assert shop.left() == ["drop the old name of novels"]
    shop.contract()
    assert shop.tables() - OURS == {"shop_author", "novels", "novels_authors"}
    use(new)


def test_to_the_default_name(database):
    shop = Shop(database, book(db_table="novels"))
    old = shop.model()
    shop.migrate(ExpandAlterModelTable("book", None))
    use(old)
    use(shop.model())
    shop.contract()
    assert shop.tables() - OURS == {"shop_book"}


def test_the_same_name_leaves_nothing_to_do(database):
    shop = Shop(database, book())
    shop.migrate(ExpandAlterModelTable("book", "shop_book"))
    assert shop.left() == []


def test_another_schema_is_refused_before_anything_is_touched(database):
    shop = Shop(database, LIBRARY, book())
    before = snapshot(database)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(ExpandAlterModelTable("book", '"library"."tome"'))
    assert str(caught.value) == (
        """shop_book can't be renamed to "library"."tome". Django can't move a table into another schema. Do it by """
        "hand: ALTER TABLE ... SET SCHEMA, and a view under the old name for the old release, in a "
        "RunSQL beside AlterModelTable in SeparateDatabaseAndState."
    )
    assert difference(before, snapshot(database)) == {}


def test_the_end_is_that_of_the_stock_operation(two_databases):
    ends = []
    for connection, operation in zip(two_databases, (ALTER, STOCK), strict=True):
        shop = Shop(connection, AUTHOR, book(("authors", own_m2m())))
        shop.migrate(operation)
        shop.contract()
        ends.append(catalog_of(shop))
    assert ends[0] == ends[1]


def test_it_goes_on_where_it_stopped(database):
    shop = Shop(database, AUTHOR, book(("authors", own_m2m())))
    shop.migrate(ALTER)
    shop.again()
    shop.contract()
    after = shop.tables()
    with override_settings(SAFEMIGRATIONS={"CONTRACT": "immediately"}):
        shop.again()
    assert shop.tables() == after


def test_a_table_that_is_in_the_way_is_said(database):
    shop = Shop(database, book())
    shop.execute("CREATE VIEW novels AS SELECT 1")
    with pytest.raises(StepFailed, match='relation "novels" already exists'):
        shop.migrate(ALTER)
    assert "shop_book" in shop.tables()


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
def test_backwards(database, contracted):
    shop = Shop(database, AUTHOR, book(("authors", own_m2m())))
    row = shop.model().objects.create(title="Emma")
    before = catalog_of(shop)
    for _ in range(2):
        shop.migrate(ALTER)
        if contracted:
            shop.contract()
        shop.back()
        assert catalog_of(shop) == before
        assert shop.left() == []
    assert shop.model().objects.get().pk == row.pk


# The written form.


def test_the_file():
    assert file_of(ALTER) == (
        "from django.db import migrations\n"
        "from safemigrations.operations import ExpandAlterModelTable\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        ExpandAlterModelTable(\n"
        "            name='book',\n"
        "            table='novels',\n"
        "        ),\n"
        "    ]\n"
    )


@pytest.mark.parametrize("table", ["novels", None])
def test_the_file_is_read_back(table):
    assert_is_read_back(ExpandAlterModelTable("book", table))


def test_what_it_says_of_itself():
    assert ALTER.describe() == "Rename table for book to novels; both names work until the contract"
    assert ALTER.migration_name_fragment == "alter_book_table"
    assert ALTER.model_name == "book"


# The optimizer.


def test_two_of_them_are_not_folded():
    again = ExpandAlterModelTable("book", "tales")
    assert optimized(ALTER, again) == [written(ALTER), written(again)]


def test_unrelated_operations_pass():
    note = AddField("author", "note", models.TextField(null=True))
    alter = AlterField("author", "note", models.CharField(max_length=5, null=True))
    after = AddField("author", "note", models.CharField(max_length=5, null=True))
    assert sorted(optimized(note, ALTER, alter)) == sorted([written(after), written(ALTER)])


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, book())
        shop.migrate(ALTER)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, ALTER, STOCK, AUTHOR, book(("authors", own_m2m())))


# Awkward names.


@pytest.mark.parametrize("table", sorted({table for table, _ in AWKWARD}))
def test_awkward_names(database, table):
    schema, dot, _ = table.rpartition('"."')
    new = f"""{schema}{dot}It's "" {{}} new{'"' if dot else ""}"""
    shop = Shop(database, LIBRARY, book(db_table=table))
    before = shop.columns(quoted(table)), shop.indexes(quoted(table)), shop.constraints(quoted(table))
    old: Any = shop.model()
    shop.migrate(ExpandAlterModelTable("book", new))
    use(old)
    use(shop.model())
    shop.contract()
    assert shop.execute(f"SELECT to_regclass('{quoted(table)}')") == [None]
    use(shop.model())
    shop.back()
    assert (shop.columns(quoted(table)), shop.indexes(quoted(table)), shop.constraints(quoted(table))) == before


# Wrong arguments.


def test_a_model_that_does_not_exist_is_named(database):
    shop = Shop(database, book())
    with pytest.raises(Exception, match="nothing"):
        shop.migrate(ExpandAlterModelTable("nothing", "something"))
