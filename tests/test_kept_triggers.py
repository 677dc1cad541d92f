"""The triggers on which open contracts count: `migrate` puts back those that somebody dropped, disabled or changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import models
from django.db.migrations import AlterField

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
