"""AlterUniqueTogether -> AlterUniqueTogetherConcurrently."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, models
from django.db.migrations import AddField, AlterUniqueTogether, CreateModel
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import AlterUniqueTogetherConcurrently
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

TOGETHER = {("title", "pages")}
ADD = AlterUniqueTogetherConcurrently("book", TOGETHER)
REMOVE = AlterUniqueTogetherConcurrently("book", set())


def with_pages(**options: Any) -> CreateModel:
    return book(("pages", models.IntegerField(null=True)), **options)


# The exact plan.


def test_the_plan_of_what_is_added(database):
    shop = Shop(database, with_pages())
    assert shop.plan(ADD).endswith(
        "-- shop_book: unique index shop_book_title_pages_f2d71c4a_uniq\n"
        'CREATE UNIQUE INDEX CONCURRENTLY "shop_book_title_pages_f2d71c4a_uniq" ON "shop_book" ("title", "pages");\n'
        "-- shop_book: (title, pages) is unique\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_title_pages_f2d71c4a_uniq"'
        ' UNIQUE USING INDEX "shop_book_title_pages_f2d71c4a_uniq";'
    )
    assert shop.plan(ADD).startswith("-- shop_book: no two rows have the same (title, pages)")
    assert shop.plan(ADD, backwards=True) == (
        "-- shop_book: drop unique constraint shop_book_title_pages_f2d71c4a_uniq\n"
        'ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "shop_book_title_pages_f2d71c4a_uniq";\n'
        "-- shop_book: drop index shop_book_title_pages_f2d71c4a_uniq\n"
        'DROP INDEX CONCURRENTLY IF EXISTS "shop_book_title_pages_f2d71c4a_uniq";'
    )


def test_the_plan_of_what_is_removed(database):
    shop = Shop(database, with_pages(unique_together=TOGETHER))
    assert shop.plan(REMOVE) == (
        "-- Left for the contract:\n"
        "--   shop_book: drop unique (title, pages)\n"
        "--   DO $safemig$ DECLARE found record; BEGIN FOR found IN WITH there(conname) AS (SELECT conname::text FROM"
        " pg_constraint WHERE conrelid = to_regclass('\"shop_book\"') AND contype = 'u' AND"
        " (SELECT array_agg(attname::text ORDER BY attname::text) FROM pg_attribute WHERE attrelid = conrelid AND"
        " attnum = ANY (conkey)) = (SELECT array_agg(name ORDER BY name) FROM unnest(ARRAY['title', 'pages']::text[])"
        " AS name)) SELECT conname FROM there WHERE conname IN ('shop_book_title_pages_f2d71c4a_uniq') OR"
        " (conname ~ '_(uniq|key[0-9]*)$' AND NOT EXISTS"
        " (SELECT FROM there WHERE conname IN ('shop_book_title_pages_f2d71c4a_uniq')))"
        " LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', '\"shop_book\"', found.conname); END LOOP;"
        " END $safemig$;"
    )


# Forwards.


def test_what_is_added_is_the_one_of_stock_and_there_before_new_code(database):
    shop = Shop(database, with_pages())
    shop.migrate(AlterUniqueTogether("book", TOGETHER))  # type: ignore[arg-type]
    stock = shop.constraints(), shop.indexes()
    shop.back()
    shop.migrate(ADD)
    assert (shop.constraints(), shop.indexes()) == stock
    assert shop.left() == []
    shop.again()
    assert (shop.constraints(), shop.indexes()) == stock


def test_what_is_removed_stays_until_the_contract(database):
    shop = Shop(database, with_pages(unique_together=TOGETHER))
    old, before = shop.model(), shop.constraints()
    shop.migrate(REMOVE)
    assert shop.constraints() == before
    assert shop.left() == ["drop unique (title, pages) of shop_book"]
    for _ in range(2):
        old.objects.bulk_create(
            [old(title="Emma", pages=1)],
            update_conflicts=True,
            update_fields=["title"],
            unique_fields=["title", "pages"],
        )
    with pytest.raises(IntegrityError):
        old.objects.create(title="Emma", pages=1)

    shop.contract()
    assert shop.constraints() == shop.indexes() == {}
    old.objects.create(title="Emma", pages=1)


def test_one_goes_and_another_comes(database):
    shop = Shop(database, with_pages(unique_together={("title", "pages"), ("pages", "id")}))
    shop.migrate(AlterUniqueTogetherConcurrently("book", {("pages", "id"), ("title", "id")}))
    assert sorted(shop.constraints().values()) == ["UNIQUE (pages, id)", "UNIQUE (title, id)", "UNIQUE (title, pages)"]
    shop.contract()
    assert sorted(shop.constraints().values()) == ["UNIQUE (pages, id)", "UNIQUE (title, id)"]
    shop.back()
    assert sorted(shop.constraints().values()) == ["UNIQUE (pages, id)", "UNIQUE (title, pages)"]


def test_one_whose_name_nobody_can_compute_is_dropped(database):
    shop = Shop(database, with_pages(unique_together=TOGETHER))
    (name,) = shop.constraints()
    shop.execute(f"ALTER TABLE shop_book RENAME CONSTRAINT {name} TO library_book_title_pages_0a1b2c3d_uniq")
    shop.migrate(REMOVE)
    shop.contract()
    assert shop.constraints() == {}


def test_duplicates_are_named_before_anything_is_touched(database):
    shop = Shop(database, with_pages())
    old = shop.model()
    old.objects.bulk_create([old(title=title, pages=1) for title in ("Emma", "Emma", "Evelina")])
    old.objects.bulk_create([old(title="Emma"), old(title="Emma")])  # nulls are no duplicates
    with pytest.raises(StepFailed) as caught:
        shop.migrate(ADD)
    assert str(caught.value) == (
        "shop.Book: several rows have the same (title, pages): Emma 1. Nothing was changed. Remove the duplicates, "
        "then run the same command again."
    )
    assert shop.indexes() == {}
    shop.execute("DELETE FROM shop_book WHERE id = 1")
    shop.migrate(ADD)
    assert list(shop.constraints().values()) == ["UNIQUE (title, pages)"]


def test_columns_of_foreign_keys(database):
    author = CreateModel("Author", [KEY])
    shop = Shop(database, author, book(("author", models.ForeignKey("shop.author", models.CASCADE))))
    together = {("author", "title")}
    shop.migrate(AlterUniqueTogether("book", together))  # type: ignore[arg-type]
    stock = shop.constraints()
    shop.back()
    shop.migrate(AlterUniqueTogetherConcurrently("book", together))
    assert shop.constraints() == stock
    shop.migrate(REMOVE)
    shop.contract()
    assert not [definition for definition in shop.constraints().values() if "UNIQUE" in definition]


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("operation", [ADD, REMOVE], ids=["add", "remove"])
def test_backwards_and_forwards_again(database, operation, contracted):
    shop = Shop(database, with_pages(**({} if operation is ADD else {"unique_together": TOGETHER})))
    before = shop.constraints(), shop.indexes()
    for _ in range(2):
        shop.migrate(operation)
        if contracted:
            shop.contract()
        shop.back()
        assert (shop.constraints(), shop.indexes()) == before
        assert shop.left() == []


# The written form.


def test_the_file():
    assert (
        "        AlterUniqueTogetherConcurrently(\n"
        "            name='book',\n"
        "            unique_together={('title', 'pages')},\n"
        "        ),\n"
    ) in file_of(ADD)


@pytest.mark.parametrize("operation", [ADD, REMOVE], ids=["add", "remove"])
def test_the_file_is_read_back(operation):
    assert_is_read_back(operation)


def test_what_it_says_of_itself():
    assert ADD.describe() == (
        "Alter unique_together for book (1 constraint(s)); what is removed is dropped by the contract"
    )
    assert ADD.migration_name_fragment == "alter_book_unique_together"


# The optimizer.


def test_it_folds_into_the_model_that_is_created_with_it():
    assert optimized(with_pages(), ADD) == optimized(with_pages(unique_together=TOGETHER))


def test_it_is_never_folded_into_stock_operations():
    stock = AlterUniqueTogether("book", {("title", "id")})
    assert optimized(ADD, stock) == [written(ADD), written(stock)]
    assert optimized(ADD, REMOVE) == [written(ADD), written(REMOVE)]


def test_nothing_unsafe_becomes_of_it():
    note = AddField("book", "note", models.TextField(null=True))
    assert optimized(ADD, note) == [written(ADD), written(note)]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, with_pages())
        shop.migrate(ADD)
        shop.migrate(REMOVE)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


@pytest.mark.parametrize("together", [TOGETHER, {("pages", "id")}], ids=["same", "other"])
def test_another_backend_does_what_stock_does(tmp_path, together):
    ours, stock = AlterUniqueTogetherConcurrently("book", together), AlterUniqueTogether("book", together)
    assert_does_what_stock_does(tmp_path, ours, stock, with_pages(unique_together={("title", "id")}))


# Awkward names.


@pytest.mark.parametrize(("table", "column"), AWKWARD)
def test_awkward_names(database, table, column):
    extra = models.IntegerField(db_column=column, null=True)
    shop = Shop(database, LIBRARY, book(("extra", extra), db_table=table))
    where = quoted(table)
    shop.migrate(AlterUniqueTogetherConcurrently("book", {("title", "extra")}))
    shop.again()
    assert len(shop.constraints(where)) == len(shop.indexes(where)) == 1
    shop.migrate(REMOVE)
    shop.contract()
    assert shop.constraints(where) == shop.indexes(where) == {}
    shop.back()
    assert len(shop.constraints(where)) == len(shop.indexes(where)) == 1
    shop.back()
    assert shop.constraints(where) == shop.indexes(where) == {}


# Wrong arguments.


def test_a_field_that_the_model_lacks_is_named(database):
    shop = Shop(database, with_pages())
    with pytest.raises(Exception, match="'nothing'"):
        shop.migrate(AlterUniqueTogetherConcurrently("book", {("title", "nothing")}))
