"""`safemigrations backfill`: what was left is run by processes and tasks, and steered while it runs."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from safemigrations.contracts import carrying_out, queue
from safemigrations.errors import StepFailed
from safemigrations.plans.steps import Backfill, Statement
from safemigrations.postgres.lock import Lock
from safemigrations.running.backfill import progress
from safemigrations.running.backfill.pace import Pace, seconds_until_window
from safemigrations.running.backfill.progress import Status
from safemigrations.running.run import Report

from .contention import Migrating, until

FILL = Backfill(
    why="item: fill twin",
    table='"item"',
    key=('"id"',),
    guard='"twin" IS NULL',
    assign='"twin" = "price"',
    can_wait=True,
)


@pytest.fixture
def item(connect):
    session = connect()
    session.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    session.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 30000) n")
    return session


@pytest.fixture
def left(database, item):
    """A backfill that migrate left."""
    return progress.begin(database, FILL, app_label="shop", migration="0002_twin", status=Status.PENDING)


def unfilled(session: Any) -> int:
    return int(session.execute("SELECT count(*) FROM item WHERE twin IS DISTINCT FROM price").fetchone()[0])


def backfill(*arguments: str) -> str:
    out = io.StringIO()
    call_command("safemigrations", "backfill", *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_processes_run_what_was_left(left, item, workers):
    backfill("run", "--workers", workers)
    assert unfilled(item) == 0
    assert backfill("status") == "Backfills that aren't finished: 0\n"
    assert backfill("status", "--all").startswith(
        f"Backfills: 1\n  {left.pk:>4}  done      100%  30,000 rows  item: fill twin\n"
    )


def test_one_that_is_running_is_helped(left, item):
    progress.rows(connection).update(status=Status.RUNNING, pace={"rate": 500})
    other = Migrating(lambda _: backfill("run"))
    until(lambda: unfilled(item) < 30000)
    assert unfilled(item) > 0
    progress.rows(connection).update(pace={})
    backfill("run")
    other.result()
    assert unfilled(item) == 0
    assert [row.filled for row in progress.rows(connection)] == [30000]


def test_it_is_steered_while_it_runs(left, item):
    assert backfill("pause") == "Paused: item: fill twin\n"
    worker = Migrating(lambda _: backfill("run"))
    assert backfill("pace", str(left.pk), "--rate", "100000", "--rest", "0") == "Changed the pace: item: fill twin\n"
    assert unfilled(item) == 30000
    assert backfill("resume") == "Resumed: item: fill twin\n"
    worker.result()
    assert unfilled(item) == 0


def test_what_was_cancelled_is_not_run(left, item):
    assert backfill("cancel") == "Cancelled: item: fill twin\n"
    backfill("run")
    assert unfilled(item) == 30000


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "pace"])
def test_there_may_be_nothing_to_do_it_to(database, action):
    with pytest.raises(CommandError, match=f"^There is no backfill to {action} here. Look with: python manage.py"):
        backfill(action)


def test_the_contract_refuses_before_it_is_finished(left, item):
    later = Statement(why="item: drop price", sql="SELECT 1", locks={'"item"': Lock.ACCESS_EXCLUSIVE})
    queue.put(connection, app_label="shop", migration="0003", operation="x", label="drop price", plan=(later,))
    with pytest.raises(StepFailed) as caught:
        carrying_out.contract(connection, Report())
    assert str(caught.value) == (
        "Backfills that this contract needs aren't finished: item: fill twin. Nothing was changed. "
        "Finish them with: python manage.py safemigrations backfill run. Where nobody needs them any more: "
        "python manage.py safemigrations backfill cancel 1"
    )
    backfill("run")
    assert carrying_out.contract(connection, Report()) == 1


def test_a_backfill_of_a_column_that_has_gone_waits_for_a_person(left, item):
    """Somebody may have given the column another name, and what it is filled from goes with the contract."""
    later = Statement(why="item: drop price", sql="SELECT 1", locks={'"item"': Lock.ACCESS_EXCLUSIVE})
    queue.put(connection, app_label="shop", migration="0003", operation="x", label="drop price", plan=(later,))
    item.execute("ALTER TABLE item DROP COLUMN twin")
    with pytest.raises(StepFailed, match="Where nobody needs them any more: "):
        carrying_out.contract(connection, Report())
    backfill("cancel", "1")
    assert carrying_out.contract(connection, Report()) == 1


# Tasks.


def test_celery_tasks_fill(left, item):
    celery = pytest.importorskip("celery")
    app = celery.Celery("shop", broker="memory://", set_as_current=True)
    app.conf.task_always_eager = True
    backfill("run", "--tasks", "celery", "--workers", "2")
    assert unfilled(item) == 0


def test_django_tasks_fill(left, item):
    pytest.importorskip("django.tasks", exc_type=ImportError)
    with override_settings(TASKS={"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}):
        backfill("run", "--tasks", "django")
    assert unfilled(item) == 0


# Pace.


@pytest.mark.parametrize(
    ("window", "at", "hours"),
    [
        (None, 12, 0),
        (("22:00", "06:00"), 23, 0),
        (("22:00", "06:00"), 5, 0),
        (("22:00", "06:00"), 6, 16),
        (("01:00", "02:00"), 1, 0),
        (("01:00", "02:00"), 3, 22),
    ],
)
def test_the_window(window, at, hours):
    with override_settings(SAFEMIGRATIONS={"BACKFILL_WINDOW": window}):
        assert seconds_until_window(datetime.datetime(2026, 1, 1, at, tzinfo=datetime.UTC)) == hours * 3600


def test_a_batch_grows_by_a_fifth_at_most_and_shrinks_smoothly():
    pace = Pace(1000)
    pace.took(0.001, 1000)
    assert pace.size == 1200
    pace.took(0.2, 1200)
    assert pace.size == pytest.approx(1200 + 0.4 * (600 - 1200))
    pace.halve()
    assert pace.size == pytest.approx(480)


def test_the_rest_is_in_proportion_and_keeps_the_rate():
    pace = Pace(1000)
    assert pace.rest_after(0.1, 1000, share=0.25) == pytest.approx(0.025)
    pace.given = {"rate": 1000}
    assert pace.rest_after(0.1, 1000, share=0.25) == pytest.approx(0.9)
