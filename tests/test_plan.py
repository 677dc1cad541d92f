"""migrate --plan and `safemigrations plan`: what they say, whom they name, and what a pipeline may fail on."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddField, CreateModel, DeleteModel, RemoveField

from safemigrations.inspecting import amounts
from safemigrations.inspecting.plan import of_sql
from safemigrations.inspecting.plan.facts import (
    Expected,
    MigrationFacts,
    OperationFacts,
    Risk,
    Source,
    StepFacts,
    Waits,
)
from safemigrations.inspecting.plan.planning import Planning
from safemigrations.inspecting.plan.risk import risk_of
from safemigrations.inspecting.plan.way import lost_on_the_way_back
from safemigrations.operations import DeleteModelLater, RemoveFieldLater
from safemigrations.plans.work import Work
from safemigrations.postgres.lock import Lock
from tests.cases import CASES, LABEL
from tests.contention import until
from tests.lock_modes import bare, locks_of
from tests.project import Project
from tests.representatives import classes_of_operations, representatives

BEFORE = """class Book(models.Model):
    title = models.TextField(null=True)
    pages = models.IntegerField(default=0)
"""
INDEXED = BEFORE.replace("default=0", "default=0, db_index=True")
WITHOUT_PAGES = "class Book(models.Model):\n    title = models.TextField(null=True)\n"
BY_HAND = """from django.db import migrations, models


def work(apps, schema_editor):
    pass


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_first")]
    operations = [{}]
"""
INDEX = 'migrations.RunSQL("CREATE INDEX by_hand ON shop_book (pages)", migrations.RunSQL.noop)'


@pytest.fixture
def shop(project: Project) -> Project:
    project.write_models("shop", BEFORE)
    project.manage("makemigrations", "--name", "first").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_book (pages) SELECT generate_series(1, 20000)")
    project.sql("VACUUM ANALYZE shop_book")
    return project


def release(project: Project, models: str, name: str) -> None:
    project.write_models("shop", models)
    project.manage("makemigrations", "--name", name).check()


def plan(project: Project, *arguments: str) -> list[dict[str, Any]]:
    said = project.manage("safemigrations", "plan", "--format", "json", *arguments).check()
    found: list[dict[str, Any]] = json.loads(said.stdout)["migrations"]
    return found


def steps(migration: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for operation in migration["operations"] for step in operation["steps"]]


def without_numbers(text: str) -> str:
    text = re.sub(r"\d[\d.,]* (kB|MB)", "N kB", text)
    return re.sub(r": [\d.]+( ms| s)?( to [\d.]+ m?s)?,", ": TIME,", text)


# What is said.


def test_each_step_stands_below_the_line_of_its_operation(shop):
    release(shop, INDEXED, "indexed")
    assert without_numbers(shop.manage("migrate", "--plan").check().stdout) == (
        "Planned operations:\n"
        "shop.0002_indexed\n"
        "    Alter field pages on book, concurrently; what could refuse a release waits for the contract\n"
        '      CREATE INDEX CONCURRENTLY "shop_book_pages_d177e4d8" ON "shop_book" ("pag…\n'
        "        builds an index of N kB (about 20,000 rows, N kB): TIME,\n"
        "          nobody waits (SHARE UPDATE EXCLUSIVE on shop_book)\n"
        "    Risk: low\n"
        "    Times: from a sample read now\n"
        "    Disk: up to N kB\n"
    )


def test_machines_get_all_of_it(shop):
    release(shop, INDEXED, "indexed")
    (found,) = plan(shop)
    (step,) = steps(found)
    low, high = step.pop("seconds")
    assert 0 < low < high
    assert step.pop("bytes") > 8192 < step.pop("built_bytes") < step.pop("disk_bytes")
    assert step == {
        "step": "BuildIndex",
        "why": "shop_book: index shop_book_pages_d177e4d8",
        "statements": ['CREATE INDEX CONCURRENTLY "shop_book_pages_d177e4d8" ON "shop_book" ("pages")'],
        "locks": {"shop_book": "SHARE UPDATE EXCLUSIVE"},
        "work": "builds an index",
        "waits": "nobody waits",
        "table": "shop_book",
        "rows": 20000,
        "seconds_from": "from a sample read now",
        "breaks": "",
        "note": "",
        "done": False,
    }
    assert (found["risk"], found["direction"], found["no_way_back"]) == ("low", "forwards", [])


def test_markdown_is_a_table(shop):
    release(shop, INDEXED, "indexed")
    lines = without_numbers(shop.manage("safemigrations", "plan", "--format", "markdown").check().stdout).splitlines()
    assert lines[:5] == [
        "### shop.0002_indexed: risk low",
        "",
        "| statement | what it comes to |",
        "|---|---|",
        (
            '| `CREATE INDEX CONCURRENTLY "shop_book_pages_d177e4d8" ON "shop_book" ("pages")` | builds an index'
            " of N kB (about 20,000 rows, N kB): TIME, nobody waits (SHARE UPDATE EXCLUSIVE on shop_book) |"
        ),
    ]


def test_the_contract_says_what_goes(shop):
    release(shop, WITHOUT_PAGES, "shorter")
    (planned,) = plan(shop)
    assert planned["left_for_the_contract"] == ["drop pages of shop_book"]
    assert re.match(r"column pages of shop_book: about 20,000 rows, \d+ kB", planned["goes_for_good"][0])
    shop.manage("migrate").check()
    (left,) = plan(shop)
    assert (left["direction"], left["risk"], left["goes_for_good"]) == ("contract", "medium", planned["goes_for_good"])
    assert [step["locks"] for step in steps(left)][-1] == {"shop_book": "ACCESS EXCLUSIVE"}


def test_the_way_back_says_what_it_loses(shop):
    release(shop, BEFORE + "    isbn = models.TextField(null=True)\n", "isbn")
    assert plan(shop)[0]["way_back_loses"] == ["what is written into book.isbn"]
    shop.manage("migrate").check()
    (back,) = plan(shop, "shop", "0001")
    assert (back["direction"], [step["statements"] for step in steps(back)]) == (
        "backwards",
        [[BaseDatabaseSchemaEditor.sql_delete_column % {"table": '"shop_book"', "column": '"isbn"'}]],
    )


@pytest.mark.parametrize(
    ("operation", "loses"),
    [
        (AddField("book", "isbn", models.TextField()), "what is written into book.isbn"),
        (CreateModel("Book", []), "the rows of Book"),
        (RemoveField("book", "isbn"), "what was in book.isbn"),
        (DeleteModel("Book"), "the rows of Book"),
        (RemoveFieldLater("book", "isbn"), "after the contract, what was in book.isbn"),
        (DeleteModelLater("Book"), "after the contract, the rows of Book"),
    ],
    ids=lambda one: "" if isinstance(one, str) else type(one).__name__,
)
def test_what_the_way_back_of_an_operation_loses(operation, loses):
    assert lost_on_the_way_back(operation) == loses


ROUTER = """
class Router:
    def allow_migrate(self, db, app_label, **hints):
        return False if app_label == "shop" else None
"""


def test_where_a_router_keeps_the_models_out_nothing_is_lost_and_nothing_is_a_risk(shop):
    release(shop, BEFORE + "    author = models.TextField(default='')\n", "more")
    python = "migrations.RunPython(work)"
    shop.write("shop/migrations/0003_hand.py", BY_HAND.format(python).replace("0001_first", "0002_more"))
    shop.write("routers.py", ROUTER)
    shop.set(DATABASE_ROUTERS=["routers.Router"])
    for found in plan(shop):
        assert (found["risk"], steps(found)) == ("none", [])
        assert (found["way_back_loses"], found["no_way_back"], found["left_for_the_contract"]) == ([], [], [])


def test_nothing_waits_in_a_database_without_anything(project):
    project.write_models("shop", BEFORE)
    project.manage("makemigrations", "--name", "first").check()
    assert project.manage("migrate", "--plan").check().lines[-1].startswith("Nothing is migrated here yet: nobody uses")
    assert plan(project) == []


def test_nothing_is_planned_where_all_is_done(shop):
    assert shop.manage("safemigrations", "plan").check().stdout == "Nothing is planned.\n"


# What isn't there yet.


def test_what_depends_on_an_earlier_migration_says_so(shop):
    shelf = "\n\nclass Shelf(models.Model):\n    name = models.TextField()\n"
    release(shop, BEFORE + shelf, "shelf")
    release(shop, BEFORE + shelf.replace("TextField()", "TextField(db_index=True)"), "shelf_name")
    made, indexed = plan(shop)
    assert (made["risk"], [step["locks"] for step in steps(made)]) == ("none", [{}])
    assert indexed["risk"] == "none"
    assert all(step["locks"] == {} for step in steps(indexed))


def test_a_run_that_was_stopped_has_done_some_of_it(shop):
    release(shop, BEFORE + "    stars = models.IntegerField(default=3)\n", "stars")
    shop.sql('ALTER TABLE "shop_book" ADD COLUMN "stars" integer NOT NULL DEFAULT 3')
    (step,) = steps(plan(shop)[0])
    assert step["done"]
    assert "        done already\n" in shop.manage("migrate", "--plan").check().stdout


# SQL and Python of people.


def test_sql_is_read_and_python_is_not_known(shop):
    update = 'migrations.RunSQL("UPDATE shop_book SET pages = 0")'
    shop.write_migration("shop", "0002_hand", BY_HAND.format(f"{INDEX}, {update}, migrations.RunPython(work)"))
    (found,) = plan(shop)
    index, filled, python = steps(found)
    assert (index["work"], index["locks"], index["waits"]) == (
        "builds an index",
        {"shop_book": "SHARE"},
        "writers wait",
    )
    assert (filled["work"], filled["locks"]) == ("writes every row", {"shop_book": "ROW EXCLUSIVE"})
    assert filled["waits"] == "writers wait"  # the transaction still holds the lock of the index
    assert (python["work"], python["note"]) == ("not known", "Python, not known")
    assert found["no_way_back"] == ["Raw SQL operation", "Raw Python operation"]


def test_what_takes_something_from_the_running_release_is_a_high_risk(shop):
    drop = 'migrations.RemoveField("book", "pages")'
    shop.write_migration("shop", "0002_hand", BY_HAND.format(drop))
    (found,) = plan(shop)
    assert (found["risk"], steps(found)[0]["breaks"]) == (
        "high",
        "takes away what the release that is still running uses in its queries",
    )


def test_without_a_grammar_the_plan_says_how_to_get_it(shop, database, monkeypatch):
    monkeypatch.setattr(of_sql, "HAS_GRAMMAR", False)
    from django.db.migrations.state import ProjectState

    from safemigrations.checking.scene import Scene

    reader = of_sql.OfSql(Planning(database).asked, Scene(ProjectState(), atomic=True), ())
    (facts,) = reader.facts("DROP TABLE shop_book")
    assert facts.note == "SQL is read only where pglast is installed: pip install 'safemigrations[lint]'"
    assert facts.work is Work.UNKNOWN


STOCK = representatives(classes_of_operations, [case for case in CASES if case.safe])


@pytest.mark.parametrize("case", STOCK, ids=repr)
def test_locks_of_stock_operations_are_those_of_pg_locks(release, database, connect):
    """All statements of a migration together, as its transaction holds them at its end."""
    trial, watch = connect(), connect()
    (planned,) = Planning(database).migrations([(LABEL, release.last)]).migrations
    said: dict[str, Lock] = {}
    with trial.transaction(force_rollback=True):
        there = {bare(table) for (table,) in watch.execute("SELECT oid::regclass::text FROM pg_class")}
        for step in planned.steps:
            for sql in step.statements:
                trial.execute(sql)
            for table, lock in step.locks.items():
                said[bare(table)] = max(lock, said.get(bare(table), lock), key=lambda one: one.strength)
        found = locks_of(watch, trial.info.backend_pid)
    taken = {table: lock for table, lock in found.items() if table in there and lock is not Lock.ACCESS_SHARE}
    assert said == taken


# Who is in the way.


def test_who_would_be_waited_for_is_named(shop, connect):
    release(shop, INDEXED, "indexed")
    reader = connect()
    reader.execute("SET application_name = 'gunicorn'")
    with reader.transaction():
        reader.execute("SELECT pg_current_xact_id()")
        reader.execute("UPDATE shop_book SET pages = 1 WHERE id = 1")
        deadline = time.monotonic() + 30  # it counts from its second second on
        while not (named := plan(shop)[0]["in_the_way"]) and time.monotonic() < deadline:
            pass
    assert len(named) == 1
    assert named[0].startswith(f"pid {reader.info.backend_pid} (gunicorn, idle in transaction for ")
    assert plan(shop)[0]["in_the_way"] == []


def test_who_reads_rows_as_they_were_is_named_where_a_type_changes(shop, connect):
    release(shop, BEFORE.replace("IntegerField", "BigIntegerField"), "bigger")
    reader = connect()
    reader.execute("SET application_name = 'report'")
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    reader.execute("SELECT count(*) FROM django_migrations")
    until(lambda: plan(shop)[0]["in_the_way"])  # it counts from its second second on
    (named,) = plan(shop)[0]["in_the_way"]
    assert named.startswith(f"pid {reader.info.backend_pid} (report, idle in transaction for ")
    reader.execute("ROLLBACK")
    assert plan(shop)[0]["in_the_way"] == []


# Times.


def test_times_come_from_earlier_steps_on_the_table(shop):
    release(shop, INDEXED, "indexed")
    shop.manage("migrate").check()
    shop.sql("UPDATE safemigrations_history_step SET seconds = 40, waited = 30 WHERE work = 'builds an index'")
    release(shop, INDEXED.replace("(null=True)", "(null=True, db_index=True)"), "title")
    found = steps(plan(shop)[0])
    assert {step["seconds_from"] for step in found} == {"from earlier steps on this table"}
    for step in found:
        low, high = step["seconds"]
        assert low < 10 < high


# Risk.

BOOK = '"shop_book"'


def migration(**values: Any) -> MigrationFacts:
    facts = {"locks": {}, "work": Work.INSTANT, **values}
    return MigrationFacts("shop.0002", "forwards", [OperationFacts("x", [StepFacts("why", ("SQL",), **facts)])])


def lasting(work: Work, lock: Lock, high: float | None) -> MigrationFacts:
    time = Expected(0.0, high, Source.SAMPLE) if high is not None else None
    return migration(work=work, locks={BOOK: lock}, time=time)


@pytest.mark.parametrize(
    ("found", "risk"),
    [
        (migration(), Risk.NONE),
        (migration(locks={BOOK: Lock.ACCESS_EXCLUSIVE}), Risk.LOW),
        (lasting(Work.READS, Lock.SHARE_UPDATE_EXCLUSIVE, 60.0), Risk.LOW),
        (lasting(Work.READS, Lock.SHARE_UPDATE_EXCLUSIVE, 61.0), Risk.MEDIUM),
        (lasting(Work.COMPUTES, Lock.ROW_EXCLUSIVE, None), Risk.MEDIUM),
        (migration(work=Work.UNKNOWN, note="Python, not known"), Risk.MEDIUM),
        (lasting(Work.BUILDS, Lock.SHARE, 1.0), Risk.LOW),
        (lasting(Work.BUILDS, Lock.SHARE, 1.1), Risk.HIGH),
        (lasting(Work.READS, Lock.ACCESS_EXCLUSIVE, None), Risk.HIGH),
        (migration(breaks="takes a column away"), Risk.HIGH),
        (migration(breaks="takes a column away", is_done=True), Risk.NONE),
    ],
)
def test_the_risk_is_that_of_the_documented_table(found, risk):
    assert risk_of(found) is risk


def test_who_waits():
    held = StepFacts("", (), {}, Work.FILLS, held={BOOK: Lock.SHARE})
    assert held.waits is Waits.WRITERS
    assert StepFacts("", (), {BOOK: Lock.SHARE}, Work.INSTANT).waits is Waits.A_MOMENT
    assert StepFacts("", (), {BOOK: Lock.ACCESS_EXCLUSIVE}, Work.REWRITES).waits is Waits.EVERYBODY


def test_a_pipeline_fails_on_a_risk(shop):
    shop.write_migration("shop", "0002_hand", BY_HAND.format("migrations.RunPython(work, work)"))
    for command in (["migrate", "--plan"], ["safemigrations", "plan"]):
        assert shop.manage(*command, "--fail-on", "high").check()
        failed = shop.manage(*command, "--fail-on", "medium")
        assert (failed.returncode, failed.stderr) == (
            1,
            "CommandError: Risk medium or above: shop.0002_hand (medium).\n",
        )


def test_a_pipeline_fails_on_what_would_be_refused(shop):
    release(shop, BEFORE.replace("default=0", "default=0, unique=True"), "unique")
    shop.sql("UPDATE shop_book SET pages = 1 WHERE pages = 2")
    failed = shop.manage("safemigrations", "plan", "--fail-on", "high")
    assert failed.returncode == 1
    assert "the plan would be refused" in failed.stderr
    assert "Would be refused: " in failed.stdout


# Numbers.


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.012, 0.3, "12 ms to 0.3 s"), (0.2, 1.5, "0.2 to 1.5 s"), (20, 130, "20 s to 2 min"), (2, 2, "2.0 s")],
)
def test_spans(low, high, text):
    assert amounts.span(low, high) == text


@pytest.mark.parametrize(("number", "text"), [(900, "900 bytes"), (98304, "96 kB"), (2.5 * 1024**3, "2.5 GB")])
def test_sizes(number, text):
    assert amounts.size(number) == text


# sqlmigrate.


def test_sqlmigrate_says_what_each_statement_locks(shop):
    stock = 'migrations.AddField("book", "isbn", models.TextField(null=True))'
    shop.write_migration("shop", "0002_hand", BY_HAND.format(f"{stock}, {INDEX}"))
    assert shop.manage("sqlmigrate", "shop", "0002").check().lines == [
        "BEGIN;",
        "--",
        "-- Add field isbn to book",
        "--",
        "--     instant, ACCESS EXCLUSIVE on shop_book for a moment",
        'ALTER TABLE "shop_book" ADD COLUMN "isbn" text NULL;',
        "--",
        "-- Raw SQL operation",
        "--",
        "--     builds an index, everybody waits (SHARE on shop_book)",
        "CREATE INDEX by_hand ON shop_book (pages);",
        "COMMIT;",
    ]


def test_sqlmigrate_says_what_each_step_locks(shop):
    release(shop, INDEXED, "indexed")
    assert shop.manage("sqlmigrate", "shop", "0002").check().lines[3:] == [
        "-- shop_book: index shop_book_pages_d177e4d8",
        "--     builds an index, SHARE UPDATE EXCLUSIVE on shop_book",
        'CREATE INDEX CONCURRENTLY "shop_book_pages_d177e4d8" ON "shop_book" ("pages");',
    ]


def test_a_backfill_says_which_triggers_fire_for_each_row(shop):
    shop.sql(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.pages = 1; RETURN NEW; END $$;"
        "CREATE TRIGGER touch BEFORE UPDATE ON shop_book FOR EACH ROW EXECUTE FUNCTION touch()"
    )
    shop.write_models("shop", BEFORE.replace("pages = ", "size = "))
    shop.manage("makemigrations", "--name", "size", input="y\n").check()
    (migration,) = plan(shop)
    steps = [step for operation in migration["operations"] for step in operation["steps"]]
    (fill,) = (step for step in steps if step["step"] == "Backfill")
    assert "your trigger touch fires for each" in fill["note"]
    text = " ".join(shop.manage("migrate", "--plan").check().stdout.split())
    assert "your trigger touch fires for each)" in text
