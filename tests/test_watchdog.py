"""Nobody waits for a migration for longer than MAX_WAIT, whatever it does while it holds a lock."""

from __future__ import annotations

import re

import pytest
from django.db import transaction

from safemigrations.errors import KeptOthersWaiting
from safemigrations.running.locking.watchdog import Watchdog
from tests.contention import Worker, is_waiting_for_a_lock, traffic, until
from tests.test_executor import APPLIED, INITIAL, MODELS, columns, write

READ = "SELECT count(*) FROM item WHERE id < 5"
SLEEPS = """
import time


def sleep(apps, schema_editor):
    time.sleep(5)


def wait(apps, schema_editor):
    schema_editor.execute("SELECT pg_sleep(20)")


def check(apps, schema_editor):
    schema_editor.execute("ALTER TABLE item ADD CHECK (pg_sleep(20) IS NOT NULL)")
"""
ADD_SIZE = 'migrations.AddField("item", "size", models.IntegerField(null=True)),\n'
MESSAGE = (
    r"KeptOthersWaiting: shop\.0002_size kept \d sessions? waiting for \d\.\d s, so it was stopped, and its "
    r"transaction rolled back: pid \d+ \(traffic, \d\.\d s\)(, pid \d+ \(traffic, \d\.\d s\))?\.\n"
    r'It held AccessExclusiveLock on item, by ALTER TABLE "item" ADD COLUMN "size" integer NULL\.\n'
    r"Meanwhile {doing}\.\n"
    r"Put what takes a lock and what takes long into two migrations: fill rows with Backfill, add constraints NOT "
    r"VALID and validate them afterwards, build indexes with AddIndexConcurrently\. Where nobody uses the table, write "
    r"max_wait = None in the class Migration, with max_wait_reason\.\n"
)


@pytest.fixture
def shop(project):
    project.write_models("shop", MODELS)
    write(project, "0001_initial", INITIAL)
    project.sql(APPLIED)
    project.set(SAFEMIGRATIONS={"MAX_WAIT": 0.5})
    return project


@pytest.mark.parametrize(
    ("function", "doing"),
    [
        ("sleep", "Python was running, and no statement"),
        ("wait", r"it was sending SELECT pg_sleep\(20\)"),
        ("check", r"it was sending ALTER TABLE item ADD CHECK \(pg_sleep\(20\) IS NOT NULL\)"),
    ],
)
def test_what_keeps_requests_waiting_is_stopped_and_says_what_and_why(shop, dsn, function, doing):
    write(shop, "0002_size", f"{ADD_SIZE}migrations.RunPython({function}),", after="0001_initial", before=SLEEPS)
    with traffic(dsn, READ, READ) as queries:
        failed = shop.manage("migrate")
    assert re.fullmatch(MESSAGE.replace("{doing}", doing), failed.stderr), failed.stderr
    assert failed.returncode == 1
    assert 0.5 <= queries.worst < 4.5
    assert "size" not in columns(shop)


def test_it_says_nothing_where_nobody_waits(shop):
    quick = SLEEPS.replace("sleep(5)", "sleep(1)")
    write(shop, "0002_size", f"{ADD_SIZE}migrations.RunPython(sleep),", after="0001_initial", before=quick)
    assert shop.manage("migrate").check().stderr == ""
    assert "size" in columns(shop)


def test_a_migration_may_keep_everybody_waiting_for_a_reason(shop, dsn):
    quick = SLEEPS.replace("sleep(5)", "sleep(1)") + "\n\nREASON = 'the site is down meanwhile'\n"
    write(shop, "0002_size", f"{ADD_SIZE}migrations.RunPython(sleep),", after="0001_initial", before=quick)
    file = shop.folder / "shop/migrations/0002_size.py"
    switched_off = file.read_text().replace("    atomic = True", "    atomic = True\n    max_wait = None")
    file.write_text(switched_off)
    assert shop.manage("migrate").stderr == (
        "StepFailed: shop.0002_size: max_wait = None lets requests wait for as long as it takes. Write the reason "
        'beside it: max_wait_reason = "nobody uses this table at night".\n'
    )
    file.write_text(switched_off.replace("max_wait = None", "max_wait = None\n    max_wait_reason = REASON"))
    with traffic(dsn, READ):
        shop.manage("migrate").check()
    assert "size" in columns(shop)


def test_a_row_that_is_kept_counts_too(database, dsn, connect):
    session = connect()
    session.execute("CREATE TABLE item AS SELECT 1 AS id, 0 AS price")
    other = connect()

    def keep():
        with Watchdog(database, 0.3, "shop.0002"), transaction.atomic(), database.cursor() as cursor:
            cursor.execute("UPDATE item SET price = 1")
            waiting = Worker(lambda: other.execute("UPDATE item SET price = price + 2"))
            cursor.execute("SELECT pg_sleep(20)")
            waiting.result()

    with pytest.raises(KeptOthersWaiting, match="They wait for rows that its transaction has written"):
        keep()
    until(lambda: session.execute("SELECT price FROM item").fetchone() == (2,))


def test_who_waits_for_somebody_else_is_no_reason(database, connect, other_connection):
    session, watching = connect(), connect()
    session.execute("CREATE TABLE item (id int)")
    other_connection.execute("BEGIN")
    other_connection.execute("LOCK TABLE item")
    waiting = Worker(lambda: session.execute("SELECT FROM item"))
    until(lambda: is_waiting_for_a_lock(watching, session.info.backend_pid))
    with Watchdog(database, 0.2, "shop.0002"), transaction.atomic(), database.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.8)")
    other_connection.execute("ROLLBACK")
    waiting.result()
