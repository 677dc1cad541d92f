"""Events: one vocabulary, which signals, logs and reports share."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from safemigrations import signals
from safemigrations.contracts import carrying_out, deciding, queue
from safemigrations.contracts.steering import steer
from safemigrations.contracts.table import Contract
from safemigrations.errors import StepFailed
from safemigrations.plans.steps import Statement, Step
from safemigrations.postgres.lock import Lock
from safemigrations.running.backfill import progress, tasks
from safemigrations.running.backfill.progress import Status
from safemigrations.running.events import vocabulary
from safemigrations.running.events.event import Event
from safemigrations.running.events.listeners import tell
from safemigrations.running.locking.blockers import Blocker
from safemigrations.running.run import Report
from safemigrations.running.runner import Runner

from .contention import Migrating, until
from .test_backfill_command import FILL

BASES = {"Event", "OfStep", "OfRow", "OfBackfill", "Decided"}
EVENTS = [one for one in vars(vocabulary).values() if inspect.isclass(one) and issubclass(one, Event)]
EVENTS = [one for one in EVENTS if one.__name__ not in BASES]
SIGNALS = {name: one for name, one in vars(signals).items() if isinstance(one, Signal)}
RECORD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


@contextmanager
def heard(*names: str) -> Iterator[list[dict[str, Any]]]:
    """What receivers are given, in order."""
    found: list[dict[str, Any]] = []

    def hear(sender: Any, signal: Any, **data: Any) -> None:
        found.append(data)

    with ExitStack() as stack:
        for name in names or SIGNALS:
            SIGNALS[name].connect(hear)
            stack.callback(SIGNALS[name].disconnect, hear)
        yield found


def names(found: list[dict[str, Any]]) -> list[str]:
    return [data["event"] for data in found]


def test_each_event_has_a_signal_of_its_name():
    assert sorted(event.name() for event in EVENTS) == sorted(SIGNALS)


def test_each_event_says_when_it_happens():
    assert [event for event in EVENTS if not event.__doc__ or event.__doc__.startswith(f"{event.__name__}(")] == []


def test_no_argument_has_a_name_that_a_record_of_a_log_or_a_signal_needs():
    arguments = {name for event in EVENTS for name in event.carries()}
    assert arguments & (RECORD | {"sender", "signal", "event", "at"}) == set()


FINE = Statement("SELECT 1", {}, why="item: fine")
WRONG = Statement("SELECT 1 / 0", {}, why="item: wrong")


def test_a_step_tells_what_happens_to_it(database):
    with heard() as found:
        Runner(database, Report()).run((FINE,))
        with pytest.raises(StepFailed, match="division by zero"):
            Runner(database, Report()).run((WRONG,))
    assert names(found) == ["step_started", "step_done", "step_started", "step_failed"]
    assert found[1]["label"] == "item: fine"
    assert found[3]["error"].startswith("item: wrong failed: division by zero\nStatement: SELECT 1 / 0\n")


def test_a_receiver_that_raises_breaks_nothing_and_is_logged(database, caplog):
    def fails(**data: Any) -> None:
        raise ValueError("a receiver's own fault")

    signals.step_done.connect(fails)
    try:
        with heard("step_done") as found:
            Runner(database, Report()).run((FINE, FINE))
    finally:
        signals.step_done.disconnect(fails)
    assert len(found) == 2
    assert "a receiver's own fault" in caplog.text


def test_a_receiver_whose_query_fails_leaves_the_transaction_as_it_was(database):
    def queries(**data: Any) -> None:
        with database.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    signals.step_done.connect(queries)
    try:
        with transaction.atomic(using=database.alias):
            Runner(database, Report()).run((FINE, FINE))
            with database.cursor() as cursor:
                cursor.execute("SELECT 1")
    finally:
        signals.step_done.disconnect(queries)


def behind_a_reader(database: Any, connect: Any, told: Callable[[], Any]) -> int:
    """Run a step that waits for a session whose statement holds a value; the pid of that session."""
    holder = connect()
    holder.execute("CREATE TABLE waited_for (id int)")
    holder.autocommit = False
    holder.execute("SELECT * FROM waited_for WHERE id = 4711")
    lock = Statement("ALTER TABLE waited_for ADD note text", {"waited_for": Lock.ACCESS_EXCLUSIVE}, why="item: note")
    migrating = Migrating(lambda other: Runner(other, Report()).run((lock,)))
    until(told)
    holder.rollback()
    migrating.result()
    return int(holder.info.backend_pid)


def test_a_step_that_fails_in_a_transaction_is_told(database):
    with heard("step_failed") as found, pytest.raises(StepFailed), transaction.atomic(using=database.alias):
        Runner(database, Report()).run((WRONG,))
    assert [data["label"] for data in found] == ["item: wrong"]


def test_a_wait_names_who_holds_the_lock(database, connect):
    with heard("step_waiting") as found:
        pid = behind_a_reader(database, connect, lambda: found)
    (blocker,) = found[0]["blockers"]
    assert (blocker["pid"], blocker["state"]) == (pid, "idle in transaction")
    assert blocker["query"] == "SELECT * FROM waited_for WHERE id = ?"


def left(database: Any, step: Step = FINE) -> Contract:
    names = {"app_label": "shop", "migration": "0002_note", "operation": "RemoveField note"}
    queue.put(database, **names, label="shop_item: drop note", plan=(step,))
    return queue.rows(database).get()


def test_a_row_tells_that_it_is_left_and_runs(database):
    with heard() as found:
        row = left(database)
        carrying_out.contract(database, Report())
    assert names(found) == ["contract_left", "contract_started", "step_started", "step_done", "contract_done"]
    assert {(data["migration"], data["row"]) for data in found} == {("shop.0002_note", row.pk)}
    assert {data["direction"] for data in found[1:]} == {"contract"}


def test_what_people_decide_is_told_when_it_is_kept(database):
    row = left(database)
    with heard() as found:
        deciding.postpone(database, [row.pk], until=None, reason="sale", user="eve")
        with transaction.atomic(using=database.alias):
            deciding.skip(database, [row.pk], reason="never")
            transaction.set_rollback(True, using=database.alias)
        deciding.resume(database, [row.pk], reason="over")
    assert [(data["event"], data["reason"], data["user"]) for data in found] == [
        ("contract_postponed", "sale", "eve"),
        ("contract_resumed", "over", ""),
    ]


def test_logs_hold_statements_of_others_at_debug_alone(caplog):
    event = vocabulary.StepWaiting(FINE, [BLOCKER], 1.5)
    caplog.set_level(logging.INFO, "safemigrations")
    tell(event)
    (record,) = caplog.records
    assert record.getMessage() == "item: fine: waiting for pid 12 (psql, active for 3 s)"
    assert (record.name, record.levelname, record.seconds) == ("safemigrations.step", "WARNING", 1.5)
    assert record.blockers == [{"pid": 12, "application": "psql", "backend": "b", "state": "active", "seconds": 3.0}]
    caplog.clear()
    caplog.set_level(logging.DEBUG, "safemigrations")
    tell(event)
    assert caplog.messages[1:] == ["pid 12: SELECT ?"]


BLOCKER = Blocker(12, "psql", "b", "active", 3.0, "SELECT 'secret'")


def test_to_tell_an_event_asks_the_database_nothing(database):
    with CaptureQueriesContext(database) as queries, heard() as found:
        tell(vocabulary.RunStarted("migrate"))
    assert (found[0]["command"], len(queries)) == ("migrate", 0)


def test_a_task_is_a_run(database):
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
        cursor.execute("INSERT INTO item SELECT n, n FROM generate_series(1, 100) n")
    known = progress.begin(database, FILL, app_label="", migration="", status=Status.PENDING)
    with heard() as found:
        tasks.work_for_a_while("default", "celery")
    happened = ["run_started", "step_started", "backfill_started", "backfill_done", "step_done", "run_ended"]
    assert [name for name in names(found) if name not in ("step_progress", "backfill_progress")] == happened
    assert {data["backfill"] for data in found[1:-1]} == {known.pk}
    assert found[0]["command"] == "task"


def test_what_people_change_about_a_backfill_is_told(database):
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    known = progress.begin(database, FILL, app_label="shop", migration="0002_fill", status=Status.PENDING)
    with heard() as found:
        steer(database, "pause", known.pk, {}, reason="sale", user="eve")
    (data,) = found
    assert (data["event"], data["action"], data["reason"], data["user"]) == ("backfill_changed", "pause", "sale", "eve")
    assert (data["backfill"], data["migration"], data["label"]) == (known.pk, "shop.0002_fill", FILL.why)
