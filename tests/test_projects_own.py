"""What a project has made beside Django on tables that are renamed, altered or dropped.

All of it stays, or goes, as with the stock operations, and nothing of ours stays.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from .cases import CASES, Case, base, stock
from .conftest import new_database
from .releases import installed, migrate, write
from .representatives import forms_of_steps, representatives
from .snapshot import Snapshot, difference, nameless, snapshot

OF_TABLES = ("rename_field", "rename_model", "rename_two", "alter_model_table", "remove_field", "delete_model")
REFUSED = "_bigger"  # extended statistics stay with a column, and keep another type from it
POSSIBLE = [case for case in CASES if case.name.startswith(OF_TABLES) and not case.name.endswith(REFUSED)]
CHOSEN = representatives(forms_of_steps, POSSIBLE)
tables = pytest.mark.parametrize("case", CHOSEN, ids=repr)

# Of every table: grants to a role, of columns too, comments, statistics, a policy, a trigger, a publication.
OWN = """
    CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE PUBLICATION everything;
    DO $own$
    DECLARE t record; what record; columns text[];
    BEGIN
        FOR t IN SELECT oid, oid::regclass AS name, relname, relispartition FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname ~ '^shop_'
        LOOP
            EXECUTE format('GRANT SELECT, INSERT ON %s TO pg_monitor WITH GRANT OPTION', t.name);
            EXECUTE format('COMMENT ON TABLE %s IS %L', t.name, 'comment on ' || t.relname);
            FOR what IN SELECT attname, attidentity FROM pg_attribute
                WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped
            LOOP
                EXECUTE format('GRANT UPDATE (%I) ON %s TO pg_read_all_stats', what.attname, t.name);
                EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', t.name, what.attname, 'comment on ' || what.attname);
                EXECUTE format('ALTER TABLE ONLY %s ALTER %I SET STATISTICS 77', t.name, what.attname);
            END LOOP;
            SELECT array_agg(format('%I', attname) ORDER BY attnum) INTO columns FROM pg_attribute
            WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                AND format_type(atttypid, NULL) IN ('bigint', 'integer', 'character varying', 'text', 'date');
            IF array_length(columns, 1) > 1 THEN
                EXECUTE format('CREATE STATISTICS %I ON %s FROM %s', t.relname || '_together',
                    array_to_string(columns[:8], ', '), t.name);
            END IF;
            EXECUTE format('CREATE POLICY everybody ON %s USING (TRUE)', t.name);
            CONTINUE WHEN t.relispartition;
            EXECUTE format('CREATE TRIGGER audit AFTER INSERT OR UPDATE ON %s'
                ' FOR EACH ROW EXECUTE FUNCTION noop()', t.name);
            EXECUTE format('ALTER PUBLICATION everything ADD TABLE %s', t.name);
        END LOOP;
    END $own$
"""


def make(database: BaseDatabaseWrapper) -> None:
    with database.cursor() as cursor:
        cursor.execute(OWN)


@pytest.fixture
def end(case: Case, used: str, monkeypatch: Any, tmp_path: Any) -> Snapshot:
    """Where the stock operations lead."""
    with (
        new_database("other", monkeypatch, used) as other,
        installed(tmp_path, write(tmp_path, [base(), *stock(case)])),
    ):
        make(other)
        migrate("0002_change", alias=other.alias)
        return snapshot(other)


@tables
def test_it_is_as_after_the_stock_operations_and_there_again_after_the_way_back(end, release):
    case: Case = release.case
    make(connection)
    start = snapshot(connection)
    release.expand()
    release.back()
    assert difference(start, snapshot(connection)) == {}
    release.expand()
    release.contract()
    named = nameless if case.former_names else snapshot_as_it_is
    assert difference(named(end), named(snapshot(connection))) == {}
    if comes_back(case):
        release.back()
        named = nameless if case.named_anew else snapshot_as_it_is
        assert difference(named(start), named(snapshot(connection))) == {}


def snapshot_as_it_is(found: Snapshot) -> Snapshot:
    return found


def comes_back(case: Case) -> bool:
    """What was dropped comes back as Django makes it."""
    return not case.name.startswith(("remove_field", "delete_model"))
