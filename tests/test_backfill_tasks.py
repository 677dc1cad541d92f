"""A backfill that migrate left, run by the project's own task system: real queues, real workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from safemigrations.running.backfill import progress, tasks
from safemigrations.running.backfill.progress import Status
from tests import processes
from tests.contention import seldom_until, until
from tests.project import ROOT, Project

from .test_backfill_command import FILL, backfill, unfilled

ITEM = (
    "class Item(models.Model):\n    price = models.IntegerField()\n    twin = models.IntegerField(null=True)\n"
    "    note = models.IntegerField()\n"
)
MIGRATION = """
from django.db import migrations, models
from django.db.models import F, Q
from safemigrations.operations import Backfill, RemoveFieldLater

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [Backfill("item", set={"twin": F("price")}, where=Q(twin=None), can_wait=True)]
"""
CONTRACT = MIGRATION.replace("0001_initial", "0002_fill").partition("    operations = ")[0] + (
    '    operations = [RemoveFieldLater("item", "note")]\n'
)
ROWS = 12_000


def left_by_migrate(project: Project, *apps: str, **settings: Any) -> Project:
    """A table of many pages, and so of many sections, whose backfill migrate left."""
    project.set(
        INSTALLED_APPS=["safemigrations", "shop", *apps],
        SAFEMIGRATIONS={"BACKFILL_INLINE_ROWS": 1000, "BACKFILL_BATCH_SIZE": 50},
        **settings,
    )
    project.write_models("shop", ITEM)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql("ALTER TABLE shop_item SET (fillfactor = 10)")
    project.sql(f"INSERT INTO shop_item (price, note) SELECT n, 0 FROM generate_series(1, {ROWS}) n")
    project.write_migration("shop", "0002_fill", MIGRATION)
    assert "rows, left for: python manage.py safemigrations backfill run\n" in project.manage("migrate").check().stdout
    assert filled(project) == 0
    return project


def filled(project: Project) -> int:
    return int(project.sql("SELECT count(*) FROM shop_item WHERE twin = price")[0][0])


def status(project: Project) -> str:
    return str(project.sql("SELECT status FROM safemigrations_backfill")[0][0])


WAITS = (
    "backfills that this contract needs aren't finished:\n  backfill 1, shop_item: fill twin (pending, 0%)\n"
    "Finish them with: python manage.py safemigrations backfill run. Where nobody needs them any more: "
    "python manage.py safemigrations backfill cancel 1"
)


def test_processes_fill_and_the_contract_waits_for_them(project):
    left_by_migrate(project)
    project.write_migration("shop", "0003_note", CONTRACT)
    project.manage("migrate").check()
    refused = project.manage("migrate", "--contract")
    assert refused.returncode == 75
    assert refused.stderr == (
        "NotNow: the gate holds rows back.\nshop.0003_note  drop note of shop_item\n"
        f"{indent(WAITS, '  ')}\nWhen that is over, run the same command again.\n"
    )
    said = project.manage("safemigrations", "status").check().stdout
    assert re.sub(r"pending +\d+ s", "pending N s", said).splitlines() == [
        "Left for the contract in database default: 1",
        "     1  pending N s  shop.0003_note  drop note of shop_item",
        *indent(f"not now: {WAITS}", " " * 8).splitlines(),
        "Backfills that aren't finished: 1",
        "     1  pending     0%  0 rows  shop_item: fill twin",
    ]
    assert json.loads(project.manage("safemigrations", "status", "--format", "json").stdout)["backfills"] == [
        {
            "number": 1,
            "app": "shop",
            "migration": "0002_fill",
            "label": "shop_item: fill twin",
            "status": "pending",
            "share": 0.0,
            "rows": 0,
            "last_error": "",
        }
    ]
    project.manage("safemigrations", "backfill", "run", "--workers", "2").check()
    assert filled(project) == ROWS
    project.migrate_and_contract()
    assert project.sql("SELECT 1 FROM pg_attribute WHERE attrelid = 'shop_item'::regclass AND attname = 'note'") == []


# Ctrl-C.


def slow_fill(project: Project, *args: str) -> Any:
    """A command that fills, and has begun to."""
    left_by_migrate(project)
    project.set(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 50, "BACKFILL_RATE": 50})
    project.sql("DELETE FROM django_migrations WHERE name = '0002_fill'")
    running = project.start(*args)
    seldom_until(lambda: filled(project) > 0)
    return running


@pytest.mark.parametrize("args", [("migrate",), ("safemigrations", "backfill", "run")], ids=" ".join)
def test_control_c_ends_it_with_a_line_and_the_next_run_goes_on(project, args):
    running = slow_fill(project, *args)
    assert "  running" in project.manage("safemigrations", "backfill", "status").stdout
    running.process.send_signal(signal.SIGINT)
    ended = running.wait()
    assert ended.stderr == "Interrupted: what is done stays. Run the same command again to go on.\n"
    assert ended.returncode == 130
    assert ended.stdout.endswith("\n")
    before = filled(project)
    assert 0 < before < ROWS
    assert re.fullmatch(
        r"Backfills that aren't finished: 1\n +\d+  stopped +\d+%  [\d,]+ rows  shop_item: fill twin\n"
        r" +Nobody works on it now\. To go on, run the same command again, or: python manage\.py safemigrations "
        r"backfill run\n",
        project.manage("safemigrations", "backfill", "status").check().stdout,
    )
    project.set(SAFEMIGRATIONS={})
    project.manage(*args).check()
    assert filled(project) == ROWS
    assert project.sql("SELECT status, filled FROM safemigrations_backfill") == [("done", ROWS)]


def test_one_that_was_killed_is_stopped_too(project):
    running = slow_fill(project, "migrate")
    running.kill()
    until(lambda: "  stopped" in project.manage("safemigrations", "backfill", "status").check().stdout)


def test_each_worker_does_not_say_that_it_was_interrupted(project):
    left_by_migrate(project)
    project.set(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 50, "BACKFILL_RATE": 50})
    running = project.start("safemigrations", "backfill", "run", "--workers", "3", group=True)
    seldom_until(lambda: project.sql("SELECT count(DISTINCT owner) FROM safemigrations_backfill_section") == [(3,)])
    os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does
    ended = running.wait()
    assert ended.stderr == "Interrupted: what is done stays. Run the same command again to go on.\n"
    assert ended.returncode == 130


# django.tasks.

QUEUE = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
HOW_FAR = "How far the backfills are: python manage.py safemigrations backfill status\n"
IMMEDIATELY = "django.tasks" if find_spec("django.tasks") else "django_tasks"


def test_the_queue_of_django_tasks(project):
    pytest.importorskip("django_tasks_db")
    left_by_migrate(project, "django_tasks_db", TASKS=QUEUE)
    said = project.manage("safemigrations", "backfill", "run", "--tasks", "django", "--workers", "2").check().stdout
    assert said == f"2 tasks are in the queue. {HOW_FAR}"
    assert project.sql("SELECT count(*) FROM django_tasks_database_dbtaskresult") == [(2,)]
    assert filled(project) == 0
    workers = [project.start("db_worker", "--batch", "--no-startup-delay") for _ in range(2)]
    for worker in workers:
        worker.wait().check()
    assert filled(project) == ROWS
    assert status(project) == "done"
    assert project.sql("SELECT DISTINCT status FROM django_tasks_database_dbtaskresult") == [("SUCCESSFUL",)]


def test_a_paused_backfill_holds_no_worker(project):
    """The task puts itself into the queue for later, and ends."""
    pytest.importorskip("django_tasks_db")
    left_by_migrate(project, "django_tasks_db", TASKS=QUEUE)
    said = project.manage("safemigrations", "backfill", "run", "--tasks", "django").check().stdout
    assert said == f"1 task is in the queue. {HOW_FAR}"
    project.manage("safemigrations", "backfill", "pause").check()
    project.manage("db_worker", "--batch", "--no-startup-delay").check()
    tasks = project.sql("SELECT status, run_after > now() FROM django_tasks_database_dbtaskresult ORDER BY enqueued_at")
    assert [status for status, _ in tasks] == ["SUCCESSFUL", "READY"]
    assert tasks[1][1] is True
    project.manage("safemigrations", "backfill", "resume").check()
    project.sql("UPDATE django_tasks_database_dbtaskresult SET run_after = now() WHERE status = 'READY'")
    project.manage("db_worker", "--batch", "--no-startup-delay").check()
    assert filled(project) == ROWS


@pytest.fixture
def item(connect):
    session = connect()
    session.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    session.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 3000) n")
    return session


@pytest.fixture
def left(database, item):
    return progress.begin(database, FILL, app_label="shop", migration="0002_twin", status=Status.PENDING)


def test_tasks_that_are_called_at_once(left, item):
    pytest.importorskip(IMMEDIATELY)
    with override_settings(TASKS={"default": {"BACKEND": f"{IMMEDIATELY}.backends.immediate.ImmediateBackend"}}):
        backfill("run", "--tasks", "django", "--workers", "2")
    assert unfilled(item) == 0


def test_a_task_that_has_worked_for_long_enough_lets_another_go_on(left, item, monkeypatch):
    given: list[tuple[str, float]] = []
    monkeypatch.setattr(tasks, "SECONDS", 0.3)
    monkeypatch.setattr(tasks, "_tasks", lambda system: type("Given", (), {"enqueue": lambda *a: given.append(a)}))
    progress.rows(connection).update(status=Status.RUNNING, pace={"rate": 200})

    def has_begun() -> bool:
        tasks.work_for_a_while("default", "django")
        return unfilled(item) < 3000

    until(has_begun)
    assert set(given) == {("default", 0)}
    assert unfilled(item) > 0
    progress.rows(connection).update(pace={})
    while given:
        given.clear()
        tasks.work_for_a_while("default", "django")
    assert unfilled(item) == 0


def test_a_task_whose_connection_is_lost_lets_another_try_later(left, item, monkeypatch):
    given: list[tuple[str, float]] = []
    monkeypatch.setattr(tasks, "_tasks", lambda system: type("Given", (), {"enqueue": lambda *a: given.append(a)}))
    item.execute(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
    )
    item.execute("CREATE TRIGGER lose BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION lose()")
    with pytest.raises(Exception, match="terminating connection"):
        tasks.work_for_a_while("default", "django")
    assert given == [("default", tasks.SECONDS)]
    assert [row.status for row in progress.rows(connection)] == [Status.RUNNING]  # others go on
    item.execute("DROP TRIGGER lose ON item")
    tasks.work_for_a_while("default", "django")
    assert unfilled(item) == 0


# Celery.

CELERY = """
import celery
app = celery.Celery("shop")
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options=dict.fromkeys(["data_folder_in", "data_folder_out", "processed_folder"], "{queue}"),
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
)
app.autodiscover_tasks()
"""


def test_the_queue_of_celery(project, tmp_path):
    """Two workers; one of them is killed while it fills."""
    pytest.importorskip("celery")
    queue = tmp_path / "queue"
    queue.mkdir()
    left_by_migrate(project)
    project.write("shop/celery.py", CELERY.format(queue=queue))
    project.write("shop/__init__.py", "from .celery import app as celery_app\n")
    project.sql("UPDATE safemigrations_backfill SET pace = '{\"rate\": 50}'")  # minutes for one alone
    enqueued = project.manage("safemigrations", "backfill", "run", "--tasks", "celery", "--workers", "2")
    assert enqueued.returncode == 0, enqueued.stderr
    assert len(list(Path(queue).iterdir())) == 2
    assert filled(project) == 0
    workers: list[subprocess.Popen[str]] = []
    for name in ("first", "second"):
        workers.append(worker_of(project, name))
        seldom_until(lambda: at_work(project, workers))
    os.killpg(workers[0].pid, signal.SIGKILL)
    project.sql("UPDATE safemigrations_backfill SET pace = '{}'")
    seldom_until(lambda: status(project) == "done")
    assert filled(project) == ROWS


def at_work(project: Project, workers: list[subprocess.Popen[str]]) -> bool:
    """Has each of them a section?"""
    ended = [worker.communicate()[0] for worker in workers if worker.poll() is not None]
    assert ended == []
    return project.sql("SELECT count(DISTINCT worker) FROM safemigrations_backfill_section") == [(len(workers),)]


def worker_of(project: Project, name: str) -> subprocess.Popen[str]:
    """A worker that says nothing to the others: on its first message, one of two could read a file half written."""
    command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "1", "-n", name, "-l", "WARNING"]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{project.folder}:{ROOT}"}
    return processes.start(
        [*command, *alone],
        cwd=project.folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
