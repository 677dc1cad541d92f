"""Triggers that somebody dropped, disabled or lost in a restore, and what was written meanwhile."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AlterField, CreateModel, RenameField, RunSQL, SeparateDatabaseAndState

from .deployment import Deployment
from .library import BIGGER, COMPUTED, NOT_NULL, RENAMED, TEXT, Change

ON_BOOKS = "pg_trigger WHERE NOT tgisinternal AND tgrelid = 'shop_book'::regclass"
TRIGGERS = f"SELECT tgname, tgfoid::regprocedure::text FROM {ON_BOOKS}"
WITH_TRIGGERS = [BIGGER, TEXT, RENAMED, COMPUTED, NOT_NULL]
HARM = {
    "dropped": 'DROP TRIGGER "{trigger}" ON shop_book',
    "disabled": 'ALTER TABLE shop_book DISABLE TRIGGER "{trigger}"',
    "for replicas alone": 'ALTER TABLE shop_book ENABLE REPLICA TRIGGER "{trigger}"',
    "all disabled": "ALTER TABLE shop_book DISABLE TRIGGER ALL",
    "its function dropped": "DROP FUNCTION {function} CASCADE",
    "its function emptied": (
        "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    ),
}
# Where a trigger has to fire for replication and loaders, too.
ALWAYS = {"no more than origin": 'ALTER TABLE shop_book ENABLE TRIGGER "{trigger}"'}
EVERY_HARM = {**HARM, **ALWAYS}


def harm(shop: Deployment, statement: str) -> None:
    for trigger, function in shop.sql(TRIGGERS):
        shop.sql(statement.format(trigger=trigger, function=function))


@pytest.mark.parametrize("how", HARM)
@pytest.mark.parametrize("change", WITH_TRIGGERS, ids=str)
def test_migrate_puts_a_trigger_back_or_names_it(books, change: Change, how):
    """An open contract counts on it; `migrate` has nothing else to do."""
    books.deploy(change.operation).check()
    before = books.catalog()
    harm(books, HARM[how])
    again = books.migrate()
    if again.refused:
        assert "trigger" in again.error
    else:
        again.check()
        books.assert_unchanged(before)


@pytest.mark.parametrize("change", [BIGGER, TEXT, RENAMED], ids=str)
def test_migrate_lets_a_trigger_fire_for_replication_and_loaders_again(books, change: Change):
    """pg_restore --disable-triggers and ENABLE TRIGGER ALL leave one that was ALWAYS as ORIGIN."""
    books.deploy(change.operation).check()
    before = books.catalog()
    harm(books, ALWAYS["no more than origin"])
    again = books.migrate()
    if again.refused:
        assert "trigger" in again.error
    else:
        again.check()
        books.assert_unchanged(before)


@pytest.mark.parametrize("how", EVERY_HARM)
@pytest.mark.parametrize("change", WITH_TRIGGERS, ids=str)
def test_the_contract_drops_no_value_that_was_written_without_the_trigger(books, change: Change, how):
    """It refuses and names rows, or it has repaired them."""
    books.deploy(change.operation).check()
    harm(books, EVERY_HARM[how])
    change.write(books)
    contracted = books.contract()
    if contracted.refused:
        assert books.count("truth > 0") == 130
    else:
        contracted.check()
        assert books.count(change.wrong) == 0


# A partition has triggers of its own, which follow those of its table and can be switched off alone.

PARTS = """
    CREATE TABLE shop_item (id integer, room integer, size integer, truth integer, PRIMARY KEY (id, room))
        PARTITION BY LIST (room);
    CREATE TABLE item_1 PARTITION OF shop_item FOR VALUES IN (1);
    CREATE TABLE item_2 PARTITION OF shop_item FOR VALUES IN (2);
    INSERT INTO shop_item SELECT n, 1 + n % 2, n, n FROM generate_series(1, 50) n
"""
ITEM = CreateModel(
    "Item",
    [
        ("pk", models.CompositePrimaryKey("id", "room")),
        ("id", models.IntegerField()),
        ("room", models.IntegerField()),
        ("size", models.IntegerField(null=True)),
        ("truth", models.IntegerField(null=True)),
    ],
)
OF_ITEMS = {
    "size": AlterField("item", "size", models.BigIntegerField(null=True)),
    "width": RenameField("item", "size", "width"),
}


@pytest.mark.parametrize("how", ["DISABLE TRIGGER ALL", "DISABLE TRIGGER USER", 'ENABLE REPLICA TRIGGER "{trigger}"'])
@pytest.mark.parametrize("size", OF_ITEMS)
def test_a_trigger_that_is_off_on_one_partition_is_noticed(shop, how, size):
    shop.deploy(SeparateDatabaseAndState([RunSQL(PARTS)], [ITEM])).check()
    shop.deploy(OF_ITEMS[size]).check()
    before = shop.catalog()
    trigger = "FROM pg_trigger WHERE tgrelid = 'item_1'::regclass AND tgname ~ '^zzz_safe'"
    (name,) = shop.sql(f"SELECT tgname::text {trigger}")
    shop.sql(f"ALTER TABLE item_1 {how.format(trigger=name)}")
    shop.sql("UPDATE shop_item SET size = size + 1, truth = truth + 1 WHERE room = 1")
    again = shop.migrate()
    if again.refused:
        assert "trigger" in again.error
    else:
        again.check()
        shop.assert_unchanged(before)
    contracted = shop.contract()
    assert contracted.refused or shop.count(f"{size} IS DISTINCT FROM truth", "shop_item") == 0


# Switched off for a moment.

# What is written meanwhile, and where it has to stand afterwards; what comes then touches neither column.
ANEW = "DELETE FROM shop_book WHERE id = 1; INSERT INTO shop_book"
NUMBERS = {TEXT: "'5'"}
MEANWHILE = {
    "the new release changes a row": ("UPDATE shop_book SET {new} = {five}, truth = 5 WHERE id = 1", "{new} = {five}"),
    "the old release changes a row": ("UPDATE shop_book SET pages = 7, truth = 7 WHERE id = 1", "pages = 7"),
    "the new release says that it is unknown": (
        "UPDATE shop_book SET {new} = NULL, truth = NULL WHERE id = 1",
        "{new} IS NULL",
    ),
    "the old release says that it is unknown": (
        "UPDATE shop_book SET pages = NULL, truth = NULL WHERE id = 1",
        "pages IS NULL",
    ),
    "the new release adds a row": (
        f"{ANEW} (id, title, truth, code, author_id, {{new}}) VALUES (1, 'title', 5, 'code', 1, {{five}})",
        "{new} = {five}",
    ),
    "the old release adds a row": (
        f"{ANEW} (id, title, truth, code, author_id, pages) VALUES (1, 'title', 7, 'code', 1, 7)",
        "pages = 7",
    ),
}
THEN = {
    "another column": "UPDATE shop_book SET title = 'changed' WHERE id = 1",
    "save() of the old release": "UPDATE shop_book SET title = 'changed', pages = pages WHERE id = 1",
    "save() of the new release": "UPDATE shop_book SET title = 'changed', {new} = {new} WHERE id = 1",
}


@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("what", MEANWHILE)
@pytest.mark.parametrize("change", [RENAMED, TEXT], ids=str)
def test_what_was_written_while_triggers_were_off_is_not_overwritten(books, change: Change, what, then):
    """The two columns differ, and nobody knows which was written last: both stay until somebody looks."""
    names = {"new": change.pages, "five": NUMBERS.get(change, "5")}
    write, stands = (text.format(**names) for text in MEANWHILE[what])
    books.deploy(change.operation).check()
    books.sql("ALTER TABLE shop_book DISABLE TRIGGER USER")
    books.sql(write)
    for trigger, _ in books.sql(TRIGGERS):
        books.sql(f'ALTER TABLE shop_book ENABLE ALWAYS TRIGGER "{trigger}"')
    books.sql(THEN[then].format(**names))
    assert books.count(f"id = 1 AND {stands}") == 1
    contracted = books.contract()
    assert contracted.refused or books.count(f"id = 1 AND {change.wrong}") == 0


def test_a_contract_drops_no_column_that_has_the_only_values(books):
    """Somebody has dropped the new column by hand, and the trigger that stopped them."""
    books.deploy(BIGGER.operation).check()
    harm(books, HARM["dropped"])
    books.sql("ALTER TABLE shop_book DROP COLUMN pages")
    contracted = books.contract()
    assert "safemig_pages_old has the only values. Nothing was changed." in contracted.error
    assert books.count("safemig_pages_old IS DISTINCT FROM truth") == 0
    books.sql("ALTER TABLE shop_book ADD pages bigint; UPDATE shop_book SET pages = safemig_pages_old")
    books.sql("ALTER TABLE shop_book ALTER pages SET NOT NULL")
    books.contract().check()
    assert books.count(BIGGER.wrong) == 0
