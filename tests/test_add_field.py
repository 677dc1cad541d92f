"""AddField, nullable or with db_default, and many-to-many -> AddFieldConcurrently."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.db import IntegrityError, models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterUniqueTogether,
    CreateModel,
    RemoveField,
)

from safemigrations.checking.rules import find
from safemigrations.operations import AddFieldConcurrently
from safemigrations.operations.rule import Context
from safemigrations.operations.written import written

from .representatives import crossed
from .sections import Specimen, by_name
from .shop import AWKWARD, KEY, Shop, book, file_of, optimized

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField())])


def add(field: Any, name: str = "extra", **options: Any) -> AddFieldConcurrently:
    return AddFieldConcurrently("book", name, field, **options)


def related(**options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey("shop.author", options.pop("on_delete", models.CASCADE), **options)


CODE = add(models.CharField(max_length=20, null=True, unique=True), "code")
WRITER = add(related(null=True), "author")
WRITERS = add(models.ManyToManyField("shop.author"), "authors")
OWN = "FOREIGN KEY (author_id) REFERENCES shop_author(id) DEFERRABLE INITIALLY DEFERRED"
INDEXED = add(models.CharField(max_length=20, null=True, db_index=True), "code")
CHECKED = add(models.PositiveIntegerField(null=True, default=5))
SPECIMENS = {
    "unique": Specimen(CODE, book()),
    "index": Specimen(INDEXED, book()),
    "check": Specimen(CHECKED, book()),
    "foreign key": Specimen(
        WRITER, AUTHOR, book(), left="let the foreign key of author_id of shop_book keep its parents"
    ),
    "many-to-many": Specimen(
        WRITERS, AUTHOR, book(), left="let the foreign keys of shop_book_authors keep their parents"
    ),
}
LETS_GO = (
    "FOREIGN KEY (author_id) REFERENCES shop_author(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED NOT VALID"
)


# The exact plan.


def test_the_plan_of_a_unique_field(database):
    shop = Shop(database, book())
    assert shop.plan(CODE) == (
        "-- shop_book: add column code\n"
        'ALTER TABLE "shop_book" ADD COLUMN "code" varchar(20) NULL;\n'
        "-- shop_book: index shop_book_code_6d2c2ad5_like\n"
        'CREATE INDEX CONCURRENTLY "shop_book_code_6d2c2ad5_like" ON "shop_book" ("code" varchar_pattern_ops);\n'
        "-- shop_book: unique index shop_book_code_key\n"
        'CREATE UNIQUE INDEX CONCURRENTLY "shop_book_code_key" ON "shop_book" ("code");\n'
        "-- shop_book: (code) is unique\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_code_key" UNIQUE USING INDEX "shop_book_code_key";'
    )
    assert shop.plan(CODE, backwards=True) == (
        "-- shop_book: drop unique constraint shop_book_code_key\n"
        'ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "shop_book_code_key";\n'
        "-- shop_book: drop index shop_book_code_key\n"
        'DROP INDEX CONCURRENTLY IF EXISTS "shop_book_code_key";\n'
        "-- shop_book: drop column code\n"
        'ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "code";'
    )


def test_the_plan_of_a_check_and_a_default_for_the_rows_that_are_there(database):
    field = models.PositiveIntegerField(null=True, default=5)
    assert Shop(database, book()).plan(add(field)) == (
        "-- shop_book: add column extra, 5 for the rows that are there\n"
        'ALTER TABLE "shop_book" ADD COLUMN "extra" integer NULL DEFAULT 5;\n'
        'ALTER TABLE "shop_book" ALTER COLUMN "extra" DROP DEFAULT;\n'
        "-- shop_book: check shop_book_extra_check holds for new rows\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_extra_check" CHECK ("extra" >= 0) NOT VALID;\n'
        "-- shop_book: check shop_book_extra_check holds for every row (checked without blocking)\n"
        'ALTER TABLE "shop_book" VALIDATE CONSTRAINT "shop_book_extra_check";'
    )


def test_the_plan_of_a_foreign_key(database):
    shop = Shop(database, AUTHOR, book())
    name = "shop_book_author_id_82b8ab51_fk_shop_author_id"
    to = 'FOREIGN KEY ("author_id") REFERENCES "shop_author" ("id")'
    assert shop.plan(WRITER) == (
        "-- shop_book: add column author_id\n"
        'ALTER TABLE "shop_book" ADD COLUMN "author_id" bigint NULL;\n'
        "-- shop_book: index shop_book_author_id_82b8ab51\n"
        'CREATE INDEX CONCURRENTLY "shop_book_author_id_82b8ab51" ON "shop_book" ("author_id");\n'
        "-- shop_book: when the old release deletes a parent, SET NULL author_id\n"
        f'ALTER TABLE "shop_book" ADD CONSTRAINT "{name}" {to} ON DELETE SET NULL'
        " DEFERRABLE INITIALLY DEFERRED NOT VALID;\n"
        "-- Left for the contract:\n"
        f"--   shop_book: foreign key {name} keeps its parents from now on\n"
        f'--   ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "{name}", ADD CONSTRAINT "{name}" {to}'
        " DEFERRABLE INITIALLY DEFERRED NOT VALID;\n"
        f"--   shop_book: foreign key {name} holds for every row (checked without blocking)\n"
        f'--   ALTER TABLE "shop_book" VALIDATE CONSTRAINT "{name}";'
    )


# Forwards.


@by_name(SPECIMENS)
def test_the_end_is_the_one_of_stock(two_databases, specimen):
    specimen.assert_ends_like_stock(two_databases)


@by_name(SPECIMENS)
def test_a_killed_run_goes_on(database, specimen):
    specimen.assert_goes_on_after_a_kill(database)


def test_a_parent_that_the_old_release_deletes_takes_no_new_row_with_it_until_the_contract(database):
    shop = Shop(database, AUTHOR, book())
    old = shop.state.apps
    shop.migrate(WRITER)
    assert shop.constraints() == {"shop_book_author_id_82b8ab51_fk_shop_author_id": LETS_GO}
    author = shop.model("Author").objects.create(name="Jane")
    shop.model().objects.create(title="Emma", author=author)
    old.get_model("shop", "Author").objects.get().delete()
    assert shop.execute("SELECT title, author_id FROM shop_book") == [("Emma", None)]

    shop.contract()
    assert shop.constraints() == {"shop_book_author_id_82b8ab51_fk_shop_author_id": OWN}
    shop.model().objects.create(title="Persuasion", author=shop.model("Author").objects.create(name="Jane"))
    with pytest.raises(IntegrityError):
        old.get_model("shop", "Author").objects.get().delete()


def test_rows_that_are_there_get_the_default_and_those_of_the_old_release_null(database):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.create(title="there")
    shop.migrate(CHECKED)
    old.objects.create(title="of the old release")
    shop.model().objects.create(title="of the new release")
    assert shop.execute("SELECT extra FROM shop_book ORDER BY id") == [5, None, 5]
    with pytest.raises(IntegrityError):
        shop.model().objects.create(title="wrong", extra=-1)


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@by_name(SPECIMENS)
def test_backwards_and_forwards_again(database, specimen, contracted):
    specimen.assert_goes_back_and_forth(database, contracted=contracted)


# The written form.


def test_the_file():
    assert file_of(CODE) == (
        "from django.db import migrations, models\n"
        "from safemigrations.operations import AddFieldConcurrently\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        AddFieldConcurrently(\n"
        "            model_name='book',\n"
        "            name='code',\n"
        "            field=models.CharField(max_length=20, null=True, unique=True),\n"
        "        ),\n"
        "    ]\n"
    )


@by_name(SPECIMENS)
def test_the_file_is_read_back(specimen):
    specimen.assert_is_read_back()


def test_a_default_that_is_not_preserved_is_read_back():
    Specimen(add(models.PositiveIntegerField(null=True, default=5), preserve_default=False)).assert_is_read_back()


def test_what_it_says_of_itself():
    assert CODE.describe() == "Add field code to book, and its index and constraints concurrently"
    assert CODE.migration_name_fragment == "book_code"


# The optimizer.


def test_it_folds_into_the_model_that_is_created_with_it():
    folded = book(("code", CODE.field))
    assert optimized(book(), CODE) == [written(folded)]


def test_it_vanishes_with_its_removal():
    assert optimized(CODE, RemoveField("book", "code")) == []


@by_name(SPECIMENS)
def test_it_is_never_folded_into_stock_operations(specimen):
    specimen.assert_is_never_folded(specimen.operation.name)


@by_name(SPECIMENS)
def test_unrelated_operations_pass(specimen):
    specimen.assert_lets_others_pass()


# Other databases.


@by_name(SPECIMENS)
def test_where_the_router_says_no_nothing_happens(database, specimen):
    specimen.assert_does_nothing_where_the_router_says_no(database)


@by_name(SPECIMENS)
def test_another_backend_does_what_stock_does(tmp_path, specimen):
    specimen.assert_is_stock_on_another_backend(tmp_path)


# Awkward names.


@crossed("table, column, kind", AWKWARD, ["unique", "index", "check", "foreign key"])
def test_awkward_names(database, table, column, kind):
    field = SPECIMENS[kind].operation.field.clone()
    field.db_column = column
    Specimen(add(field), AUTHOR, book(db_table=table)).assert_bears_names(database)


# Wrong arguments.


def test_a_field_without_a_value_for_the_rows_of_the_old_release_fails_at_import():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        add(models.CharField(max_length=20, default="", unique=True))
    assert str(caught.value) == (
        "AddFieldConcurrently book.extra: rows of the old release would have no value. Use "
        "AddFieldWithDefault or AddFieldNullableThenBackfill, or let the field be null."
    )


# The end is the stock operation's own.


@pytest.mark.parametrize(
    "field",
    [
        models.DateTimeField(null=True, db_index=True, auto_now=True),
        models.DateTimeField(null=True, db_index=True, auto_now_add=True),
    ],
    ids=["auto_now", "auto_now_add"],
)
def test_rows_that_are_there_get_the_moment(database, field):
    """As effective_default() has it, which knows more than has_default()."""
    shop = Shop(database, book())
    shop.model().objects.create(title="Emma")
    shop.migrate(add(field, "made"))
    assert shop.model().objects.get().made is not None
    assert shop.columns()["made"] == "timestamp with time zone"


PLACE = f"Place {os.getpid()}"  # all databases of the server share them
IN_TABLESPACE = {
    "unique": AddField("book", "code", models.IntegerField(null=True, unique=True, db_tablespace=PLACE)),
    "unique text": AddField("book", "code", models.TextField(null=True, unique=True, db_tablespace=PLACE)),
    "indexed text": AddField("book", "code", models.TextField(null=True, db_index=True, db_tablespace=PLACE)),
    "unique later": AlterField("book", "title", models.CharField(max_length=100, unique=True, db_tablespace=PLACE)),
    "index": AddIndex("book", models.Index(fields=["title"], name="titles", db_tablespace=PLACE)),
    "unique constraint": AddConstraint("book", models.UniqueConstraint(fields=["title"], name="titles")),
    "unique index": AddConstraint(
        "book", models.UniqueConstraint(fields=["title"], name="titles", condition=models.Q(id__gt=3))
    ),
    "unique together": AlterUniqueTogether("book", {("title", "id")}),
}


@pytest.fixture
def tablespace(database, connect):
    """A tablespace inside of the data directory."""
    connection = connect()
    connection.execute("SET allow_in_place_tablespaces = on")
    connection.execute(f"CREATE TABLESPACE \"{PLACE}\" LOCATION ''")
    yield PLACE
    connection.execute("DROP SCHEMA public CASCADE")
    connection.execute(f'DROP TABLESPACE "{PLACE}"')


@pytest.mark.parametrize("whole", [False, True], ids=["", "of the table"])
@pytest.mark.parametrize("stock", IN_TABLESPACE.values(), ids=IN_TABLESPACE)
def test_an_index_lies_where_the_stock_operation_puts_it(database, tablespace, stock, whole):
    ends = []
    for safe in (False, True):
        shop = Shop(database, book(db_tablespace=tablespace) if whole else book())
        after = shop.state.clone()
        stock.state_forwards("shop", after)
        found = find(stock, Context("shop", shop.state, after)) if safe else None
        shop.migrate(*(found[1].replacement if found else (stock,)))
        ends.append(
            shop.execute(
                "SELECT c.relname, s.spcname, pg_get_indexdef(c.oid) FROM pg_class c"
                " JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace"
                " WHERE i.indrelid = 'shop_book'::regclass ORDER BY 1"
            )
        )
        assert bool(found) == safe
        shop.execute("DROP TABLE shop_book, django_migrations CASCADE")
    assert ends[0] == ends[1]
