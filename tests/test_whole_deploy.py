"""A whole deploy, as those hear it who are at no terminal: signals, logs and JSON tell the same, and no secret."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator

from .admin_site import ask, with_admin, with_users
from .event_pages import SCHEMA
from .project import Project, Result
from .test_backfill_tasks import CONTRACT, ITEM, MIGRATION
from .test_events import SIGNALS

SECRET = "hunter2"
LISTENING = """
import json
from pathlib import Path
from django.dispatch import Signal
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from safemigrations import signals

class IntoFile(SpanExporter):
    def export(self, spans):
        with Path("spans.jsonl").open("a") as file:
            file.writelines(span.to_json() for span in spans)
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(IntoFile()))
trace.set_tracer_provider(provider)

def hear(sender, signal, **data):
    with Path("heard.jsonl").open("a") as file:
        file.write(json.dumps(data) + "\\n")

for signal in vars(signals).values():
    if isinstance(signal, Signal):
        signal.connect(hear)
"""
LOGGING = {
    "version": 1,
    "formatters": {"all": {"()": "formatter.Everything"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "all.log", "formatter": "all"}},
    "loggers": {"safemigrations": {"handlers": ["file"], "level": "DEBUG"}},
}
FORMATTER = """
import logging

class Everything(logging.Formatter):
    def format(self, record):
        return f"{record.levelname} {record.name} {record.getMessage()} {vars(record)}"
"""
FAILING = MIGRATION.replace("0001_initial", "0003_note").partition("    operations = ")[0] + (
    '    operations = [Backfill("item", set={"price": None}, where=Q(price__gt=0))]\n'
)
SETTINGS = {"BACKFILL_INLINE_ROWS": 1000, "BACKFILL_BATCH_SIZE": 50, "BACKFILL_RATE": 1500}
ROWS = 3000


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with Django's admin that writes down every signal and every record, and has 3,000 rows."""
    with_admin(project)
    project.set(SAFEMIGRATIONS=SETTINGS, LOGGING=LOGGING)
    project.write("formatter.py", FORMATTER)
    project.write_models("shop", LISTENING + ITEM)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    with_users(project)
    project.sql(f"INSERT INTO shop_item (price, note) SELECT n, 0 FROM generate_series(1, {ROWS}) n; ANALYZE")
    (project.folder / "heard.jsonl").unlink()
    return project


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def names(found: list[dict[str, Any]]) -> list[str]:
    """Of what comes again and again, once. How often it does, and what a step meets, depends on the moment."""
    return [name for name, _ in groupby(one["event"] for one in found if one["event"] != "step_progress")]


def heard(project: Project) -> list[dict[str, Any]]:
    """What receivers were given since the last look."""
    file = project.folder / "heard.jsonl"
    found = lines(file.read_text())
    file.unlink()
    return found


def behind_a_reader(project: Project, *command: str) -> tuple[Result, int]:
    """Run a command while a session that has read holds its transaction open, until the command waits for it."""
    with psycopg.connect(project.dsn) as reader:
        reader.execute(f"SELECT '{SECRET}' FROM shop_item")
        running = project.start(*command)
        running.read_until("step_waiting")
        reader.rollback()
        return running.wait(), reader.info.backend_pid


MIGRATED = [
    "run_started",
    "migration_expanding",  # 0002_fill
    "step_started",
    "step_done",  # left for `backfill run`
    "migration_expanded",
    "migration_expanding",  # 0003_note
    "step_started",  # a proof
    "step_done",
    "step_started",
    "step_waiting",
    "step_done",
    "contract_left",
    "migration_expanded",
    "run_ended",
]
STEP = ["step_started", "step_done"]
RECORDED = ["contract_left", "migration_expanded", "run_ended"]
AGAIN = ["run_started", "migration_expanding", *STEP, "step_skipped", *RECORDED]
FILLED = [
    "run_started",
    "step_started",
    "backfill_started",
    "backfill_waiting",
    "backfill_progress",
    "backfill_done",
    "step_done",
    "run_ended",
]
REFUSED = ["run_started", "contract_refused", "run_ended"]
USED = ["run_started", "contract_started", *STEP, "step_started", "step_failed", "contract_failed", "run_ended"]
CONTRACTED = ["run_started", "contract_started", *STEP, *STEP, "contract_done", "run_ended"]
FAILED = ["run_started", "migration_expanding", "step_started", "backfill_started", "backfill_rejected", "step_failed"]


def test_everybody_hears_the_same_of_a_whole_deploy(shop):
    told: list[dict[str, Any]] = []

    def run(*command: str, status: int = 0) -> list[dict[str, Any]]:
        result = shop.manage(*command, "--format", "json")
        assert result.returncode == status, result.stdout + result.stderr
        found = lines(result.stdout)
        told.extend(found)
        assert names(heard(shop)) == names(found)
        return found

    # Expand, behind a reader.
    (mark,) = (name for (name,) in shop.sql("SELECT mark FROM safemigrations_release"))
    shop.write_migration("shop", "0002_fill", MIGRATION)
    shop.write_migration("shop", "0003_note", CONTRACT)
    result, pid = behind_a_reader(shop, "migrate", "--format", "json")
    told += (found := lines(result.check().stdout))
    assert names(found) == names(heard(shop)) == MIGRATED
    waiting = next(one for one in found if one["event"] == "step_waiting")
    assert (waiting["migration"], waiting["direction"], waiting["table"]) == ("shop.0003_note", "forwards", "shop_item")
    assert [(one["pid"], one["query"]) for one in waiting["blockers"]] == [(pid, "SELECT ? FROM shop_item")]
    assert len({one["run"] for one in found}) == 1

    # The same again, as after a kill before Django wrote that down.
    shop.sql("DELETE FROM django_migrations WHERE name = '0003_note'")
    assert names(run("migrate")) == AGAIN

    # The contract, before the backfill; the backfill, which somebody has paused.
    assert names(run("migrate", "--contract", status=75)) == REFUSED
    shop.manage("safemigrations", "backfill", "pause").check()
    filling = shop.start("safemigrations", "backfill", "run", "--format", "json")
    filling.read_until("backfill_waiting")
    shop.manage("safemigrations", "backfill", "resume").check()
    told += (found := lines(filling.wait().check().stdout))
    assert names(found) == FILLED
    decided = [one for one in heard(shop) if one["event"] == "backfill_changed"]
    assert [one["action"] for one in decided] == ["pause", "resume"]

    # The contract, while the old release is there.
    with psycopg.connect(shop.dsn, application_name=f"gunicorn safemig:{mark}") as old:
        refused = run("migrate", "--contract", status=75)
        assert names(refused) == REFUSED
        ((session,),) = (one["sessions"] for one in refused if one["event"] == "contract_refused")
        assert (session["pid"], session["application"]) == (old.info.backend_pid, "gunicorn")
        assert refused[-1]["outcome"] == "not_now"

    # What people decide, at a terminal and on a page.
    row = str(refused[1]["row"])
    shop.manage("safemigrations", "contract", "postpone", row, "--reason", "sale").check()
    assert ask(shop, "root", f"contractrow/{row}/act/resume/", {"reason": "over"}).status == 302
    shop.manage("safemigrations", "contract", "skip", row, "--reason", "never").check()
    shop.manage("safemigrations", "contract", "resume", row, "--reason", "after all").check()
    shop.sql("UPDATE safemigrations_contract SET migration = '0003_gone'")
    shop.manage("safemigrations", "contract", "adopt", row, "--as", "shop.0003_note", "--reason", "squashed").check()
    shop.manage("safemigrations", "contract", "trust", row, "--reason", "read").check()
    decided += (about_the_row := heard(shop))
    assert [(one["event"], one["reason"], one["user"], one["migration"]) for one in about_the_row] == [
        ("contract_postponed", "sale", "", "shop.0003_note"),
        ("contract_resumed", "over", "root", "shop.0003_note"),
        ("contract_skipped", "never", "", "shop.0003_note"),
        ("contract_resumed", "after all", "", "shop.0003_note"),
        ("contract_adopted", "squashed", "", "shop.0003_note"),
        ("contract_trusted", "read", "", "shop.0003_note"),
    ]
    assert about_the_row[-2]["before"] == "shop.0003_gone"

    # The contract, which a view holds up; the contract; and a migration that fails.
    shop.sql("CREATE VIEW used AS SELECT note FROM shop_item")
    assert names(run("migrate", "--contract", status=1)) == USED
    shop.sql("DROP VIEW used")
    assert names(run("migrate", "--contract")) == CONTRACTED
    shop.sql("DELETE FROM shop_item WHERE id > 3")
    shop.write_migration("shop", "0004_wrong", FAILING)
    failed = run("migrate", status=1)
    assert names(failed) == [*FAILED, "migration_failed", "run_ended"]
    assert failed[-1]["outcome"] == "failed"

    # What is there now.
    told += lines(shop.manage("safemigrations", "backfill", "status", "--all", "--format", "json").check().stdout)
    for shown in ((), ("--all",)):
        told += lines(shop.manage("safemigrations", "status", "--format", "json", *shown).check().stdout)
    assert [one["event"] for one in told[-3:]] == ["backfill_status", "status", "status"]
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for one in told + decided for error in validator.iter_errors(one)] == []
    assert everything(shop).count(SECRET) == 0
    assert {one["event"] for one in told + decided} == {*SIGNALS, "status", "backfill_status"}


def everything(project: Project) -> str:
    """What listeners have written down."""
    files = [project.folder / name for name in ("all.log", "heard.jsonl", "spans.jsonl")]
    return "".join(file.read_text() for file in files if file.exists())


LOOKS = [
    "safemigrations status",
    "safemigrations status --all --format json",
    "safemigrations history",
    "safemigrations history --format json",
    "safemigrations plan",
    "safemigrations plan --format json",
    "safemigrations plan --format markdown",
    "safemigrations preflight --contract",
    "safemigrations backfill status --all --format json",
    "migrate --plan",
    "migrate --contract --plan",
]
LOOK = f"""
from django.core.management import call_command
from safemigrations.console.metrics import scraped
for command in {LOOKS}:
    print(command)
    call_command(*command.split())
print(scraped().decode())
"""
PAGES = [
    "contractrow/",
    "contractrow/1/change/",
    "backfill/?shown=all",
    "backfill/1/change/",
    "knownrelease/",
    "pastrun/",
    "decision/",
]
GIVES_UP = {**SETTINGS, "LOCK_RETRY_FOR": 0.5}
AT_INFO = {**LOGGING, "loggers": {"safemigrations": {"handlers": ["file"], "level": "INFO"}}}


def test_what_others_type_appears_nowhere(shop):
    """A run that waits, and one that gives up, behind a session whose statement holds a secret: on every output."""
    shop.write_migration("shop", "0002_fill", MIGRATION)
    shop.write_migration("shop", "0003_note", CONTRACT)
    shop.set(LOGGING=AT_INFO)
    (shop.folder / "all.log").unlink()
    result, _ = behind_a_reader(shop, "migrate", "--format", "json")
    outputs = [result.check().stdout, result.stderr, logged := (shop.folder / "all.log").read_text()]
    assert "WARNING safemigrations.step shop.0003_note: shop_item: note may be null: waiting for pid" in logged
    assert "SELECT ?" not in logged

    # The worker processes of a backfill have listeners, too; one of them ends it.
    heard(shop)
    shop.manage("safemigrations", "backfill", "run", "--workers", "2").check()
    found = heard(shop)
    parents = {one["run"]: one["parent"] for one in found}
    (run,) = (run for run, parent in parents.items() if not parent)
    assert sorted(parents.values()) == ["", run]
    assert [one["filled"] for one in found if one["event"] == "backfill_done"] == [ROWS]

    shop.set(SAFEMIGRATIONS=GIVES_UP, LOGGING=LOGGING)
    with psycopg.connect(shop.dsn) as reader:
        reader.execute(f"SELECT '{SECRET}' FROM shop_item")
        for shown in ("--format=text", "--format=json", "--verbosity=3"):
            result = shop.manage("migrate", "--contract", shown)
            assert result.returncode == 1
            outputs += [result.stdout, result.stderr]
        outputs.append(looked := shop.manage("shell", "-c", LOOK).check().stdout)
        outputs += [ask(shop, "root", page).plain for page in PAGES]
    assert [what for what in (*LOOKS, "SELECT ? FROM shop_item", "safemigrations_up") if what not in looked] == []
    ((kept,),) = shop.sql("SELECT last_error FROM safemigrations_contract")
    outputs += [kept, everything(shop)]
    assert "SELECT ? FROM shop_item" in kept
    assert "DEBUG safemigrations.step pid" in outputs[-1]
    assert "SELECT ? FROM shop_item" in outputs[-1]
    assert '"name": "migrate --contract"' in outputs[-1]  # a span
    assert [output for output in outputs if SECRET in output] == []
