"""What a person sees while steps run: on a terminal, in a pipe, at the end, and after Ctrl-C."""

from __future__ import annotations

import dataclasses
import io
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.core.management.base import OutputWrapper
from django.core.management.color import no_style

from safemigrations.running.events import vocabulary as happened
from safemigrations.running.locking.blockers import Blocker
from safemigrations.running.telling.last_line import Moment, drawn
from safemigrations.running.telling.report import ConsoleReport, waiting
from safemigrations.running.telling.terminal import last_line

from .contention import Worker, until
from .project import Project, Result, Running
from .terminal import COLOR, WITHOUT_RICH, Terminal, plain
from .test_backfill_command import FILL
from .test_backfill_tasks import CONTRACT, ITEM, MIGRATION
from .test_events import FINE

WAITS = r"waiting \d+ s, tries again for \d+ (?:min \d+ )?s: pid \d+ \(reader, idle in transaction"
INTERRUPTED = "Interrupted: what is done stays. Run the same command again to go on.\n"


@pytest.fixture
def shop(project: Project) -> Project:
    """A table of one row, and a migration that has a column drop to do later."""
    project.write_models("shop", ITEM)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_item (price, note) VALUES (1, 0)")
    project.write_migration("shop", "0002_note", CONTRACT.replace("0002_fill", "0001_initial"))
    return project


@contextmanager
def reader(project: Project) -> Iterator[psycopg.Connection]:
    """A session that has read, and holds its transaction open."""
    with psycopg.connect(project.dsn, application_name="reader") as session:
        session.execute("SELECT FROM shop_item")
        yield session


@pytest.fixture(params=["rich", "without rich"])
def line(request: pytest.FixtureRequest, project: Project) -> str:
    if request.param != "rich":
        project.write("rich.py", WITHOUT_RICH)
    return str(request.param)


# On a terminal.


def test_while_it_waits_one_line_says_for_whom_and_what_comes_next(shop, line):
    with reader(shop) as session:
        running = Terminal(shop, "migrate", columns=120)
        running.read_until(WAITS)
        if line == "rich":  # it moves by itself
            running.read_until(r"waiting [1-9]\d* s, tries")
        session.rollback()
        assert COLOR.search(running.wait())
    shown = plain(running.text)
    assert re.search(r"shop_item: note may be null +[\d.]+ s, of which [\d.]+ s waiting for pid", shown)
    assert re.search(r"Waited [\d.]+ s for locks: shop_item: note may be null\.", shown)
    *_, last = shown.splitlines()
    assert last == "When no server runs the old release any more: python manage.py migrate --contract"


def test_the_gate_says_that_it_looks(shop):
    shop.manage("migrate").check()
    shop.set(SAFEMIGRATIONS={"GATE_WATCH": 1})
    shown = plain(Terminal(shop, "migrate", "--contract", "--noinput").wait())
    looking, *after = shown.partition("Looking for 1 s who is connected (GATE_WATCH)")[1:]
    assert looking
    assert "Running the contract:" in "".join(after)


def test_a_terminal_shows_a_bar_that_fits(project):
    """With the rate and the time that is left; written over until the step's own line takes its place."""
    project.set(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 500, "BACKFILL_RATE": 10_000})
    project.write_models("shop", ITEM)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_item (price, note) SELECT n, 0 FROM generate_series(1, 30000) n")
    project.sql("ANALYZE shop_item")
    project.write_migration("shop", "0002_fill", MIGRATION.replace(", can_wait=True", ""))
    shown = plain(Terminal(project, "migrate").wait())
    bars = re.findall(r"\r([^\r\n]*░[^\r\n]*)", shown)
    pattern = r"  . shop_item: fill twin █+░+ \d+%, [\d,]+ rows, [\d,]+ rows/s, \d+ s left"
    assert len([bar for bar in bars if re.fullmatch(pattern, bar)]) > 1
    assert max(len(bar) for bar in bars) < 80
    assert re.search(r"\r    shop_item: fill twin +[\d.]+ s, 30,000 rows, [\d,]+ rows/s\r\n    OK", shown)


def test_in_ci_no_line_is_written_over_and_no_color_is_none(shop):
    with reader(shop) as session:
        running = Terminal(shop, "migrate", CI="true", NO_COLOR="1")
        running.read_until(
            r"\n      shop_item: waiting for pid \d+ \(reader, idle in transaction for \d+ s: SELECT FROM"
        )
        session.rollback()
        shown = running.wait()
    assert "\x1b" not in shown
    assert "\r " not in shown


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "is_there"),
    [
        (Tty, {}, True),
        (Tty, {"CI": "false"}, True),
        (Tty, {"CI": "1"}, False),
        (Tty, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ],
)
def test_a_line_is_written_over_where_that_can_be_seen(monkeypatch, stream, environment, is_there):
    for name, value in {"TERM": "xterm", "CI": "", **environment}.items():
        monkeypatch.setenv(name, value)
    assert bool(last_line(OutputWrapper(stream()), 4, colored=True)) == is_there


# The lines.


def test_elsewhere_there_is_a_line_now_and_then():
    out = io.StringIO()
    report = ConsoleReport(OutputWrapper(out), no_style())
    report.begin(FILL)
    report.meter(FILL, 0.1, "10%, 100 rows, 10 rows/s, 90 s left")
    assert out.getvalue() == ""
    report.told_meter -= 10
    report.meter(FILL, 0.2, "20%, 200 rows, 10 rows/s, 80 s left")
    report.meter(FILL, 0.3, "30%, 300 rows, 10 rows/s, 70 s left")
    assert out.getvalue() == "      item: fill twin: 20%, 200 rows, 10 rows/s, 80 s left\n"


LONG = "shop_item: foreign key shop_item_warehouse_id_3a026614_fk_shop_warehouse_id keeps its parents from now on"


@pytest.mark.parametrize(
    ("columns", "bar"),
    [
        ("120", f"    {LONG[:47]}… {'█' * 12}{'░' * 13} 50%, 15,000 rows, 8,000 rows/s, 2 s left"),
        ("80", f"    {LONG[:21]}… {'█' * 6}{'░' * 5} 50%, 15,000 rows, 8,000 rows/s, 2 s left"),
        ("60", f"    {LONG[:12]}… 50%, 15,000 rows, 8,000 rows/s, 2 s left"),
    ],
)
def test_a_bar_says_of_what_it_is(columns, bar):
    shown = str(drawn(Moment(LONG, lambda: "50%, 15,000 rows, 8,000 rows/s, 2 s left", 0.5), 4, int(columns)))
    assert shown == bar
    assert len(shown) < int(columns)


def test_a_long_label_leaves_the_times_in_their_column():
    out = io.StringIO()
    report = ConsoleReport(OutputWrapper(out), no_style())
    report.done(FILL, 1.5)
    report.done(dataclasses.replace(FILL, why=LONG), 0.25)
    assert out.getvalue() == (
        f"    {'item: fill twin':<78} 1.50 s\n"
        "    shop_item: foreign key shop_item_warehouse_id_3a026614_fk_shop_warehouse_id\n"
        f"    {'  keeps its parents from now on':<78} 0.25 s\n"
    )


def test_a_wait_that_nobody_tells_any_more_is_over(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("safemigrations.running.telling.report.time.monotonic", lambda: now)
    who = Blocker(12, "psql", "b", "active", 3.0, "SELECT 'secret'")
    say = waiting([who, who], 61.0)
    assert say() == "waiting 1 min 1 s, tries again for 8 min 59 s: pid 12 (psql, active for 3 s) and 1 more"
    now += 8
    assert say() == "1 min 9 s"


def test_the_end_says_how_much_was_done_and_how_long_it_waited():
    report = ConsoleReport(OutputWrapper(out := io.StringIO()), no_style())
    report.sum_up()
    assert out.getvalue() == ""
    who = [Blocker(12, "psql", "b", "active", 3.0, "SELECT 1")]
    other = dataclasses.replace(FINE, why="shop.0001_initial")
    for event in (
        happened.StepWaiting(other, who, 7.0),  # of RunSQL, whose end nobody tells
        happened.StepDone(FINE, 3.0, "", 2.5),
        happened.StepDone(dataclasses.replace(FINE, why="item: another"), 1.0),
        happened.MigrationExpanded(4.0),
    ):
        report.summary.hear(event)
    report.sum_up()
    assert re.fullmatch(
        r"Done in [\d.]+ s: 1 migration, 2 steps\."
        r" Waited 9\.50 s for locks, the longest 7\.00 s: shop\.0001_initial\.\n",
        out.getvalue(),
    )


# Ctrl-C.

CODE = """
from time import sleep
from django.db import migrations, models
from safemigrations.operations import AddIndexConcurrently

def rest(apps, schema_editor):
    print("it rests", flush=True)
    sleep(600)

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [%s]
"""
INDEX = 'AddIndexConcurrently("item", models.Index(fields=["price"], name="item_price"))'
IS_BUILT = """SELECT 1 FROM pg_stat_progress_create_index
    WHERE phase LIKE 'waiting for%' AND datname = current_database()"""


def interrupted(running: Running) -> Result:
    """What a command says that gets SIGINT, as by Ctrl-C."""
    running.process.send_signal(signal.SIGINT)
    return running.wait()


def ended_with_one_sentence(result: Result) -> bool:
    return (result.returncode, result.stderr) == (130, INTERRUPTED) and result.stdout.endswith("\n")


def test_control_c_in_a_wait_for_a_lock(shop):
    with reader(shop):
        running = shop.start("migrate")
        running.read_until("waiting for pid")
        assert ended_with_one_sentence(interrupted(running))
    shop.manage("migrate").check()


def test_control_c_in_python(shop):
    shop.write_migration("shop", "0002_note", CODE % "migrations.RunPython(rest)")
    running = shop.start("migrate")
    running.read_until("it rests")
    assert ended_with_one_sentence(interrupted(running))
    shop.write_migration("shop", "0002_note", CODE % "")
    shop.manage("migrate").check()


def test_control_c_in_the_build_of_an_index(shop):
    """Behind a writer that began after the look at long ones; what is left of the index is dropped by the next run."""
    shop.write_migration("shop", "0002_note", CODE % INDEX)
    with psycopg.connect(shop.dsn) as writer, psycopg.connect(shop.dsn, autocommit=True) as looks:
        over = threading.Event()

        def writes() -> None:  # anew each half second, until the build is seen to wait for one: none of them is long
            while not over.is_set():
                writer.rollback()
                writer.execute("UPDATE shop_item SET price = 2")
                over.wait(0.5)

        worker = Worker(writes)
        running = shop.start("migrate")
        until(lambda: looks.execute(IS_BUILT).fetchone())
        over.set()
        worker.result()
        result = interrupted(running)
        writer.rollback()
    assert ended_with_one_sentence(result)
    shop.manage("migrate").check()
    assert shop.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'item_price'::regclass") == [(True,)]
