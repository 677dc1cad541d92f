"""AddField, nullable or with db_default, and many-to-many -> AddFieldConcurrently."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.migrations import CreateModel

from safemigrations.operations import AddFieldConcurrently

from .shop import (
    KEY,
    Shop,
    book,
)

AUTHOR = CreateModel("Author", [KEY, ("name", models.TextField())])


def add(field: Any, name: str = "extra", **options: Any) -> AddFieldConcurrently:
    return AddFieldConcurrently("book", name, field, **options)


def related(**options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey("shop.author", options.pop("on_delete", models.CASCADE), **options)


CODE = add(models.CharField(max_length=20, null=True, unique=True), "code")
WRITER = add(related(null=True), "author")
WRITERS = add(models.ManyToManyField("shop.author"), "authors")
OWN = "FOREIGN KEY (author_id) REFERENCES shop_author(id) DEFERRABLE INITIALLY DEFERRED"
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
