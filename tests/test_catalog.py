"""What the catalog is asked, and the names that PostgreSQL makes by itself."""

from __future__ import annotations

import random

import psycopg
import pytest
from psycopg import sql

from safemigrations.postgres import catalog
from tests.contention import Worker, until

ALPHABET = "abcdefgh_XYZ0189 -.'%äßéñ木本語🙂"


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def name_of(characters, size):
    """A name that PostgreSQL takes uncut: at most 63 bytes."""
    name = "".join(characters.choice(ALPHABET) for _ in range(size))
    return name.encode()[: catalog.NAME_LENGTH].decode(errors="ignore")


def awkward_pairs():
    characters = random.Random(7)
    sizes = [1, 5, 20, 28, 29, 30, 31, 32, 40, 55, 60, 63]
    pairs = [(name_of(characters, a), name_of(characters, b)) for a in sizes for b in sizes]
    return [*pairs, ("t" * 63, "c" * 63), ("語" * 21, "木" * 21), ("a" + "語" * 20, "木" * 21), ("🙂" * 15, "ä" * 31)]


@pytest.mark.parametrize(("label", "constraint"), [("key", "UNIQUE"), ("check", "CHECK ({column} > 0)")])
def test_object_name_is_the_one_that_postgresql_chooses(other_connection, label, constraint):
    for table, column in awkward_pairs():
        definition = sql.SQL(constraint).format(column=sql.Identifier(column))
        create = sql.SQL("CREATE TABLE {} ({} int {})")
        other_connection.execute(create.format(sql.Identifier(table), sql.Identifier(column), definition))
        chosen = other_connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype IN ('u', 'c')",
            [quoted(table)],
        ).fetchone()
        assert chosen == (catalog.object_name(table, column, label),)
        other_connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))


def test_temporary_name_fits_and_tells_its_parts_apart():
    assert catalog.temporary_name("shop_order", "note", "fill") == "safemig_shop_order_note_fill"
    assert catalog.temporary_name("a", prefix="zzz_safemig_") == "zzz_safemig_a"
    at_the_limit = "x" * (catalog.NAME_LENGTH - len(catalog.PREFIX))
    assert catalog.temporary_name(at_the_limit) == f"safemig_{at_the_limit}"
    names = [catalog.temporary_name(table, column, "fill") for table, column in awkward_pairs()]
    assert len(set(names)) == len(set(awkward_pairs()))
    assert max(len(name.encode()) for name in names) <= catalog.NAME_LENGTH
    assert catalog.temporary_name("語" * 21, "note") == "safemig_" + "語" * 15 + "_fe2001bd"


def test_long_names_that_differ_in_where_a_part_ends_get_different_temporary_names():
    assert catalog.temporary_name("a" * 60, "b", "c") != catalog.temporary_name("a" * 60, "b_c")


# Probes: each is asked of four tables with an object of that name, and of one without.

TABLES = ['"item"', '"Mixed Case"', '"it\'s 100 %"', '"tenant"."item"', '"Tenant"."Mixed"']


@pytest.fixture
def tables(other_connection):
    """The tables; a search_path without public; and tables of the same names, empty, that it does not find."""
    other_connection.execute('CREATE SCHEMA app; CREATE SCHEMA tenant; CREATE SCHEMA "Tenant"')
    for table in TABLES[:3]:
        other_connection.execute(f"CREATE TABLE public.{table} ()")
    other_connection.execute("SET search_path = nowhere, app")
    other_connection.execute("CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    for number, table in enumerate(TABLES):
        other_connection.execute(
            f"""CREATE TABLE {table} (
                "Full" int NOT NULL DEFAULT 1 CONSTRAINT "Check" CHECK ("Full" > 0), "empty" int, "gone" int
            )"""
        )
        other_connection.execute(f'ALTER TABLE {table} DROP COLUMN "gone"')
        other_connection.execute(f'ALTER TABLE {table} ADD CONSTRAINT "New" CHECK ("empty" > 0) NOT VALID')
        other_connection.execute(f'CREATE INDEX "Index {number}" ON {table} ("Full")')
        other_connection.execute(
            f'CREATE TRIGGER "Trigger" BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fire()'
        )
    return other_connection


@pytest.mark.parametrize("table", TABLES)
def test_probes_tell_what_is_there_from_what_is_not(tables, table):
    def says_yes(query):
        return tables.execute(query).fetchall() != []

    index = f"Index {TABLES.index(table)}"
    true = {
        catalog.table_exists(table),
        catalog.column_exists(table, "Full"),
        catalog.column_missing(table, "full"),
        catalog.column_missing(table, "gone"),
        catalog.column_not_null(table, "Full"),
        catalog.column_nullable(table, "empty"),
        catalog.column_has_default(table, "Full"),
        catalog.column_has_no_default(table, "empty"),
        catalog.constraint_exists(table, "Check"),
        catalog.constraint_exists(table, "Check", validated=True),
        catalog.constraint_exists(table, "New"),
        catalog.constraint_missing(table, "new"),
        catalog.index_exists(table, index),
        catalog.trigger_exists(table, "Trigger"),
        catalog.trigger_missing(table, "trigger"),
    }
    false = {
        catalog.table_missing(table),
        catalog.column_exists(table, "full"),
        catalog.column_exists(table, "gone"),
        catalog.column_missing(table, "Full"),
        catalog.column_not_null(table, "empty"),
        catalog.column_not_null(table, "gone"),
        catalog.column_nullable(table, "Full"),
        catalog.column_has_default(table, "empty"),
        catalog.column_has_no_default(table, "Full"),
        catalog.constraint_exists(table, "check"),
        catalog.constraint_exists(table, "New", validated=True),
        catalog.constraint_missing(table, "Check"),
        catalog.index_exists(table, "Index"),
        catalog.trigger_exists(table, "trigger"),
        catalog.trigger_missing(table, "Trigger"),
        catalog.dependents_of_column(table, "Full"),
    }
    assert [query for query in true if not says_yes(query)] == []
    assert [query for query in false if says_yes(query)] == []


@pytest.mark.parametrize("table", ['"missing"', '"nowhere"."item"', '"MIXED CASE"'])
def test_probes_of_a_table_that_is_not_there_do_not_fail(tables, table):
    def found(query):
        return tables.execute(query).fetchall()

    assert found(catalog.table_missing(table)) == [(1,)]
    assert found(catalog.column_exists(table, "Full")) == []
    assert found(catalog.column_missing(table, "Full")) == [(1,)]
    assert found(catalog.constraint_missing(table, "Check")) == [(1,)]
    assert found(catalog.trigger_missing(table, "Trigger")) == [(1,)]
    assert found(catalog.index_state(table, "Index 0")) == []
    assert found(catalog.partitions(table)) == []


@pytest.mark.parametrize("table", TABLES)
def test_views_on_a_column_are_named(tables, table):
    tables.execute(f'CREATE VIEW "Best Of" AS SELECT "Full" FROM {table}')
    assert tables.execute(catalog.dependents_of_column(table, "Full")).fetchall() == [('view "Best Of"',)]
    assert tables.execute(catalog.dependents_of_column(table, "empty")).fetchall() == []


def test_index_state_of_a_valid_an_invalid_and_a_missing_index(tables):
    def state(name):
        return tables.execute(catalog.index_state('"Mixed Case"', name)).fetchall()

    assert state("Index 1") == [("r", '"Index 1"', True, None)]
    tables.execute("""UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = '"Index 1"'::regclass""")
    assert state("Index 1") == [("r", '"Index 1"', False, None)]
    assert state("index 1") == [("r", None, None, None)]


def test_an_index_that_is_rebuilt_in_a_copy_of_the_database_is_not_taken_for_ours(dsn, connect):
    """A database that was copied has tables and indexes of the same oids as its template."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            """CREATE FUNCTION gated(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_lock_shared(7); RETURN $1; END';
            CREATE TABLE item (id int); CREATE INDEX i ON item (gated(id)); INSERT INTO item VALUES (1)"""
        )
    maintenance = psycopg.connect(psycopg.conninfo.make_conninfo(dsn, dbname="postgres"), autocommit=True)
    maintenance.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (f"{name}_copy", name))))  # type: ignore[arg-type]
    copy = psycopg.conninfo.make_conninfo(dsn, dbname=f"{name}_copy")
    with psycopg.connect(copy, autocommit=True) as gate:
        builder = psycopg.connect(copy, autocommit=True)
        gate.execute("SELECT pg_advisory_lock(7)")
        rebuild = Worker(lambda: builder.execute("REINDEX INDEX i"))
        until(lambda: gate.execute(catalog.index_state('"item"', "i")).fetchone()[3] == builder.info.backend_pid)  # type: ignore[index]
        assert connect().execute(catalog.index_state('"item"', "i")).fetchall() == [("r", "i", True, None)]
        gate.execute("SELECT pg_advisory_unlock_all()")
        rebuild.result()
        builder.close()
    maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(f"{name}_copy")))
    maintenance.close()
