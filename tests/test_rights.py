"""What a role may not do is found before the first step, with what somebody has to type; and then it goes through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from safemigrations.contracts.table import Contract
from safemigrations.plans.steps import Backfill, Together
from safemigrations.postgres.lock import Lock
from safemigrations.running.foreseeing.rights import Rights
from safemigrations.running.session import Session
from safemigrations.running.storage import ensure_table
from tests.project import Project

BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=20)\n"
INDEXED = BOOK.replace("20)", "20, db_index=True)")
RETYPED = BOOK.replace("CharField(max_length=20)", "TextField()") + "    pages = models.IntegerField(default=1)\n"
WITH_AUTHOR = BOOK + "\n\nclass Author(models.Model):\n    pass\n"
NULLABLE = BOOK + "    note = models.TextField(null=True)\n"


@pytest.fixture
def poor(tmp_path: Path, dsn: str) -> Iterator[tuple[Project, str]]:
    """A project of a role that owns its tables, as somebody gave them to it, and may create nothing; and its name."""
    role = f"poor_{uuid4().hex[:8]}"
    project = Project(tmp_path, make_conninfo(dsn, user=role))
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}")
        project.write_models("shop", BOOK)
        project.manage("makemigrations").check()
        project.manage("migrate").check()
        admin.execute(f"REVOKE CREATE ON SCHEMA public FROM {role}")
        yield project, role
        admin.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def catalog(project: Project) -> list[tuple[object, ...]]:
    return project.sql(
        "SELECT relname, relkind, (SELECT count(*) FROM pg_attribute WHERE attrelid = c.oid) FROM pg_class c"
        " WHERE relnamespace = 'public'::regnamespace UNION ALL SELECT proname, 'f', 0 FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
    )


@pytest.mark.parametrize(
    "models", [INDEXED, RETYPED, WITH_AUTHOR], ids=["an index", "a twin and the queue", "a table of Django's own"]
)
def test_what_can_not_be_created_is_said_before_the_first_step(poor, dsn, models):
    project, role = poor
    project.write_models("shop", models)
    project.manage("makemigrations").check()
    before = catalog(project)
    refused = project.manage("migrate")
    grant = f'GRANT CREATE ON SCHEMA "public" TO "{role}"'
    assert refused.stderr == (
        f"StepFailed: The role {role} may not create anything in the schema public, where indexes, functions or tables "
        f"are to be made. Nothing was changed. Let an administrator type: {grant}\n"
    )
    assert catalog(project) == before
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(grant)
    project.migrate_and_contract()


def test_a_schema_that_has_no_tables_of_the_project_may_be_closed(tmp_path, dsn):
    """As public often is, where each role has a schema of its own: of a new database, nothing is hidden there."""
    role = f"poor_{uuid4().hex[:8]}"
    project = Project(tmp_path, make_conninfo(dsn, user=role))
    project.write_models("shop", BOOK)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE SCHEMA {role}")
        admin.execute(f"GRANT ALL ON SCHEMA {role} TO {role}")
        project.manage("makemigrations").check()
        project.manage("migrate").check()
        assert project.sql("SELECT schemaname FROM pg_tables WHERE tablename = 'shop_book'") == [(role,)]
        admin.execute(f"DROP OWNED BY {role}; DROP SCHEMA {role}; DROP ROLE {role}")


def test_what_needs_no_such_right_goes_through(poor):
    project, _ = poor
    project.write_models("shop", NULLABLE)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    assert project.sql("SELECT note FROM shop_book") == []


def test_a_stock_operation_on_a_table_of_another_role(poor, dsn):
    project, role = poor
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"ALTER TABLE shop_book OWNER TO CURRENT_USER; GRANT ALL ON shop_book TO {role}")
        owner = admin.info.user
    project.write_models("shop", NULLABLE)
    project.manage("makemigrations").check()
    before = catalog(project)
    refused = project.manage("migrate")
    assert refused.stderr == (
        f"StepFailed: The table shop_book belongs to the role {owner}, which {role} isn't a member of, and only its "
        f"owner may alter it. Nothing was changed. Migrate as {owner}, or let an administrator type: GRANT "
        f'"{owner}" TO "{role}"\n'
    )
    assert catalog(project) == before


def test_a_change_that_sends_nothing_asks_for_nothing(poor, dsn):
    project, role = poor
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"ALTER TABLE shop_book OWNER TO CURRENT_USER; GRANT ALL ON shop_book TO {role}")
    project.write_models("shop", BOOK.replace("20)", "20, verbose_name='T')"))
    project.manage("makemigrations").check()
    project.manage("migrate").check()


def test_a_contract_is_refused_before_its_first_step(poor, dsn):
    project, role = poor
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        project.write_models("shop", RETYPED)
        project.manage("makemigrations").check()
        project.manage("migrate").check()
        admin.execute("ALTER TABLE shop_book OWNER TO CURRENT_USER")
        admin.execute(f"GRANT ALL ON shop_book TO {role}")
    before = catalog(project)
    refused = project.manage("migrate", "--contract", "--noinput")
    assert (refused.returncode, refused.stderr.count("only its owner may alter it. Nothing was changed.")) == (1, 1)
    assert catalog(project) == before


KINDS = {  # where the table item is the one that the step names, or a part of it
    "item": "CREATE TABLE item (size int)",
    "whole": "CREATE TABLE whole (size int) PARTITION BY LIST (size); CREATE TABLE item PARTITION OF whole DEFAULT;"
    " ALTER TABLE whole OWNER TO pg_monitor",
    "parent": "CREATE TABLE parent (size int); CREATE TABLE item () INHERITS (parent);"
    " ALTER TABLE parent OWNER TO pg_monitor",
}


@pytest.mark.parametrize("table", KINDS)
def test_the_owner_may_lack_what_fills_rows_and_makes_triggers(database, other_connection, table):
    """As of a log that nobody is to change."""
    other_connection.execute(f"{KINDS[table]}; ALTER TABLE item OWNER TO pg_monitor")
    other_connection.execute("REVOKE ALL ON item FROM pg_monitor; GRANT INSERT, SELECT (size) ON item TO pg_monitor")
    named = f'"{table}"'
    fill = Backfill(why="fill it", table=named, key=('"size"',), guard="TRUE", assign='"size" = 1')
    trigger = Together(why="keep it", sql=("CREATE OR REPLACE TRIGGER ...",), locks={named: Lock.ACCESS_EXCLUSIVE})
    with database.cursor() as cursor:
        cursor.execute("SET ROLE pg_monitor")
    for step, lacks in ((fill, "UPDATE"), (trigger, "TRIGGER")):
        grant = f'GRANT {lacks} ON item TO "pg_monitor"'
        assert list(Rights(Session(database)).lacking(step)) == [
            f"The role pg_monitor lacks {lacks} on the table item. Nothing was changed. Let its owner type: {grant}"
        ]
        other_connection.execute(grant)
        assert list(Rights(Session(database)).lacking(step)) == []


@pytest.mark.parametrize("table", KINDS)
def test_what_a_step_names_belongs_to_another_role(database, other_connection, table):
    """The tables that it alters, the functions that it drops, and the tables of ours that it writes."""
    ensure_table(database, Contract)
    other_connection.execute(
        f"{KINDS[table]}; CREATE TABLE django_migrations (id int);"
        " CREATE FUNCTION \"it's\"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    )
    step = Together(
        why="take it back",
        sql=('DROP FUNCTION IF EXISTS "it\'s"()', f'ALTER TABLE "{table}" DROP COLUMN IF EXISTS "size"'),
        locks={},
    )
    assert list(Rights(Session(database)).lacking(step)) == []
    with database.cursor() as cursor:
        cursor.execute("SET ROLE pg_monitor")
    rights = Rights(Session(database))
    of_table, of_function = rights.lacking(step)
    assert of_table.startswith("The table item belongs to the role ")
    assert of_function.startswith('The function "it\'s"() belongs to the role ')
    assert [text.partition(",")[0] for text in rights.lacking_for_own(["safemigrations_contract"])] == [
        "The role pg_monitor may not write the table safemigrations_contract"
    ]
