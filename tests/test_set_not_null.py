"""AlterField null -> NOT NULL -> SetNotNullLater."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import CreateModel
from django.db.models.functions import Upper

from safemigrations.operations import SetNotNullLater
from safemigrations.plans.triggers import NO_VALUE

from .shop import (
    KEY,
    Shop,
    book,
    not_null_as_printed,
    null_again_as_printed,
)

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
        f" EXCEPTION WHEN {NO_VALUE} THEN NULL; END; RETURN NEW; END; $safemig$;\n"
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
