"""AlterField null -> NOT NULL -> SetNotNullLater."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import CreateModel
from django.db.models.functions import Upper

from safemigrations.operations import SetNotNullLater
from safemigrations.plans.triggers import NO_VALUE
from safemigrations.typed import server_version

from .shop import (
    KEY,
    Shop,
    book,
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


NOT_NULL = (
    "--   shop_book: note can't be null from now on\n"
    '--   ALTER TABLE "shop_book" ADD CONSTRAINT "shop_book_note_not_null" NOT NULL "note" NOT VALID;\n'
    "--   shop_book: no row has note null (checked without blocking)\n"
    '--   ALTER TABLE "shop_book" VALIDATE CONSTRAINT "shop_book_note_not_null";'
)
NOT_NULL_BEFORE_18 = (
    "--   shop_book: note can't be null from now on\n"
    '--   ALTER TABLE "shop_book" ADD CONSTRAINT "safemig_shop_book_note_not_null"'
    ' CHECK ("note" IS NOT NULL) NOT VALID;\n'
    "--   shop_book: no row has note null (checked without blocking)\n"
    '--   ALTER TABLE "shop_book" VALIDATE CONSTRAINT "safemig_shop_book_note_not_null";\n'
    "--   shop_book: note NOT NULL, without a scan\n"
    '--   ALTER TABLE "shop_book" ALTER COLUMN "note" SET NOT NULL;\n'
    '--   ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "safemig_shop_book_note_not_null";'
)


def not_null(database: BaseDatabaseWrapper) -> str:
    return NOT_NULL if server_version(database) >= 180000 else NOT_NULL_BEFORE_18


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
        "-- shop_book: drop the check behind note NOT NULL\n"
        'ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "safemig_shop_book_note_not_null";\n'
        "-- shop_book: note may be null\n"
        'ALTER TABLE "shop_book" ALTER COLUMN "note" DROP NOT NULL;\n'
        "-- shop_book: drop the trigger that fills note of rows that the old release writes\n"
        'DROP TRIGGER IF EXISTS "zzz_safemig_2_shop_book_note_fill" ON "shop_book";\n'
        'DROP FUNCTION IF EXISTS "safemig_shop_book.note.fill"();'
    )
