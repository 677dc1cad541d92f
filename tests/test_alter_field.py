"""AlterField: index, UNIQUE, check, foreign key -> AlterFieldConcurrently."""

from __future__ import annotations

from typing import Any

from django.db import connection, models
from django.db.migrations import AlterField, CreateModel

from safemigrations.operations import AlterFieldConcurrently

from .shop import (
    KEY,
    Shop,
    book,
)
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
