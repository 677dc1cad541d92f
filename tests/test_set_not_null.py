"""AlterField null -> NOT NULL -> SetNotNullLater."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import CreateModel
from django.db.models.functions import Upper

from safemigrations.errors import StepFailed
from safemigrations.operations import SetNotNullLater
from safemigrations.plans.triggers import AS_TEXT, NO_VALUE, as_here

from .representatives import crossed
from .sections import Specimen, by_name
from .shop import (
    AWKWARD,
    KEY,
    Shop,
    book,
    file_of,
    not_null_as_printed,
    null_again_as_printed,
)
from .snapshot import difference, snapshot

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField())])
NULL = ("note", models.CharField(max_length=20, null=True))


def note(**options: Any) -> models.CharField[Any, Any]:
    return models.CharField(**{"max_length": 20, **options})


def shout(row: Any) -> str:
    return f"{row.title}!"


def nothing(row: Any) -> None:
    return None


BARE = SetNotNullLater("book", "note", note())
FILLED = SetNotNullLater("book", "note", note(), backfill=Upper("title"))
OPEN = ("note", note(null=True, db_default="none"))
LEFT = "forbid null in note of shop_book"
SPECIMENS = {
    "nothing": Specimen(BARE, book(NULL), left=LEFT),
    "a constant": Specimen(SetNotNullLater("book", "note", note(), backfill="it's 100%"), book(NULL), left=LEFT),
    "an expression": Specimen(FILLED, book(NULL), left=LEFT),
    "a function": Specimen(SetNotNullLater("book", "note", note(), backfill=shout), book(NULL), left=LEFT),
    "a default": Specimen(SetNotNullLater("book", "note", note(default="none")), book(NULL), left=LEFT),
    "a db_default": Specimen(SetNotNullLater("book", "note", note(db_default="none")), book(OPEN), left=LEFT),
}


# The exact plan.


def not_null(connection: BaseDatabaseWrapper) -> str:
    return not_null_as_printed(connection, "shop_book", "note", later=True)


def test_the_plan_where_nothing_fills(database):
    assert Shop(database, book(NULL)).plan(BARE) == (
        "-- shop_book: no row has note null, as nothing will fill it (looked up when it is run)\n"
        f"-- Left for the contract:\n{not_null(database)}"
    )


def test_the_plan_of_an_expression(database):
    shop = Shop(database, book(NULL))
    value = 'SELECT UPPER("safemig_row"."title") AS "safemig_value" FROM'
    assert shop.plan(FILLED) == (
        "-- shop_book: a trigger fills note of rows that the old release writes\n"
        'CREATE OR REPLACE FUNCTION "safemig_shop_book.note.fill"() RETURNS trigger LANGUAGE plpgsql'
        " SET search_path FROM CURRENT AS $safemig$ BEGIN BEGIN"
        f' NEW."note" := ({value} (SELECT NEW.*) AS "safemig_row");'
        f" EXCEPTION WHEN {NO_VALUE} THEN NULL; END; RETURN NEW; END; $safemig$ SET row_security TO off"
        f"{as_here('TimeZone', *AS_TEXT)};\n"
        'CREATE OR REPLACE TRIGGER "zzz_safemig_2_shop_book_note_fill" BEFORE INSERT OR UPDATE ON "shop_book"'
        ' FOR EACH ROW WHEN (NEW."note" IS NULL) EXECUTE FUNCTION "safemig_shop_book.note.fill"();\n'
        "-- shop_book: fill note of the rows where it is null\n"
        f'UPDATE "shop_book" SET "note" = ({value} (SELECT "shop_book".*) AS "safemig_row") WHERE "note" IS NULL;\n'
        "-- shop_book: every row has note (looked up when it is run)\n"
        "-- Left for the contract:\n"
        "--   shop_book: fill note of the rows that are still null\n"
        f'--   UPDATE "shop_book" SET "note" = ({value} (SELECT "shop_book".*) AS "safemig_row")'
        ' WHERE "note" IS NULL;\n'
        f"{not_null(database)}\n"
        "--   shop_book: drop the trigger that fills note of rows that the old release writes\n"
        '--   DROP TRIGGER IF EXISTS "zzz_safemig_2_shop_book_note_fill" ON "shop_book";\n'
        '--   DROP FUNCTION IF EXISTS "safemig_shop_book.note.fill"();'
    )
    assert shop.plan(FILLED, backwards=True) == (
        f"{null_again_as_printed(database, 'shop_book', 'note')}\n"
        "-- shop_book: drop the trigger that fills note of rows that the old release writes\n"
        'DROP TRIGGER IF EXISTS "zzz_safemig_2_shop_book_note_fill" ON "shop_book";\n'
        'DROP FUNCTION IF EXISTS "safemig_shop_book.note.fill"();'
    )


# Forwards.


@by_name(SPECIMENS)
def test_the_end_is_the_one_of_stock(two_databases, specimen):
    specimen.assert_ends_like_stock(two_databases)


@by_name(SPECIMENS)
def test_a_killed_run_goes_on(database, specimen):
    specimen.assert_goes_on_after_a_kill(database)


VALUES = {"a constant": "it's 100%", "an expression": "EMMA", "a function": "Emma!", "a default": "none"}


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_rows_without_a_value_get_it_and_others_keep_theirs(database, name, value):
    shop = Shop(database, book(NULL))
    old = shop.model()
    old.objects.create(title="Emma")
    old.objects.create(title="Emma", note="mine")
    shop.migrate(SPECIMENS[name].operation)
    assert shop.execute("SELECT note FROM shop_book ORDER BY id") == [value, "mine"]
    old.objects.create(title="Emma")  # the old release
    shop.contract()
    assert shop.execute("SELECT note FROM shop_book ORDER BY id") == [value, "mine", value]
    with pytest.raises(IntegrityError):
        old.objects.create(title="too old")


def test_rows_that_nothing_fills_are_named_before_anything_is_touched(database):
    shop = Shop(database, book(NULL))
    shop.model().objects.create(title="Emma")
    before = snapshot(database)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(BARE)
    assert str(caught.value) == (
        'book.note may not be null any more, and nothing fills the rows that are: "id" 1. Nothing was changed. Give '
        "SetNotNullLater backfill=, a constant, an expression or a function of the row, or fill them with a Backfill "
        "before; then run the same command again."
    )
    assert difference(before, snapshot(database)) == {}


def test_a_function_that_gives_none_names_the_row(database):
    shop = Shop(database, book(NULL))
    shop.model().objects.create(title="Emma")
    with pytest.raises(StepFailed) as caught:
        shop.migrate(SetNotNullLater("book", "note", note(), backfill=nothing))
    assert "gave None for shop.Book 1, and note can't be null." in str(caught.value)


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@by_name(SPECIMENS)
def test_backwards_and_forwards_again(database, specimen, contracted):
    specimen.assert_goes_back_and_forth(database, contracted=contracted)


# The written form.


def test_the_file():
    assert file_of(FILLED) == (
        "import django.db.models.functions.text\n"
        "from django.db import migrations, models\n"
        "from safemigrations.operations import SetNotNullLater\n"
        "\n\n"
        "class Migration(migrations.Migration):\n"
        "\n"
        "    atomic = False  # fills rows in batches\n"
        "\n"
        "    dependencies = [\n"
        "    ]\n"
        "\n"
        "    operations = [\n"
        "        SetNotNullLater(\n"
        "            model_name='book',\n"
        "            name='note',\n"
        "            field=models.CharField(max_length=20),\n"
        "            backfill=django.db.models.functions.text.Upper('title'),\n"
        "        ),\n"
        "    ]\n"
    )


@by_name(SPECIMENS)
def test_the_file_is_read_back(specimen):
    specimen.assert_is_read_back()


def test_a_default_that_is_not_preserved_is_read_back():
    Specimen(SetNotNullLater("book", "note", note(default="none"), preserve_default=False)).assert_is_read_back()


def test_what_it_says_of_itself():
    assert BARE.describe() == "Alter field note on book; null is forbidden by the contract"
    assert FILLED.describe() == (
        "Alter field note on book; null is forbidden by the contract, and fill the rows that are null"
    )
    assert BARE.migration_name_fragment == "alter_book_note"


# The optimizer.


@by_name(SPECIMENS)
def test_it_is_never_folded_into_stock_operations(specimen):
    specimen.assert_is_never_folded("note")


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


@crossed("table, column, name", AWKWARD, ["nothing", "an expression", "a function"])
def test_awkward_names(database, table, column, name):
    given = SPECIMENS[name].operation
    field, old = given.field.clone(), note(null=True, db_column=column)
    field.db_column = column
    operation = SetNotNullLater("book", "note", field, backfill=given.backfill)
    Specimen(operation, book(("note", old), db_table=table)).assert_bears_names(database)


# Wrong arguments.


SAME = (
    "the field is unique, and every row that is null would get the same value. Give backfill= an expression over the "
    "row, or a function of it."
)


@pytest.mark.parametrize(
    ("field", "backfill", "failure"),
    [
        (note(null=True), None, "the field has null=True."),
        (note(unique=True), "same", SAME),
        (note(unique=True, default="same"), None, SAME),
    ],
)
def test_wrong_arguments_fail_at_import(field, backfill, failure):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        SetNotNullLater("book", "note", field, backfill=backfill)
    assert str(caught.value) == f"SetNotNullLater book.note: {failure}"


def test_a_text_that_may_be_blank_is_filled_as_django_fills_it(database):
    """With the empty text, which effective_default() gives without a default."""
    shop = Shop(database, book(("note", models.CharField(max_length=9, null=True, blank=True))))
    shop.execute("INSERT INTO shop_book (title) VALUES ('Emma')")
    shop.migrate(SetNotNullLater("book", "note", models.CharField(max_length=9, blank=True)))
    shop.execute("INSERT INTO shop_book (title) VALUES ('Ida')")
    shop.contract()
    assert shop.execute("SELECT note FROM shop_book") == ["", ""]
    assert shop.columns()["note"] == "character varying(9) NOT NULL"
