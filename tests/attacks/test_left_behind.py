"""A run that was stopped half way, and whose migration somebody removed or edited before the next one."""

from __future__ import annotations

import sys

import pytest
from django.db import models
from django.db.migrations import AddField, AlterField, RenameField
from django.db.migrations.operations.base import Operation
from django.db.models import F

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


def stop_half_way(shop: Deployment, operation: Operation) -> Outcome:
    """Ctrl-C after the trigger is there."""
    shop.write(operation)

    def stop() -> None:
        if shop.sql("SELECT 1 FROM pg_trigger WHERE tgname ~ '^zzz_safemig'"):
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
