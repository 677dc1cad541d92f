"""A run that was stopped half way, and whose migration somebody removed or edited before the next one."""

from __future__ import annotations

import sys

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.migrations import AddField, AlterField, RenameField
from django.db.migrations.operations.base import Operation
from django.db.models import F, Value

from safemigrations.operations import AddFieldNullableThenBackfill

from .deployment import Deployment, Outcome
from .library import NOT_NULL, RENAMED, TEXT

SHEETS = models.IntegerField(null=True)
BIGGER = AlterField("book", "pages", models.BigIntegerField(null=True))

BEGAN: dict[str, Operation] = {
    "a rename": RENAMED.operation,
    "another type in another column": TEXT.operation,
    "another type": BIGGER,
    "NOT NULL": NOT_NULL.operation,
}
# What comes instead. What took the twin for its own would have changed pages or truth.
INSTEAD: dict[str, Operation] = {
    "a new field of that name": AddField("book", "sheets", SHEETS),
    "a new field of that name with a default": AddField("book", "sheets", models.IntegerField(default=7)),
    "a computed field of that name": AddFieldNullableThenBackfill(
        "book", "sheets", models.IntegerField(), backfill=F("truth") * 2
    ),
    "a rename of another field": RenameField("book", "truth", "sheets"),
    "another type": BIGGER,
}


TRIGGER = "SELECT 1 FROM pg_trigger WHERE tgname ~ '^zzz_safemig'"
COLUMN = "SELECT 1 FROM pg_attribute WHERE attrelid = 'shop_book'::regclass AND attname = 'sheets'"


def stop_half_way(shop: Deployment, operation: Operation, *, once: str = TRIGGER) -> Outcome:
    """Ctrl-C as soon as this gives a row."""
    shop.write(operation)

    def stop() -> None:
        if shop.sql(once):
            raise KeyboardInterrupt

    return shop.migrate(meanwhile=stop)


def forget(shop: Deployment) -> None:
    """The file of the last migration is removed."""
    name = shop.names.pop()
    (shop.directory / shop.package / f"{name}.py").unlink()
    sys.modules.pop(f"{shop.package}.{name}")
    shop.states.pop()


@pytest.mark.parametrize("then", INSTEAD)
@pytest.mark.parametrize("began", BEGAN)
def test_another_migration_takes_nothing_of_it_for_its_own(books, began, then):
    stopped = stop_half_way(books, BEGAN[began])
    assert stopped.error == "interrupted"
    forget(books)
    before, rows = books.catalog(), books.sql("SELECT id, pages, truth FROM shop_book ORDER BY id")
    migrated = books.deploy(INSTEAD[then])
    if INSTEAD[then] == BEGAN[began]:  # it goes on
        migrated.check()
    else:
        assert "that was stopped half way has left it" in migrated.error
        books.assert_unchanged(before)
    assert books.sql("SELECT id, pages, truth FROM shop_book ORDER BY id") == rows


SEVEN = AddField("book", "sheets", models.IntegerField(default=7))
CODE = AddField("book", "sheets", models.CharField(max_length=10, default="new"))
EDITED: dict[str, tuple[Operation, Operation]] = {
    "another default": (SEVEN, AddField("book", "sheets", models.IntegerField(default=8))),
    "another length": (CODE, AddField("book", "sheets", models.CharField(max_length=20, default="new"))),
    "another default of a text": (CODE, AddField("book", "sheets", models.CharField(max_length=10, default="old"))),
    "another list": (
        AddField("book", "sheets", ArrayField(models.TextField(), default=list)),
        AddField("book", "sheets", ArrayField(models.TextField(), db_default=["{a", 'b"'])),
    ),
    "another length of a computed field": (
        AddFieldNullableThenBackfill("book", "sheets", models.CharField(max_length=10), backfill=Value("new")),
        AddFieldNullableThenBackfill("book", "sheets", models.CharField(max_length=20), backfill=Value("new")),
    ),
}


@pytest.mark.parametrize("edited", EDITED)
def test_an_edited_file_takes_no_column_of_before_for_its_own(books, edited):
    """Else the rows would keep the default of before, and the column its length."""
    first, then = EDITED[edited]
    stopped = stop_half_way(books, first, once=COLUMN)
    assert stopped.error == "interrupted"
    before, rows = books.catalog(), books.sql("SELECT * FROM shop_book ORDER BY id")
    forget(books)
    migrated = books.deploy(then)
    assert 'column "sheets" of relation "shop_book" already exists' in migrated.error
    books.assert_unchanged(before)
    assert books.sql("SELECT * FROM shop_book ORDER BY id") == rows
    forget(books)
    books.deploy(first).check()  # the file is brought back
