"""What the catalog is asked, and the names that PostgreSQL makes by itself."""

from __future__ import annotations

import random

import psycopg
import pytest
from psycopg import sql

from safemigrations.postgres.columns import (
    column_exists,
    column_has_default,
    column_has_no_default,
    column_missing,
    column_not_null,
    column_nullable,
)
from safemigrations.postgres.constraints import constraint_exists, constraint_missing
from safemigrations.postgres.dependents import dependents_of_column
from safemigrations.postgres.indexes import index_exists, index_state
from safemigrations.postgres.names import NAME_LENGTH, PREFIX, object_name, temporary_name
from safemigrations.postgres.tables import partitions, table_exists, table_missing
from safemigrations.postgres.triggers import trigger_exists, trigger_missing
from tests.contention import Worker, until

ALPHABET = "abcdefgh_XYZ0189 -.'%äßéñ木本語🙂"


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def name_of(characters, size):
    """A name that PostgreSQL takes uncut: at most 63 bytes."""
    name = "".join(characters.choice(ALPHABET) for _ in range(size))
    return name.encode()[:NAME_LENGTH].decode(errors="ignore")


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
        assert chosen == (object_name(table, column, label),)
        other_connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))


def test_temporary_name_fits_and_tells_its_parts_apart():
    assert temporary_name("shop_order", "note", "fill") == "safemig_shop_order_note_fill"
    assert temporary_name("a", prefix="zzz_safemig_") == "zzz_safemig_a"
    at_the_limit = "x" * (NAME_LENGTH - len(PREFIX))
    assert temporary_name(at_the_limit) == f"safemig_{at_the_limit}"
    names = [temporary_name(table, column, "fill") for table, column in awkward_pairs()]
    assert len(set(names)) == len(set(awkward_pairs()))
    assert max(len(name.encode()) for name in names) <= NAME_LENGTH
    assert temporary_name("語" * 21, "note") == "safemig_" + "語" * 15 + "_fe2001bd"


def test_long_names_that_differ_in_where_a_part_ends_get_different_temporary_names():
    assert temporary_name("a" * 60, "b", "c") != temporary_name("a" * 60, "b_c")


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
        table_exists(table),
        column_exists(table, "Full"),
        column_missing(table, "full"),
        column_missing(table, "gone"),
        column_not_null(table, "Full"),
        column_nullable(table, "empty"),
        column_has_default(table, "Full"),
        column_has_no_default(table, "empty"),
        constraint_exists(table, "Check"),
        constraint_exists(table, "Check", validated=True),
        constraint_exists(table, "New"),
        constraint_missing(table, "new"),
        index_exists(table, index),
        trigger_exists(table, "Trigger"),
        trigger_missing(table, "trigger"),
    }
    false = {
        table_missing(table),
        column_exists(table, "full"),
        column_exists(table, "gone"),
        column_missing(table, "Full"),
        column_not_null(table, "empty"),
        column_not_null(table, "gone"),
        column_nullable(table, "Full"),
        column_has_default(table, "empty"),
        column_has_no_default(table, "Full"),
        constraint_exists(table, "check"),
        constraint_exists(table, "New", validated=True),
        constraint_missing(table, "Check"),
        index_exists(table, "Index"),
        trigger_exists(table, "trigger"),
        trigger_missing(table, "Trigger"),
        dependents_of_column(table, "Full"),
    }
    assert [query for query in true if not says_yes(query)] == []
    assert [query for query in false if says_yes(query)] == []


@pytest.mark.parametrize("table", ['"missing"', '"nowhere"."item"', '"MIXED CASE"'])
def test_probes_of_a_table_that_is_not_there_do_not_fail(tables, table):
    def found(query):
        return tables.execute(query).fetchall()

    assert found(table_missing(table)) == [(1,)]
    assert found(column_exists(table, "Full")) == []
    assert found(column_missing(table, "Full")) == [(1,)]
    assert found(constraint_missing(table, "Check")) == [(1,)]
    assert found(trigger_missing(table, "Trigger")) == [(1,)]
    assert found(index_state(table, "Index 0")) == []
    assert found(partitions(table)) == []


@pytest.mark.parametrize("table", TABLES)
def test_views_on_a_column_are_named(tables, table):
    tables.execute(f'CREATE VIEW "Best Of" AS SELECT "Full" FROM {table}')
    assert tables.execute(dependents_of_column(table, "Full")).fetchall() == [('view "Best Of"',)]
    assert tables.execute(dependents_of_column(table, "empty")).fetchall() == []


def test_index_state_of_a_valid_an_invalid_and_a_missing_index(tables):
    def state(name):
        return tables.execute(index_state('"Mixed Case"', name)).fetchall()

    assert state("Index 1") == [('"Index 1"', True, None)]
    tables.execute("""UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = '"Index 1"'::regclass""")
    assert state("Index 1") == [('"Index 1"', False, None)]
    assert state("index 1") == [(None, None, None)]


def test_an_index_that_is_built_in_a_copy_of_the_database_is_not_taken_for_ours(dsn, connect):
    """A database that was copied has tables and indexes of the same oids as its template."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            """CREATE FUNCTION gated(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_lock_shared(7); RETURN $1; END';
            CREATE TABLE item (id int); CREATE INDEX i ON item (id); INSERT INTO item VALUES (1);
            UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'i'::regclass"""
        )
    maintenance = psycopg.connect(psycopg.conninfo.make_conninfo(dsn, dbname="postgres"), autocommit=True)
    maintenance.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (f"{name}_copy", name))))  # type: ignore[arg-type]
    copy = psycopg.conninfo.make_conninfo(dsn, dbname=f"{name}_copy")
    with psycopg.connect(copy, autocommit=True) as gate:
        builder = psycopg.connect(copy, autocommit=True)
        gate.execute("SELECT pg_advisory_lock(7); DROP INDEX i")
        build = Worker(lambda: builder.execute("CREATE INDEX CONCURRENTLY i ON item (gated(id))"))
        until(lambda: gate.execute(index_state('"item"', "i")).fetchall() == [("i", False, builder.info.backend_pid)])
        assert connect().execute(index_state('"item"', "i")).fetchall() == [("i", False, None)]
        gate.execute("SELECT pg_advisory_unlock_all()")
        build.result()
        builder.close()
    maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(f"{name}_copy")))
    maintenance.close()
