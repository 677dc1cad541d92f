"""What somebody gave a column, its indexes and constraints by hand: a change of type keeps it, or names it first."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import models
from django.db.migrations import CreateModel

from safemigrations.errors import StepFailed
from safemigrations.operations import ExpandAlterField
from safemigrations.typed import server_version

from .shop import Shop, book
from .snapshot import Snapshot, snapshot

WIDER = ExpandAlterField("book", "pages", models.BigIntegerField(null=True))
TEXT = ExpandAlterField("book", "pages", models.CharField(max_length=9, null=True, db_column="sheets"))
WIDER_KEY = ExpandAlterField("author", "id", models.BigAutoField(primary_key=True))
AUTHOR = CreateModel("Author", [("id", models.AutoField(primary_key=True))])
ADD = "ALTER TABLE shop_book ADD CONSTRAINT by_hand"


@pytest.fixture
def shop(database) -> Shop:
    author = models.ForeignKey("shop.Author", models.CASCADE)
    return Shop(database, AUTHOR, book(("pages", models.IntegerField(null=True)), ("author", author)))


def foreign_key(shop: Shop) -> str:
    (name,) = (name for name, text in shop.constraints().items() if text.startswith("FOREIGN KEY"))
    return str(name)


GIVEN = """
    ALTER TABLE shop_book ALTER pages SET NOT NULL;
    CREATE INDEX by_hand ON shop_book (pages); COMMENT ON INDEX by_hand IS 'mine';
    ALTER TABLE shop_book ADD CONSTRAINT above CHECK (pages > 0), ADD CONSTRAINT once UNIQUE (pages);
    COMMENT ON CONSTRAINT above ON shop_book IS 'mine'; COMMENT ON CONSTRAINT once ON shop_book IS 'mine';
    COMMENT ON CONSTRAINT shop_author_pkey ON shop_author IS 'mine'; COMMENT ON INDEX shop_author_pkey IS 'mine';
    ALTER TABLE shop_author CLUSTER ON shop_author_pkey;
    ALTER TABLE shop_author REPLICA IDENTITY USING INDEX shop_author_pkey;
    CREATE INDEX half ON shop_book ((pages / 2)); ALTER INDEX half ALTER COLUMN 1 SET STATISTICS 500;
    COMMENT ON CONSTRAINT "{0}" ON shop_book IS 'mine';
"""
TARGET = "SELECT attstattarget FROM pg_attribute WHERE attrelid = 'half'::regclass"


def test_what_another_column_can_have_goes_to_it_and_comes_back(shop):
    shop.execute(GIVEN.format(foreign_key(shop)))
    before = snapshot(shop.connection)
    shop.migrate(WIDER, WIDER_KEY)
    shop.contract()
    assert kept(snapshot(shop.connection)) == kept(before)
    assert shop.execute(TARGET) == [500]
    shop.back()
    assert kept(snapshot(shop.connection)) == kept(before)
    assert shop.execute(TARGET) == [500]


def test_an_index_of_a_partition_keeps_what_it_was_given(database):
    shop = Shop(database)
    shop.execute(
        "CREATE TABLE shop_book (id bigserial PRIMARY KEY, title varchar(100) NOT NULL, pages int NULL)"
        " PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF shop_book FOR VALUES FROM (0) TO (99)"
    )
    shop.fake(book(("pages", models.IntegerField(null=True))))
    shop.execute("CREATE UNIQUE INDEX by_hand ON shop_book (id, pages)")
    (name,) = shop.indexes("part")
    shop.execute(f"COMMENT ON INDEX {name} IS 'mine'; ALTER TABLE part CLUSTER ON {name}")
    before = snapshot(shop.connection)
    shop.migrate(WIDER)
    shop.contract()
    assert kept(snapshot(shop.connection)) == kept(before)


def kept(found: Snapshot) -> Any:
    """What is the same where a column has another type; a foreign key gets another name."""
    columns = {name: what[1:] for name, what in found["columns"].items()}
    constraints = sorted(re.sub("_[0-9a-f]{8}_fk.*?'", "'", str(one)) for one in found["constraints"].items())
    return columns, constraints, found["indexes"], found["tables"]


def test_a_check_that_nobody_enforces_stays_so(shop):
    if server_version(shop.connection) < 180000:
        pytest.skip("NOT ENFORCED came with PostgreSQL 18.")
    shop.execute(f"INSERT INTO shop_author DEFAULT VALUES; {ADD} CHECK (pages < 0) NOT ENFORCED")
    shop.execute("INSERT INTO shop_book (title, pages, author_id) VALUES ('Emma', 7, 1)")
    shop.migrate(WIDER)
    shop.contract()
    assert shop.constraints()["by_hand"] == "CHECK ((pages < 0)) NOT ENFORCED"


@pytest.mark.parametrize("options", ["ON DELETE SET NULL", "", "MATCH FULL", "ON UPDATE CASCADE", "NOT VALID"])
def test_a_foreign_key_that_is_not_djangos_is_named(shop, options):
    djangos = foreign_key(shop)
    key = f"FOREIGN KEY (author_id) REFERENCES shop_author(id) {options}".strip()
    shop.execute(f'ALTER TABLE shop_book DROP CONSTRAINT "{djangos}"; {ADD} {key}')
    before = snapshot(shop.connection)
    with pytest.raises(StepFailed) as error:
        shop.migrate(WIDER_KEY)
    assert str(error.value) == (
        f"author_id of shop_book can't get the type bigint, because of: constraint by_hand on table shop_book: {key}. "
        "Nothing was changed. What depends on a column stays with it, and this column is replaced by another. Drop "
        "what is named, run the same command again, and make it anew after the contract."
    )
    assert snapshot(shop.connection) == before


def test_a_second_foreign_key_is_named(shop):
    shop.execute(f"{ADD} FOREIGN KEY (author_id) REFERENCES shop_author (id) DEFERRABLE INITIALLY DEFERRED")
    with pytest.raises(StepFailed, match="because of: constraint by_hand on table shop_book"):
        shop.migrate(WIDER_KEY)


def test_an_index_in_another_tablespace_is_named(shop, other_connection):
    other_connection.execute("SET allow_in_place_tablespaces = on")
    other_connection.execute("CREATE TABLESPACE by_hand LOCATION ''")
    try:
        shop.execute("CREATE INDEX by_hand ON shop_book (pages) TABLESPACE by_hand")
        with pytest.raises(StepFailed, match="because of: tablespace of index by_hand"):
            shop.migrate(WIDER)
        shop.execute("DROP INDEX by_hand")
    finally:
        other_connection.execute("DROP TABLESPACE by_hand")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("ALTER TABLE shop_book ALTER pages SET NOT NULL", "NOT NULL of pages"),
        ("ALTER TABLE shop_book ALTER pages SET DEFAULT 5", "default 5"),
        ("CREATE SEQUENCE by_hand OWNED BY shop_book.pages", "sequence by_hand"),
    ],
)
def test_what_a_column_of_another_type_and_name_can_not_have_is_named(shop, given, what):
    shop.execute(given)
    with pytest.raises(StepFailed, match=f"pages of shop_book can't be replaced by sheets .*, because of: {what}"):
        shop.migrate(TEXT)
    assert "sheets" not in shop.columns()
