"""AlterField: index, UNIQUE, check, foreign key -> AlterFieldConcurrently."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, models
from django.db.migrations import AlterField, CreateModel

from safemigrations.errors import StepFailed
from safemigrations.operations import AlterFieldConcurrently

from .representatives import crossed
from .sections import Specimen, by_name
from .shop import AWKWARD, KEY, Shop, book, file_of
from .snapshot import difference, snapshot

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField())])


def alter(name: str, field: Any, **options: Any) -> AlterFieldConcurrently:
    return AlterFieldConcurrently("book", name, field, **options)


def related(to: str = "author", **options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(f"shop.{to}", options.pop("on_delete", models.CASCADE), **options)


UNIQUE = alter("title", models.CharField(max_length=100, unique=True))
POSITIVE = alter("pages", models.PositiveIntegerField())
PAGES = ("pages", models.IntegerField())
WRITER = alter("author", related())
LOOSE = ("author", related(db_constraint=False))
LONGER = ("code", models.CharField(max_length=9, db_index=True))
SPECIMENS = {
    "unique": Specimen(UNIQUE, book()),
    "not unique": Specimen(
        alter("code", models.CharField(max_length=9)),
        book(("code", models.CharField(max_length=9, unique=True))),
        left="drop the unique constraint and drop the index of code of shop_book",
        named_anew=True,
    ),
    "index": Specimen(alter("pages", models.IntegerField(db_index=True)), book(PAGES)),
    "no index": Specimen(
        alter("pages", models.IntegerField()),
        book(("pages", models.IntegerField(db_index=True))),
        left="drop the index of pages of shop_book",
    ),
    "check": Specimen(POSITIVE, book(PAGES), left="add the check of pages of shop_book"),
    "no check": Specimen(
        alter("pages", models.IntegerField()), book(("pages", models.PositiveIntegerField())), named_anew=True
    ),
    "foreign key": Specimen(WRITER, AUTHOR, book(LOOSE), left="add the foreign key of author_id of shop_book"),
    "no foreign key": Specimen(alter("author", related(db_constraint=False)), AUTHOR, book(("author", related()))),
    "longer": Specimen(alter("code", models.CharField(max_length=20, db_index=True)), book(LONGER)),
}


# The exact plan.


def test_the_plan_of_unique(database):
    shop = Shop(database, book())
    assert shop.plan(UNIQUE) == (
        "-- shop_book: no two rows have the same (title) (looked up when it is run)\n"
        "-- shop_book: index shop_book_title_1f19d72a_like\n"
        'CREATE INDEX CONCURRENTLY "shop_book_title_1f19d72a_like" ON "shop_book" ("title" varchar_pattern_ops);\n'
        "-- shop_book: unique index shop_book_title_1f19d72a_uniq\n"
        'CREATE UNIQUE INDEX CONCURRENTLY "shop_book_title_1f19d72a_uniq" ON "shop_book" ("title");\n'
        "-- shop_book: (title) is unique\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_title_1f19d72a_uniq"'
        ' UNIQUE USING INDEX "shop_book_title_1f19d72a_uniq";'
    )


def test_the_plan_of_a_check(database):
    shop = Shop(database, book(PAGES))
    assert shop.plan(POSITIVE) == (
        "-- shop_book: every pages is what its new type allows (looked up when it is run)\n"
        "-- Left for the contract:\n"
        "--   shop_book: check shop_book_pages_d177e4d8_check holds for new rows\n"
        '--   ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_pages_d177e4d8_check" CHECK ("pages" >= 0) NOT VALID;\n'
        "--   shop_book: check shop_book_pages_d177e4d8_check holds for every row (checked without blocking)\n"
        '--   ALTER TABLE "shop_book" VALIDATE CONSTRAINT "shop_book_pages_d177e4d8_check";'
    )


def test_the_plan_of_a_foreign_key(database):
    shop = Shop(database, AUTHOR, book(LOOSE))
    name = "shop_book_author_id_82b8ab51_fk_shop_author_id"
    assert shop.plan(WRITER) == (
        "-- shop_book: every author_id is in shop_author (looked up when it is run)\n"
        "-- Left for the contract:\n"
        f"--   shop_book: foreign key {name} holds for new rows\n"
        f'--   ALTER TABLE "shop_book" ADD CONSTRAINT "{name}" FOREIGN KEY ("author_id")'
        ' REFERENCES "shop_author" ("id") DEFERRABLE INITIALLY DEFERRED NOT VALID;\n'
        f"--   shop_book: foreign key {name} holds for every row (checked without blocking)\n"
        f'--   ALTER TABLE "shop_book" VALIDATE CONSTRAINT "{name}";'
    )
    assert shop.plan(WRITER, backwards=True) == (
        f'-- shop_book: drop foreign key {name}\nALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "{name}";'
    )


# Forwards.


@by_name(SPECIMENS)
def test_the_end_is_the_one_of_stock(two_databases, specimen):
    specimen.assert_ends_like_stock(two_databases)


@by_name(SPECIMENS)
def test_a_killed_run_goes_on(database, specimen):
    specimen.assert_goes_on_after_a_kill(database)


def test_the_old_release_writes_what_the_new_check_refuses_until_the_contract(database):
    shop = Shop(database, book(PAGES))
    old = shop.model()
    shop.migrate(POSITIVE)
    old.objects.create(title="Emma", pages=-1)
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    assert str(caught.value) == (
        "shop_book: check shop_book_pages_d177e4d8_check holds for every row (checked without blocking) failed for the "
        "rows 1. Fix them and run the same command again; what was done before stays, and nothing was left that "
        "rejects a write."
    )
    old.objects.update(pages=474)
    shop.contract()
    with pytest.raises(IntegrityError):
        old.objects.create(title="Persuasion", pages=-1)


AGAIN = "Fix them, then run the same command again."
CONTRADICT = {
    "unique": "(title) VALUES ('Emma'), ('Emma')",
    "check": "(title, pages) VALUES ('Emma', -1)",
    "foreign key": "(title, author_id) VALUES ('Emma', 7)",
}
FAILURES = {
    "unique": "shop.Book: several rows have the same (title): Emma. Nothing was changed. "
    "Remove the duplicates, then run the same command again.",
    "check": f'book.pages: rows violate "pages" >= 0: "id" 1. Nothing was changed. {AGAIN}',
    "foreign key": f'book.author: rows point at nothing in shop_author: "id" 1. Nothing was changed. {AGAIN}',
}


@pytest.mark.parametrize("name", CONTRADICT)
def test_rows_that_contradict_are_named_before_anything_is_touched(database, name):
    specimen = SPECIMENS[name]
    shop = Shop(database, *specimen.before)
    shop.execute(f"INSERT INTO shop_book {CONTRADICT[name]}")
    before = snapshot(database)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(specimen.operation)
    assert str(caught.value) == FAILURES[name]
    assert difference(before, snapshot(database)) == {}
    assert shop.left() == []


def test_a_collation_stays(database):
    shop = Shop(database, book(("code", models.CharField(max_length=9, db_collation="C", db_default="a"))))
    before = snapshot(connection)
    field = models.TextField(db_collation="C", db_default="a", db_index=True)
    shop.migrate(alter("code", field))
    ours = snapshot(connection)
    shop.back()
    assert difference(before, snapshot(connection)) == {}
    shop.migrate(AlterField("book", "code", field))
    assert difference(snapshot(connection), ours) == {}


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@by_name(SPECIMENS)
def test_backwards_and_forwards_again(database, specimen, contracted):
    specimen.assert_goes_back_and_forth(database, contracted=contracted)


# The written form.


def test_the_file():
    assert file_of(UNIQUE) == (
        "from django.db import migrations, models\n"
        "from safemigrations.operations import AlterFieldConcurrently\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # each step is a short transaction of its own\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        AlterFieldConcurrently(\n"
        "            model_name='book',\n"
        "            name='title',\n"
        "            field=models.CharField(max_length=100, unique=True),\n"
        "        ),\n"
        "    ]\n"
    )


@by_name(SPECIMENS)
def test_the_file_is_read_back(specimen):
    specimen.assert_is_read_back()


def test_a_default_that_is_not_preserved_is_read_back():
    Specimen(
        alter("pages", models.IntegerField(default=3, db_index=True), preserve_default=False)
    ).assert_is_read_back()


def test_what_it_says_of_itself():
    assert UNIQUE.describe() == (
        "Alter field title on book, concurrently; what could refuse a release waits for the contract"
    )
    assert UNIQUE.migration_name_fragment == "alter_book_title"


# The optimizer.


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


@crossed("table, column, kind", AWKWARD, ["unique", "not unique", "check", "foreign key"])
def test_awkward_names(database, table, column, kind):
    specimen = SPECIMENS[kind]
    *others, made = specimen.before
    named = alter(specimen.operation.name, in_column(specimen.operation.field, column))
    assert isinstance(made, CreateModel)
    fields = [(name, in_column(field, column) if name == named.name else field) for name, field in made.fields]
    before = (*others, CreateModel("Book", fields, {"db_table": table}))
    Specimen(named, *before, named_anew=specimen.named_anew).assert_bears_names(database)


def in_column(field: Any, column: str) -> Any:
    named = field.clone()
    named.db_column = column
    return named


# Wrong arguments.


@pytest.mark.parametrize(
    ("old", "new", "failure"),
    [
        (
            models.IntegerField(),
            models.TextField(),
            "the column gets another type or name, which takes a column of its own.",
        ),
        (
            models.IntegerField(null=True),
            models.IntegerField(),
            "the field may not be null any more. Use SetNotNullLater for that.",
        ),
        (
            models.IntegerField(db_default=1),
            models.IntegerField(),
            "the field loses its db_default. Use DropDefaultLater for that.",
        ),
    ],
)
def test_what_takes_another_operation_is_refused(database, old, new, failure):
    shop = Shop(database, book(("pages", old)))
    before = snapshot(database)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        shop.migrate(alter("pages", new))
    assert str(caught.value) == f"AlterFieldConcurrently book.pages: {failure}"
    assert difference(before, snapshot(database)) == {}
