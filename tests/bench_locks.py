"""How long ordinary queries wait behind a migration, and how long that waits for its lock, beside stock Django.

    python -m tests.bench_locks [part of a line's name ...]

Every line runs once with stock Django and once with safemigrations, one after the other on the same machine.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from testproject.postgres import server

from .bench_project import SIDES, Project, Side

MODELS = """
from django.db import models


class Item(models.Model):
    price = models.IntegerField(default=0)
    {item}


class Child(models.Model):
    price = models.IntegerField(default=0)
    {child}


{more}
"""
ROWS = """
INSERT INTO shop_item (price) SELECT 0 FROM generate_series(1, 1000);
INSERT INTO shop_child (price) SELECT 0 FROM generate_series(1, 1000);
"""
COLUMN = {"item": "size = models.IntegerField(null=True)"}
FOREIGN_KEY = {"child": "item = models.ForeignKey(Item, models.CASCADE, null=True)"}
NEW_TABLE = {"more": "class Note(models.Model):\n    item = models.ForeignKey(Item, models.CASCADE)\n"}
ALTER = "ALTER TABLE shop_item ADD COLUMN size int"
PROBES = (
    "SELECT price FROM shop_item WHERE id = 1",
    "UPDATE shop_item SET price = price + 1 WHERE id = 2",
    "SELECT price FROM shop_child WHERE id = 1",
)
LONG = 60  # seconds, of what is there once

Client = Callable[[psycopg.Connection, int], None]


def writer(shortest: float, longest: float, *tables: str) -> Client:
    """One transaction after the other, which updates these tables in this order."""

    def work(connection: psycopg.Connection, number: int) -> None:
        with connection.transaction():
            for table in tables:
                connection.execute(f"UPDATE {table} SET price = price + 1 WHERE id = {100 + number}")
                time.sleep(random.uniform(shortest, longest) / len(tables))

    return work


def either(one: Client, other: Client) -> Client:
    def work(connection: psycopg.Connection, number: int) -> None:
        random.choice((one, other))(connection, number)

    return work


def reader(seconds: float) -> Client:
    def work(connection: psycopg.Connection, number: int) -> None:
        with connection.transaction():
            connection.execute("SELECT count(*) FROM shop_item")
            time.sleep(seconds)
        time.sleep(LONG)

    return work


def cursor(connection: psycopg.Connection, number: int) -> None:
    with connection.transaction(), connection.cursor(name="report") as rows:
        rows.itersize = 50
        for _ in rows.execute("SELECT id FROM shop_item"):
            time.sleep(0.0005)


class Line(NamedTuple):
    name: str
    clients: list[Client]
    changes: dict[str, str] = COLUMN
    operation: str = ""  # instead of changes: an operation as it stands in a migration
    atomic: bool = True  # of the migration with the operation


CHILD_FIRST = writer(0.02, 0.06, "shop_child", "shop_item")
PARENT_FIRST = writer(0.02, 0.06, "shop_item", "shop_child")
LINES = [
    Line("one reader of 8 s", [reader(8)]),
    Line("20 writers of 5 to 50 ms", [writer(0.005, 0.05, "shop_item")] * 20),
    Line("20 writers of 300 to 800 ms", [writer(0.3, 0.8, "shop_item")] * 20),
    Line("5 writers, child then parent", [CHILD_FIRST] * 5, FOREIGN_KEY),
    Line("5 writers, parent then child", [PARENT_FIRST] * 5, FOREIGN_KEY),
    Line("5 writers, either order each time", [either(CHILD_FIRST, PARENT_FIRST)] * 5, FOREIGN_KEY),
    Line(
        "the same beside 4 writers of only one of them",
        [
            *[either(CHILD_FIRST, PARENT_FIRST)] * 5,
            *[writer(0.005, 0.02, "shop_item"), writer(0.005, 0.02, "shop_child")] * 2,
        ],
        FOREIGN_KEY,
    ),
    Line("4 readers with cursors", [cursor] * 4),
    Line("a new table that points at it", [writer(0.005, 0.05, "shop_item")] * 20, NEW_TABLE),
    *(
        Line(f"{name}, behind a reader of 5 s", [reader(5)], operation=f"migrations.RunSQL({sql!r})")
        for name, sql in {
            "plain": ALTER,
            "comment first": f"-- why\n{ALTER}",
            "DO": f"DO $$ BEGIN {ALTER}; END $$",
            "SET first": f"SET search_path = public; {ALTER}",
            "SELECT first": f"SELECT 1; {ALTER}",
            "UPDATE first": f"UPDATE shop_item SET price = 1 WHERE id = 9; {ALTER}",
            "CLUSTER": "CLUSTER shop_item USING shop_item_pkey",
            "CONCURRENTLY in a comment": f"/* not CONCURRENTLY */ {ALTER}",
        }.items()
    ),
    Line("RunPython, behind a reader of 5 s", [reader(5)], operation="migrations.RunPython(alter)"),
    Line(
        "RunPython with atomic() in a migration without, behind a reader of 5 s",
        [reader(5)],
        operation="migrations.RunPython(alter_in_a_transaction)",
        atomic=False,
    ),
    Line(
        "a lock, then Python for 4 s",
        [],
        operation=f"migrations.RunSQL({ALTER!r}), migrations.RunPython(lambda apps, editor: time.sleep(4))",
    ),
]
MIGRATION = """
import time

from django.db import migrations, transaction


def alter(apps, editor):
    editor.execute({alter!r})


def alter_in_a_transaction(apps, editor):
    with transaction.atomic(using=editor.connection.alias):
        alter(apps, editor)


class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("shop", "0001_initial")]
    operations = [{operation}]
"""


class Beside:
    """Clients and probes beside a migrate; what the probes waited."""

    def __init__(self, project: Project, clients: list[Client]) -> None:
        self.project, self.over = project, threading.Event()
        self.worst, self.errors = 0.0, 0
        self.threads = [threading.Thread(target=self._work, args=(c, n), daemon=True) for n, c in enumerate(clients)]
        self.probes = [threading.Thread(target=self._probe, args=(sql,), daemon=True) for sql in PROBES]

    def _work(self, client: Client, number: int) -> None:
        with self.project.connect() as connection:
            while not self.over.is_set():
                try:
                    client(connection, number)
                except psycopg.Error:
                    self.errors += 1

    def _probe(self, sql: str) -> None:
        with self.project.connect() as connection:
            while not self.over.is_set():
                began = time.perf_counter()
                try:
                    connection.execute(sql)
                except psycopg.Error:
                    self.errors += 1
                self.worst = max(self.worst, time.perf_counter() - began)
                time.sleep(0.003)


@contextmanager
def beside(project: Project, clients: list[Client]) -> Iterator[Beside]:
    running = Beside(project, clients)
    for thread in (*running.threads, *running.probes):
        thread.start()
    time.sleep(0.5)  # what the first look costs isn't counted
    running.worst = 0.0
    try:
        yield running
    finally:
        running.over.set()
        for thread in running.probes:
            thread.join()


def prepared(folder: Path, dsn: str, side: Side, line: Line, number: int) -> Project:
    project = Project(folder, dsn, side, f"line_{number}")
    nothing = {"item": "", "child": "", "more": ""}
    project.models(MODELS.format(**nothing))
    project.manage("makemigrations", "shop", "-v0")
    project.manage("migrate", "-v0")
    with project.connect() as connection:
        connection.execute(ROWS)
    if line.operation:
        text = MIGRATION.format(alter=ALTER, atomic=line.atomic, operation=line.operation)
        (project.folder / "shop/migrations/0002_change.py").write_text(text)
    else:
        project.models(MODELS.format(**{**nothing, **line.changes}))
        project.manage("makemigrations", "shop", "-v0")
    return project


def measure(project: Project, line: Line) -> str:
    with beside(project, line.clients) as running:
        began = time.perf_counter()
        ended = "done"
        try:
            project.manage("migrate", "-v0")
        except SystemExit as error:
            ended = "stopped" if "KeptOthersWaiting" in str(error) else f"failed: {str(error).splitlines()[-1][:60]}"
        took = time.perf_counter() - began
    return f"worst wait {running.worst:6.3f} s, {ended} after {took:5.1f} s, {running.errors} errors of clients"


def main() -> None:
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, server() as dsn:
        for number, line in enumerate(LINES):
            if wanted and not any(part in line.name for part in wanted):
                continue
            print(line.name, flush=True)
            for side in SIDES:
                project = prepared(Path(folder), dsn, side, line, number)
                print(f"  {side.name:<15} {measure(project, line)}", flush=True)


if __name__ == "__main__":
    main()
