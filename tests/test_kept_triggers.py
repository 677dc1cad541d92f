"""The triggers on which open contracts count: `migrate` puts back those that somebody dropped, disabled or changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import models
from django.db.migrations import AlterField

from safemigrations.errors import to_type

from .attacks.deployment import Deployment, deployment
from .attacks.library import BIGGER, BY_FUNCTION, COMPUTED, NOT_NULL, RENAMED, SMALLER, TEXT, Change, library

ON_BOOKS = "FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 'shop_book'::regclass"
BACK = "put back, as somebody changed it: shop_book: a trigger"


@pytest.fixture
def books(dsn: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, dsn) as made:
        yield library(made, rows=3)


def harm(books: Deployment, statement: str) -> None:
    ((trigger, function),) = books.sql(f"SELECT tgname, tgfoid::regprocedure::text {ON_BOOKS}")
    books.sql(statement.format(trigger=f'"{trigger}"', function=function))


@pytest.mark.parametrize(
    ("change", "statement"),
    [
        (RENAMED, "DROP TRIGGER {trigger} ON shop_book"),
        (TEXT, "ALTER TABLE shop_book DISABLE TRIGGER {trigger}"),
        (BIGGER, "ALTER TABLE shop_book ENABLE TRIGGER {trigger}"),  # it was ALWAYS
        (NOT_NULL, "DROP FUNCTION {function} CASCADE"),
        (COMPUTED, "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"),
    ],
    ids=str,
)
def test_migrate_puts_it_back(books, change: Change, statement):
    assert BACK not in books.deploy(change.operation).check().output
    before = books.catalog()
    assert BACK not in books.migrate().check().output
    harm(books, statement)
    assert BACK in books.migrate().check().output
    books.assert_unchanged(before)


def test_a_trigger_that_a_contract_has_dropped_stays_away(books):
    """The contract was killed after that; and what it left disabled is enabled."""
    books.deploy(COMPUTED.operation).check()
    books.sql("UPDATE safemigrations_contract SET attempts = 1, status = 'failed'")
    harm(books, "ALTER TABLE shop_book DISABLE TRIGGER {trigger}")
    assert BACK in books.migrate().check().output
    assert books.sql(f"SELECT tgenabled::text {ON_BOOKS}") == ["O"]
    harm(books, "DROP TRIGGER {trigger} ON shop_book")
    assert BACK not in books.migrate().check().output
    assert books.sql(f"SELECT tgname {ON_BOOKS}") == []


@pytest.mark.parametrize("change", [SMALLER, BY_FUNCTION], ids=str)
def test_what_has_no_trigger_until_the_contract_gets_none(books, change: Change):
    books.deploy(change.operation).check()
    before = books.catalog()
    books.migrate().check()
    books.assert_unchanged(before)


def test_a_trigger_that_is_disabled_on_a_partition_alone_is_seen(books):
    books.sql("CREATE TABLE parts (LIKE shop_book INCLUDING ALL) PARTITION BY RANGE (id)")
    books.sql("DROP TABLE shop_book; ALTER TABLE parts RENAME TO shop_book")
    books.sql("CREATE TABLE part PARTITION OF shop_book FOR VALUES FROM (0) TO (99)")
    books.deploy(AlterField("book", "pages", models.BigIntegerField(null=True))).check()
    books.sql("ALTER TABLE part DISABLE TRIGGER USER")
    assert BACK in books.migrate().check().output
    assert books.sql(f"SELECT DISTINCT tgenabled::text {ON_BOOKS.replace('shop_book', 'part')}") == ["A"]


# Columns that somebody has dropped, with their triggers.


def drop(books: Deployment, column: str) -> None:
    harm(books, "DROP FUNCTION {function} CASCADE")
    books.sql(f"ALTER TABLE shop_book DROP COLUMN {column}")


AGAIN = (
    "shop_book has no column {} any more, which the contract of shop.0002_release needs. Nothing was changed. Take the "
    "migration back and apply it again, which adds the column and fills it. Type: "
    f"{to_type('migrate shop 0001_release', None)} and then: {to_type('migrate', None)}"
)


@pytest.mark.parametrize(("change", "column"), [(RENAMED, "sheets"), (TEXT, "sheets"), (COMPUTED, "lines")], ids=str)
def test_a_column_that_the_migration_added_is_missed(books, change: Change, column):
    books.deploy(change.operation).check()
    drop(books, column)
    refusal = AGAIN.format(column)
    before = books.catalog()
    assert books.migrate().error == refusal
    assert f"Would be refused:\n  {refusal}" in books.migrate(plan=True).output
    assert books.contract().error == refusal
    assert f"Would be refused: {refusal}" in books.contract(plan=True).output
    assert (
        f"column {column} is missing, which a contract that is open" in books.manage("safemigrations", "verify").output
    )
    books.assert_unchanged(before)
    books.migrate("0001_release").check()
    books.migrate().check()
    assert "No drift" in books.manage("safemigrations", "verify").check().output
    books.contract().check()
    assert books.count(change.wrong) == 0


@pytest.mark.parametrize(
    ("change", "column", "values", "type_"),
    [
        (BIGGER, "pages", "so safemig_pages_old has the only values", "bigint"),
        (NOT_NULL, "note", "which the contract of shop.0002_release needs", "varchar(40)"),
    ],
    ids=str,
)
def test_a_column_of_before_is_missed(books, change: Change, column, values, type_):
    """The migration changes it, and applying that again would not bring it back."""
    books.deploy(change.operation).check()
    drop(books, column)
    source = "safemig_pages_old" if change is BIGGER else "a backup"
    refusal = (
        f"shop_book has no column {column} any more, {values}. Nothing was changed. Put {column} back (safemigrations "
        f"verify --sql prints the statement), fill it from {source}, and run the same command again."
    )
    assert books.migrate().error == refusal
    assert books.contract().error == refusal
    assert f'ALTER TABLE "shop_book" ADD COLUMN "{column}" {type_}' in books.manage("safemigrations", "verify").output
    books.sql(f"ALTER TABLE shop_book ADD {column} {type_}")
    books.sql(f"UPDATE shop_book SET {column} = {'safemig_pages_old' if change is BIGGER else repr('again')}")
    assert BACK in books.migrate().check().output
    books.contract().check()
    assert books.count(change.wrong) == 0


@pytest.mark.parametrize(
    ("change", "former", "column"),
    [(BIGGER, "safemig_pages_old", "pages"), (RENAMED, "pages", "sheets"), (TEXT, "pages", "sheets")],
    ids=str,
)
def test_a_column_that_the_contract_would_drop_is_missed(books, change: Change, former, column):
    """Nothing that the new release needs is gone, so its migrations go on."""
    books.deploy(change.operation).check()
    drop(books, former)
    said = (
        f"shop_book has no column {former} any more, which the contract of shop.0002_release would drop: {column} has "
        "the values that are left. When no server runs the old release any more, type: "
        f"{to_type('migrate shop 0002_release --contract --only', None)}"
    )
    assert said in books.migrate().check().output
    assert said in books.manage("safemigrations", "verify").output
    books.contract().check()
    assert books.count(change.wrong) == 0
