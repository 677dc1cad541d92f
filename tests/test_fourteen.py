"""What PostgreSQL 14 lacks is asked of none. Such a server isn't in the matrix, so the catalog hides it here."""

from __future__ import annotations

import pytest

from safemigrations.errors import StepFailed
from safemigrations.plans.steps import Backfill
from safemigrations.postgres.indexes import one_null_indexes
from safemigrations.postgres.surroundings import publications
from safemigrations.running.foreseeing.foreseen import refuse_foreseen
from safemigrations.running.session import Session

LATER = "indnullsnotdistinct", "prattrs", "prqual", "pnnspid"  # columns that came with PostgreSQL 15
HIDE = f"""
    CREATE SCHEMA fourteen;
    DO $$ DECLARE found record; BEGIN FOR found IN
        SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attname NOT IN {LATER}
        WHERE c.oid IN (SELECT attrelid FROM pg_attribute WHERE attname IN {LATER}) AND c.relkind = 'r'
        GROUP BY c.relname
    LOOP EXECUTE format('CREATE VIEW fourteen.%I AS SELECT %s FROM pg_catalog.%1$I', found.relname, found.columns);
    END LOOP; END $$;
    SET search_path TO fourteen, pg_catalog, public
"""


@pytest.fixture
def fourteen(database, monkeypatch):
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id int PRIMARY KEY, size int); CREATE PUBLICATION news FOR TABLE item")
        cursor.execute(HIDE)
    monkeypatch.setattr(database, "pg_version", 140000)
    return Session(database)


def test_tables_that_nothing_can_fill(fourteen):
    fill = Backfill(why="fill it", table='"item"', key=('"id"',), guard="TRUE", assign='"size" = 1')
    refuse_foreseen(fourteen.connection, [fill])
    fourteen.send("ALTER TABLE item REPLICA IDENTITY NOTHING")
    with pytest.raises(StepFailed, match="item is published by news and has no replica identity"):
        refuse_foreseen(fourteen.connection, [fill])


def test_unique_indexes_with_one_null_and_lists_of_columns(fourteen):
    assert fourteen.rows(one_null_indexes('"item"', "id")) == []
    assert fourteen.rows(publications(["item"])) == [("item", ["news"])]
