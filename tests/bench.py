"""What safemigrations costs, and what it spares the users, beside stock Django in the same minute.

    python -m tests.bench [held|rename|commands ...] [--migrations 200] [--hold 10] [--rows 1000000] [--beside PATH]

Prints a table of ratios; absolute times depend on the machine. `commands` also measures another version of the
package: that of the checkout at PATH.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from testproject.postgres import server

from .bench_commands import compare
from .bench_project import MODEL, OURS, SIDES, STOCK, Project, Side

# The worst wait of ordinary queries while an unrelated transaction holds the table.

BEFORE = MODEL.format(number=1, extra="")
AFTER = MODEL.format(number=1, extra="    status = models.CharField(max_length=10, default='new')\n")


@contextmanager
def held(project: Project, seconds: float) -> Iterator[None]:
    """A report, say: it read the table and stays in its transaction."""
    connection = project.connect()
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM shop_item1")
    timer = threading.Timer(seconds, connection.close)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def worst_wait(project: Project, stop: threading.Event, waits: list[float]) -> None:
    with project.connect() as connection:
        while not stop.is_set():
            began = time.perf_counter()
            connection.execute("SELECT id, name FROM shop_item1 ORDER BY id LIMIT 1")
            waits.append(time.perf_counter() - began)
            time.sleep(0.001)


def wait_while_held(folder: Path, dsn: str, seconds: float) -> None:
    for side in SIDES:
        project = Project(folder, dsn, side, "held")
        project.models(BEFORE)
        project.manage("makemigrations", "shop", "-v0")
        project.manage("migrate", "-v0")
        project.models(AFTER)
        project.manage("makemigrations", "shop", "-v0")
        waits: list[float] = []
        stop = threading.Event()
        reader = threading.Thread(target=worst_wait, args=(project, stop, waits))
        reader.start()
        with held(project, seconds):
            took = project.manage("migrate", "-v0").wall
        stop.set()
        reader.join()
        print(f"  {side.name:<15} migrate {took:5.1f} s   {len(waits):6} queries   worst wait {max(waits):6.3f} s")


# A rename of a unique, indexed foreign key while both releases read and write.

TICKETS = """
from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=20)


class Ticket(models.Model):
    {name} = models.OneToOneField(Customer, models.CASCADE)
    note = models.CharField(max_length=20)
"""
MANY_TICKETS = """
    INSERT INTO shop_customer (name) SELECT 'c' FROM generate_series(1, {rows} * 2);
    INSERT INTO shop_ticket (customer_id, note) SELECT n, 'n' FROM generate_series(1, {rows}) n;
    CREATE SEQUENCE fresh START {rows};
    SELECT setval('fresh', {rows});
    ANALYZE
"""
REQUESTS = (
    "SELECT c.name FROM shop_ticket t JOIN shop_customer c ON c.id = t.{column} WHERE t.{column} = {any}",
    "INSERT INTO shop_ticket ({column}, note) VALUES (nextval('fresh'), 'new') RETURNING id, {column}",
    "UPDATE shop_ticket SET {column} = nextval('fresh') WHERE id = {mine} RETURNING id, {column}",
    (
        "INSERT INTO shop_ticket ({column}, note) VALUES ({any}, 'again')"
        " ON CONFLICT ({column}) DO UPDATE SET note = EXCLUDED.note RETURNING note"
    ),
    "SELECT id, {column}, note FROM shop_ticket WHERE id = {mine}",
)


class Requests:
    """What two servers of one release do all the time, until they are stopped."""

    def __init__(self, project: Project, column: str, rows: int, number: int) -> None:
        self.project, self.column, self.rows = project, column, rows
        self.waits: list[float] = []
        self.errors: list[str] = []
        self.written: dict[int, int] = {}  # ticket -> customer
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.go_on, args=(number * 2 + i,)) for i in range(2)]
        for thread in self.threads:
            thread.start()

    def go_on(self, number: int) -> None:
        chosen = random.Random(number)
        with self.project.connect() as connection:
            while not self.over.is_set():
                mine = chosen.randrange(self.rows // 8) * 8 + number  # nobody else writes these
                sql = chosen.choice(REQUESTS).format(column=self.column, any=chosen.randrange(self.rows), mine=mine)
                began = time.perf_counter()
                try:
                    rows = connection.execute(sql).fetchall()
                    self.written.update(dict(rows) if "RETURNING id" in sql else {})
                except psycopg.Error as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                self.waits.append(time.perf_counter() - began)
                time.sleep(0.001)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def lost(project: Project, column: str, *releases: Requests) -> int:
    """How many of the tickets that somebody wrote have another customer now."""
    with project.connect() as connection:
        now: dict[int, int] = dict(connection.execute(f"SELECT id, {column} FROM shop_ticket").fetchall())
    written = {ticket: customer for release in releases for ticket, customer in release.written.items()}
    return sum(now[ticket] != customer for ticket, customer in written.items())


def rename_under_traffic(folder: Path, dsn: str, rows: int) -> None:
    for side in SIDES:
        project = Project(folder, dsn, side, "rename")
        project.models(TICKETS.format(name="customer"))
        project.manage("makemigrations", "shop", "-v0")
        project.manage("migrate", "-v0")
        with project.connect() as connection:
            connection.execute(MANY_TICKETS.format(rows=rows))
        project.models(TICKETS.format(name="client"))
        project.manage("makemigrations", "shop", "-v0", answers="y\n")
        old = Requests(project, "customer_id", rows, 0)
        time.sleep(1)
        took = project.manage("migrate", "-v0").wall
        new = Requests(project, "client_id", rows, 1)
        time.sleep(2)
        differing = 0
        old.stop()
        if side is OURS:
            with project.connect() as connection:
                query = "SELECT count(*) FROM shop_ticket WHERE customer_id IS DISTINCT FROM client_id"
                ((differing,),) = connection.execute(query).fetchall()
            took += project.manage("migrate", "--contract", "-v0").wall
        time.sleep(1)
        new.stop()
        waits, errors = old.waits + new.waits, old.errors + new.errors
        print(
            f"  {side.name:<15} {took:5.1f} s   {len(waits):6} requests   {len(errors):5} errors   "
            f"{differing} rows differ   {lost(project, 'client_id', old, new)} lost   worst wait {max(waits):6.3f} s",
            flush=True,
        )
        for error in sorted({error.splitlines()[0] for error in errors})[:5]:
            print(f"    {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description="safemigrations beside stock Django.")
    parser.add_argument("what", nargs="*", help="held, rename, commands; all of them by default")
    parser.add_argument("--migrations", type=int, default=200)
    parser.add_argument("--hold", type=float, default=10.0, help="seconds that the table is held")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table whose field is renamed")
    parser.add_argument("--beside", type=Path, help="a checkout of another version, whose commands are measured, too")
    options = parser.parse_args()
    chosen = options.what or ["held", "rename", "commands"]
    with tempfile.TemporaryDirectory() as folder, server() as dsn:
        if "held" in chosen:
            print(f"Worst wait of a query while an unrelated transaction holds the table for {options.hold:.0f} s:")
            wait_while_held(Path(folder), dsn, options.hold)
        if "rename" in chosen:
            print(f"A rename of a unique foreign key of {options.rows:,} rows, under the traffic of both releases:")
            rename_under_traffic(Path(folder), dsn, options.rows)
        if "commands" in chosen:
            print(f"The cost of a command in a project with {options.migrations} migrations:")
            beside = [Side("beside", code=options.beside.resolve())] if options.beside else []
            compare(Path(folder), dsn, [STOCK, *beside, OURS], options.migrations)


if __name__ == "__main__":
    main()
