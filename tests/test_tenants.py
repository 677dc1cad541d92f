"""django-tenants: every schema expands and contracts for itself, and none touches another's tables.

The default run goes through one release; what takes longer is tried where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the
matrix.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from safemigrations.contracts.marks import marked
from safemigrations.contracts.sessions import Seen, remembering, watch
from safemigrations.errors import NotNow, StepFailed
from safemigrations.running.events.event import on
from safemigrations.running.events.listeners import told
from safemigrations.running.events.vocabulary import RunStarted
from safemigrations.running.of_tenant import in_schema
from safemigrations.running.one_at_a_time import OWN, key_of, look

from .representatives import ONE_IN
from .tenants import CLIENTS, TenantProject

TENANTS = ("anna", "ben")
EXTRA = "    extra = models.IntegerField(null=True)\n"
ALL = ("public", *TENANTS)
of_the_matrix = pytest.mark.skipif(ONE_IN != 1, reason="takes minutes: only in the matrix")
LOGGING = {
    "version": 1,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"safemigrations": {"handlers": ["stderr"], "level": "INFO"}},
}


@pytest.fixture
def tenants(tmp_path: Path, dsn: str) -> TenantProject:
    """The second release is written, and the first one is deployed."""
    project = TenantProject(tmp_path, dsn, LOGGING=LOGGING)
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
    each_schema_has_its_rows(tenants)
    the_gate_is_asked_in_each_schema(tenants, other_connection, contract)
    tenants.make(["cleo"], "transaction.atomic()").check()  # as the admin makes one
    assert tenants.left("cleo") == 0
    killed_after_it_had_dropped_its_table(tenants)
    tenants.manage("migrate", "--contract", *contract).check()
    assert left(tenants) == {"public": 0, "anna": 0, "ben": 0}
    tenants.manage("safemigrations", "verify").check()
    assert tenants.shape("anna") == tenants.shape("ben") == tenants.shape("cleo")
    assert tenants.shape("public") == [line for line in tenants.shape("anna") if "shop_" not in line]


def one_that_fails_does_not_stop_the_others(tenants: TenantProject, executor: list[str]) -> None:
    """What ben lacks is there in the public schema, and isn't meant."""
    tenants.sql("INSERT INTO anna.pages_page (name, number) VALUES ('x', 1), ('x', 2)")
    tenants.sql("ALTER TABLE ben.pages_page RENAME TO pages_page_lost")
    failed = tenants.manage("migrate_schemas", *executor)
    assert failed.returncode == 1
    assert "2 schemas failed; the others are done:\n  anna: " in failed.stderr
    assert "pages.Page: several rows have the same (name): x" in failed.stderr
    assert "the schema ben has no pages_page, and the one of the public schema isn't meant." in failed.stderr
    assert "\nanna: migrate began\n" in failed.stderr  # in the log
    assert (tenants.left("public"), tenants.left("anna")) == (3, 0)
    tenants.sql("DELETE FROM anna.pages_page WHERE number = 2")
    tenants.sql("ALTER TABLE ben.pages_page_lost RENAME TO pages_page")
    tenants.manage("migrate_schemas", *executor).check()
    assert left(tenants) == {"public": 3, "anna": 5, "ben": 5}


def each_schema_has_its_rows(tenants: TenantProject) -> None:
    found = map(json.loads, tenants.manage("safemigrations", "status", "--format", "json").check().lines)
    assert {one["schema"]: len(one["rows"]) for one in found} == {"public": 3, "anna": 5, "ben": 5}


def the_gate_is_asked_in_each_schema(tenants: TenantProject, old: Any, executor: list[str]) -> None:
    """A session of the first release is there: which that is, each schema knows from its own migrate."""
    old.execute(f"SET application_name = '{marked('gunicorn', first_mark(tenants))}'")
    held = tenants.manage("migrate", "--contract", *executor)
    assert held.returncode == NotNow.STATUS
    assert "the gate holds rows back" in held.stderr
    assert "not in 3 schemas; the others are done:\n  anna: " in held.stderr
    assert left(tenants) == {"public": 3, "anna": 5, "ben": 5}
    old.execute("RESET application_name")


def first_mark(tenants: TenantProject) -> str:
    ((mark,),) = tenants.sql(
        "SELECT mark FROM ben.safemigrations_release WHERE NOT migrations -> 'shop' ? '0002_changed'"
    )
    return str(mark)


def killed_after_it_had_dropped_its_table(tenants: TenantProject) -> None:
    """What would be dropped again is one of the public schema, by its name."""
    tenants.sql("DROP TABLE ben.pages_note")
    tenants.sql("UPDATE ben.safemigrations_contract SET status = 'running', attempts = 1 WHERE label ~ 'drop table'")


def with_fields(kind: str, *more: str) -> str:
    fields = [f"    number = models.{kind}Field(null=True)\n", *more]
    return CLIENTS.replace("    auto_drop", "".join(fields) + "    auto_drop")


def test_a_trigger_of_the_public_schema_is_no_matter_of_a_tenant(tmp_path, dsn):
    """Even where the tenant's run comes to a later migration of that table: the queue of public knows the trigger."""
    tenants = TenantProject(tmp_path, dsn)
    tenants.write_models("clients", with_fields("Integer"))
    tenants.start_with("anna")
    for models in (with_fields("BigInteger"), with_fields("BigInteger", EXTRA)):
        tenants.write_models("clients", models)
        tenants.manage("makemigrations").check()
    tenants.manage("migrate_schemas").check()
    assert tenants.left("public") == 1


@of_the_matrix
def test_one_schema_after_the_other(tenants):
    tenants.manage("check").check()
    tenants.sql("INSERT INTO public.pages_note (text) VALUES ('of all')")
    tenants.sql("INSERT INTO anna.pages_page (name, number) VALUES ('x', 1), ('x', 2)")
    assert tenants.manage("migrate_schemas").returncode == 1
    not_ready = tenants.manage("safemigrations", "ready")
    assert "Schema ben:\ndefault: ready" in not_ready.stdout
    assert "1 schema failed; the others are done:\n  anna: Not ready." in not_ready.stderr
    not_now = tenants.manage("migrate_schemas", "--contract", "--plan", "--schema", "anna")
    assert (not_now.returncode, "--schema anna" in not_now.stderr) == (NotNow.STATUS, True)
    each_schema_has_its_numbers(tenants)
    tenants.make(["dora"]).check()
    assert tenants.left("dora") == 0
    killed_after_it_had_dropped_its_table(tenants)
    tenants.manage("migrate", "--contract", "-v", "0", "--schema", "ben").check()
    assert left(tenants) == {"public": 3, "anna": 0, "ben": 0}
    assert tenants.sql("SELECT text FROM public.pages_note") == [("of all",)]
    tenants.sql("DELETE FROM anna.pages_page WHERE number = 2")
    tenants.manage("migrate").check()
    tenants.sql("DROP SCHEMA ben CASCADE")
    gone = tenants.manage("migrate", "--contract", "-v", "0")
    assert "1 schema failed; the others are done:\n  ben: The tenant ben has no schema" in gone.stderr
    assert left(tenants) == {"public": 0, "anna": 0, "ben": 0}


def each_schema_has_its_numbers(tenants: TenantProject) -> None:
    assert "say which one is meant" in tenants.manage("safemigrations", "contract", "postpone", "1").stderr
    tenants.manage("safemigrations", "contract", "postpone", "1", "--schema", "ben").check()
    found = map(json.loads, tenants.manage("safemigrations", "status", "--format", "json").check().lines)
    assert {one["schema"]: [row["status"] for row in one["rows"][:1]] for one in found} == {
        "public": ["pending"],
        "anna": [],
        "ben": ["postponed"],
    }
    shown = tenants.manage("tenant_command", "safemigrations", "status", "--schema", "ben").check().stdout
    assert shown.startswith("Left for the contract in database default: 5\n")
    tenants.manage("safemigrations", "contract", "resume", "1", "--schema", "ben").check()
    assert "No tenant has the schema nobody" in tenants.manage("safemigrations", "status", "--schema", "nobody").stderr


@of_the_matrix
def test_every_schema_goes_back_to_a_release(tenants):
    tenants.manage("migrate").check()
    mark = first_mark(tenants)
    assert tenants.manage("migrate", "--to-release", mark, "--plan").check().stdout.count("Would unapply") == 6
    tenants.manage("migrate", "--contract", "--schema", "anna").check()
    back = tenants.manage("migrate", "--to-release", mark)
    assert "1 schema failed; the others are done:\n  anna: The contract has run" in back.stderr
    assert left(tenants) == {"public": 0, "anna": 0, "ben": 0}
    assert "stock integer" in tenants.columns("anna", "shop_book")
    assert "stock integer" not in tenants.columns("ben", "shop_book")
    tenants.manage("safemigrations", "verify").check()


@of_the_matrix
def test_a_schema_that_is_cloned_has_the_open_contract_of_the_other(tenants):
    tenants.manage("migrate").check()
    tenants.set(TENANT_CREATION_FAKES_MIGRATIONS=True, TENANT_BASE_SCHEMA="anna")
    tenants.make(["cleo"]).check()
    assert tenants.left("cleo") == 5
    tenants.sql("INSERT INTO cleo.pages_page (name, number) VALUES ('x', 7)")
    assert tenants.sql("SELECT safemig_number_old FROM cleo.pages_page") == [(7,)]
    tenants.manage("migrate", "--contract").check()
    tenants.make(["dora"]).check()
    assert (tenants.left("cleo"), tenants.left("dora")) == (0, 0)
    tenants.manage("safemigrations", "verify").check()
    assert tenants.columns("cleo", "pages_page") == tenants.columns("dora", "pages_page")


OF_TYPES = """
from clients.models import Client

for app in ("shop", "pages"):
    Client(schema_name=f"of_{app}", type=app).save(verbosity=0)
"""


@of_the_matrix
def test_tenants_of_several_types(tmp_path, dsn):
    project = TenantProject(tmp_path, dsn)
    apps = {app: ["django.contrib.contenttypes", app] for app in ("shop", "pages")}
    types = {"public": project.settings["SHARED_APPS"], **apps}
    project.set(
        HAS_MULTI_TYPE_TENANTS=True,
        MULTI_TYPE_DATABASE_FIELD="type",
        TENANT_TYPES={name: {"APPS": installed, "URLCONF": "urls"} for name, installed in types.items()},
    )
    project.write_models("clients", f"{CLIENTS}\nClient.add_to_class('type', models.CharField(max_length=10))\n")
    project.start_with()
    project.python(OF_TYPES).check()
    project.change()
    project.manage("migrate_schemas").check()
    assert {schema: project.left(schema) for schema in ("of_shop", "of_pages")} == {"of_shop": 2, "of_pages": 3}
    project.manage("safemigrations", "ready").check()
    project.manage("migrate_schemas", "--contract").check()
    assert project.columns("of_shop", "pages_page") == set()
    project.manage("safemigrations", "verify").check()


PLAIN = """
from settings import *

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django_tenants"]
DATABASE_ROUTERS = []
DATABASES["default"]["ENGINE"] = "django.db.backends.postgresql"
"""


@of_the_matrix
def test_a_rehearsal_with_settings_that_have_one_schema(tmp_path, dsn, monkeypatch):
    project = TenantProject(tmp_path, dsn)
    project.write("plain.py", PLAIN)
    project.manage("makemigrations").check()
    who = "-c user.name=a -c user.email=a@example.com"
    subprocess.run(f"git init -q && git add . && git {who} commit -qm one", shell=True, cwd=project.folder, check=True)
    project.change()
    refused = project.manage("safemigrations", "rehearse")
    assert "A rehearsal plays in one schema, and with django-tenants" in refused.stderr
    with_plain = {**project._environment(), "DJANGO_SETTINGS_MODULE": "plain"}
    monkeypatch.setattr(project, "_environment", lambda: with_plain)
    rehearsed = project.manage("safemigrations", "rehearse", "--old", "HEAD", "--seconds", "1")
    assert "No request failed and no value was lost." in rehearsed.check().stdout


def test_a_rehearsal_is_refused_where_tenants_have_schemas(database, monkeypatch):
    monkeypatch.setattr(database, "schema_name", "public", raising=False)
    with pytest.raises(CommandError, match="A rehearsal plays in one schema"):
        call_command("safemigrations", "rehearse")


def test_an_event_says_in_which_schema_it_happened(database, monkeypatch):
    with on(database):
        assert told(RunStarted("migrate"))["schema"] == ""
    monkeypatch.setattr(database, "schema_name", "anna", raising=False)
    with on(database):
        assert told(RunStarted("migrate"))["schema"] == "anna"


LEFT = """
from django.db import migrations, models
from safemigrations.operations import Backfill


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [Backfill("book", set={"old": models.F("pages") * 2}, can_wait=True)]
"""


@of_the_matrix
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


@of_the_matrix
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


@of_the_matrix
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
