"""django-tenants: every schema expands and contracts for itself, and none touches another's tables.

Where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, each executor does each half.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from safemigrations.contracts.marks import marked
from safemigrations.contracts.sessions import Seen, remembering, watch
from safemigrations.errors import NotNow, StepFailed
from safemigrations.running.of_tenant import in_schema
from safemigrations.running.one_at_a_time import OWN, key_of, look

from .representatives import ONE_IN
from .tenants import TenantProject

TENANTS = ("anna", "ben")
ALL = ("public", *TENANTS)


@pytest.fixture
def tenants(tmp_path: Path, dsn: str) -> TenantProject:
    """The second release is written, and the first one is deployed."""
    project = TenantProject(tmp_path, dsn)
    project.start_with(*TENANTS)
    project.change()
    return project


def left(tenants: TenantProject) -> dict[str, int]:
    return {schema: tenants.left(schema) for schema in ALL}


EXECUTORS = [("standard", "multiprocessing"), ("multiprocessing", "subprocess"), ("subprocess", "standard")]


@pytest.mark.parametrize("executors", EXECUTORS[: None if ONE_IN == 1 else 1], ids=str)
def test_a_release_in_every_schema(tenants, executors, other_connection):
    expand, contract = (["--executor", executor] for executor in executors)
    one_that_fails_does_not_stop_the_others(tenants, expand)
    each_schema_has_its_numbers(tenants)
    the_gate_is_asked_in_each_schema(tenants, other_connection, contract)
    one_made_meanwhile_is_whole(tenants)
    tenants.manage("migrate", "--contract", *contract).check()
    assert left(tenants) == {"public": 0, "anna": 0, "ben": 0}
    tenants.manage("safemigrations", "verify").check()
    assert tenants.shape("anna") == tenants.shape("ben") == tenants.shape("cleo") == tenants.shape("dora")
    assert tenants.shape("public") == [line for line in tenants.shape("anna") if "shop_" not in line]


def one_that_fails_does_not_stop_the_others(tenants: TenantProject, executor: list[str]) -> None:
    tenants.manage("check").check()
    tenants.sql("INSERT INTO anna.pages_page (name, number) VALUES ('x', 1), ('x', 2)")
    failed = tenants.manage("migrate_schemas", *executor)
    assert failed.returncode == 1
    assert "pages.Page: several rows have the same (name): x" in failed.stderr
    assert "1 schema failed; the others are done:\n  anna: " in failed.stderr
    assert left(tenants) == {"public": 3, "anna": 0, "ben": 5}
    not_ready = tenants.manage("safemigrations", "ready")
    assert "Schema ben:\ndefault: ready" in not_ready.stdout
    assert "1 schema failed; the others are done:\n  anna: Not ready." in not_ready.stderr
    not_now = tenants.manage("migrate_schemas", "--contract", "--plan", "--schema", "anna")
    assert (not_now.returncode, "--schema anna" in not_now.stderr) == (NotNow.STATUS, True)
    tenants.sql("DELETE FROM anna.pages_page WHERE number = 2")
    tenants.manage("migrate_schemas", *executor).check()
    assert left(tenants) == {"public": 3, "anna": 5, "ben": 5}


def each_schema_has_its_numbers(tenants: TenantProject) -> None:
    assert "say which one is meant" in tenants.manage("safemigrations", "contract", "postpone", "1").stderr
    tenants.manage("safemigrations", "contract", "postpone", "1", "--schema", "ben").check()
    found = map(json.loads, tenants.manage("safemigrations", "status", "--format", "json").check().lines)
    assert {one["schema"]: one["rows"][0]["status"] for one in found} == {
        "public": "pending",
        "anna": "pending",
        "ben": "postponed",
    }
    shown = tenants.manage("tenant_command", "safemigrations", "status", "--schema", "ben").check().stdout
    assert shown.startswith("Left for the contract in database default: 5\n")
    tenants.manage("safemigrations", "contract", "resume", "1", "--schema", "ben").check()
    assert "No tenant has the schema nobody" in tenants.manage("safemigrations", "status", "--schema", "nobody").stderr


def the_gate_is_asked_in_each_schema(tenants: TenantProject, old: Any, executor: list[str]) -> None:
    """A session of the first release is there: which that is, each schema knows from its own migrate."""
    ((mark,),) = tenants.sql(
        "SELECT mark FROM ben.safemigrations_release WHERE NOT migrations -> 'shop' ? '0002_changed'"
    )
    old.execute(f"SET application_name = '{marked('gunicorn', mark)}'")
    held = tenants.manage("migrate", "--contract", *executor)
    assert held.returncode == NotNow.STATUS
    assert "the gate holds rows back" in held.stderr
    assert "not in 3 schemas; the others are done:\n  anna: " in held.stderr
    assert left(tenants) == {"public": 3, "anna": 5, "ben": 5}
    old.execute("RESET application_name")


def one_made_meanwhile_is_whole(tenants: TenantProject) -> None:
    """Also where the admin makes it, in a transaction."""
    tenants.make(["cleo"]).check()
    tenants.make(["dora"], "transaction.atomic()").check()
    assert (tenants.left("cleo"), tenants.left("dora")) == (0, 0)


def test_what_a_tenant_lacks_is_not_looked_for_in_the_public_schema(tenants):
    tenants.sql("ALTER TABLE ben.pages_page RENAME TO pages_page_lost")
    failed = tenants.manage("migrate_schemas", "-v", "0")
    assert "the schema ben has no pages_page, and the one of the public schema isn't meant." in failed.stderr
    tenants.sql("ALTER TABLE ben.pages_page_lost RENAME TO pages_page")
    tenants.manage("migrate_schemas", "-v", "0").check()
    killed_after_it_had_dropped_its_table(tenants)
    tenants.sql("DROP SCHEMA ben CASCADE")
    gone = tenants.manage("migrate", "--contract", "-v", "0")
    assert "1 schema failed; the others are done:\n  ben: The tenant ben has no schema" in gone.stderr
    assert left(tenants) == {"public": 0, "anna": 0, "ben": 0}


def killed_after_it_had_dropped_its_table(tenants: TenantProject) -> None:
    tenants.sql("INSERT INTO public.pages_note (text) VALUES ('of all')")
    tenants.sql("DROP TABLE ben.pages_note")
    tenants.sql("UPDATE ben.safemigrations_contract SET status = 'running', attempts = 1 WHERE label ~ 'drop table'")
    tenants.manage("migrate", "--contract", "-v", "0", "--schema", "ben").check()
    assert left(tenants) == {"public": 3, "anna": 5, "ben": 0}
    assert tenants.sql("SELECT text FROM public.pages_note") == [("of all",)]


LEFT = """
from django.db import migrations, models
from safemigrations.operations import Backfill


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [Backfill("book", set={"old": models.F("pages") * 2}, can_wait=True)]
"""


def test_backfills_are_run_in_every_schema(tmp_path, dsn):
    project = TenantProject(tmp_path, dsn, SAFEMIGRATIONS={"BACKFILL_INLINE_ROWS": 0, "BACKFILL_BATCH_SIZE": 10})
    project.start_with(*TENANTS)
    for schema in TENANTS:
        project.sql(
            f"INSERT INTO {schema}.shop_book (title, pages) SELECT 'x', n FROM generate_series(1, 50) n; ANALYZE"
        )
    project.write_migration("shop", "0002_left", LEFT)
    project.manage("migrate").check()
    found = project.manage("safemigrations", "backfill", "status", "--format", "json").check().lines
    assert [json.loads(line)["schema"] for line in found] == [*TENANTS]
    project.manage("safemigrations", "backfill", "run", "--workers", "2").check()
    for schema in TENANTS:
        assert project.sql(f"SELECT count(*) FROM {schema}.shop_book WHERE old = pages * 2") == [(50,)]
    assert "without --tasks" in project.manage("safemigrations", "backfill", "run", "--tasks", "django").stderr


@pytest.mark.skipif(ONE_IN != 1, reason="takes minutes: only in the matrix")
@pytest.mark.parametrize("executor", ["standard", "multiprocessing"])
def test_a_hundred_schemas(tmp_path, dsn, executor):
    project = TenantProject(tmp_path, dsn)
    names = [f"tenant_{number}" for number in range(100)]
    project.start_with()
    project.manage_long("shell", "-c", project.makes(names))
    project.change()
    project.manage_long("migrate_schemas", "--executor", executor)
    assert {project.left(name) for name in names} == {5}
    project.manage_long("migrate_schemas", "--contract", "--executor", executor)
    assert {project.left(name) for name in names} == {0}
    first, *others = (project.shape(name) for name in names)
    assert all(shape == first for shape in others)


OF_THE_PROJECT = """
from django.core.management.commands import migrate


class Command(migrate.Command):
    def handle(self, *args, **options):
        self.stdout.write("of the project")
        super().handle(*args, **options)
"""


def test_runs_in_different_schemas_do_not_wait_for_each_other(tmp_path, dsn, other_connection):
    """By `migrate`, which is about every schema in either order of INSTALLED_APPS."""
    project = TenantProject(tmp_path, dsn, first="safemigrations", TENANT_LIMIT_SET_CALLS=True)
    project.start_with(*TENANTS)
    project.change()
    project.write("mine.py", OF_THE_PROJECT)
    project.set(TENANT_BASE_MIGRATE_COMMAND="mine.Command")
    anna: Any = SimpleNamespace(schema_name="anna")
    other_connection.execute("SELECT pg_advisory_lock(%s)", [key_of(OWN, anna)])
    assert "of the project" in project.manage("migrate", "--schema", "ben").check().stdout
    waiting = project.start("migrate")
    waiting.read_until("waiting for it to end")
    assert left(project) == {"public": 3, "anna": 0, "ben": 5}
    other_connection.execute("SELECT pg_advisory_unlock(%s)", [key_of(OWN, anna)])
    waiting.wait().check()
    assert left(project) == {"public": 3, "anna": 5, "ben": 5}


def test_a_run_whose_schema_is_dropped_ends(database, monkeypatch):
    monkeypatch.setattr(database, "schema_name", "anna", raising=False)
    with database.cursor() as cursor:
        cursor.execute("CREATE SCHEMA anna")
    look(database)
    with database.cursor() as cursor:
        cursor.execute("DROP SCHEMA anna")
    with pytest.raises(StepFailed, match="The schema anna isn't there any more"):
        look(database)


def test_schemas_that_follow_each_other_look_for_sessions_together(database):
    asked = []

    def is_enough(seen: Sequence[Seen]) -> bool:
        asked.append(seen)
        return False

    with remembering():
        watch(database, 0.3, is_enough)
        assert asked
        asked.clear()
        watch(database, 0.3, is_enough)
        assert asked == []  # the first have looked for long enough
    watch(database, 0.3, is_enough)
    assert asked


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ('DROP TABLE IF EXISTS "a"', 'DROP TABLE IF EXISTS "ben"."a"'),
        ('DROP INDEX CONCURRENTLY IF EXISTS "a""b"', 'DROP INDEX CONCURRENTLY IF EXISTS "ben"."a""b"'),
        ('ALTER INDEX "a" RENAME TO "b"', 'ALTER INDEX "ben"."a" RENAME TO "b"'),
        ('DROP FUNCTION IF EXISTS "a.b"(citext)', 'DROP FUNCTION IF EXISTS "ben"."a.b"(citext)'),
        ('DROP VIEW IF EXISTS "x"."a"', 'DROP VIEW IF EXISTS "x"."a"'),
        ('ALTER TABLE "a" DROP COLUMN "b"', 'ALTER TABLE "a" DROP COLUMN "b"'),
    ],
)
def test_what_may_be_gone_is_named_with_the_schema(sql, named):
    ben: Any = SimpleNamespace(schema_name="ben")
    assert in_schema(ben, sql) == named
    assert in_schema(SimpleNamespace(), sql) == sql  # type: ignore[arg-type]
