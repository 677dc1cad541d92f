"""What tightening a big table does to those who use it, beside stock Django in the same minute.

    python -m tests.bench_fields [--rows 3000000] [--keys 40]

Prints how long anybody held ACCESS EXCLUSIVE and how long writers waited while a column became NOT NULL, and how many
transactions of writers ended in a deadlock while foreign keys were added.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from testproject.postgres import server

from .bench_project import SIDES, Project, Side

WRITERS = 4

NULLABLE = """
from django.db import models


class Item(models.Model):
    name = models.CharField(max_length=50, {null})
"""

FAMILY = """
from django.db import models


class Parent(models.Model):
    name = models.CharField(max_length=50)


class Child(models.Model):
    parent = models.ForeignKey(Parent, models.CASCADE)
{keys}
"""
KEY = "    key_{0} = models.ForeignKey(Parent, models.SET_NULL, null=True, related_name='+')\n"


@dataclass
class Seen:
    """What the users of a table lived through."""

    transactions: int = 0
    deadlocks: int = 0
    others: set[str] = field(default_factory=set)
    worst: float = 0.0  # seconds
    held: float = 0.0  # the longest ACCESS EXCLUSIVE, in seconds


@contextmanager
def users(project: Project, *statements: str, table: str) -> Iterator[Seen]:
    """Writers, each statement in their transactions in this order, and somebody who looks at the locks."""
    seen, over = Seen(), threading.Event()
    threads = [threading.Thread(target=write, args=(project, statements, seen, over)) for _ in range(WRITERS)]
    threads.append(threading.Thread(target=watch, args=(project, table, seen, over)))
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def write(project: Project, statements: tuple[str, ...], seen: Seen, over: threading.Event) -> None:
    with project.connect() as connection:
        while not over.is_set():
            began = time.perf_counter()
            try:
                with connection.transaction():
                    for sql in statements:
                        connection.execute(sql)
                seen.transactions += 1
            except psycopg.errors.DeadlockDetected:
                seen.deadlocks += 1
            except psycopg.Error as error:
                seen.others.add(str(error).splitlines()[0])
            seen.worst = max(seen.worst, time.perf_counter() - began)
            time.sleep(0.002)


def watch(project: Project, table: str, seen: Seen, over: threading.Event) -> None:
    """From the first look that finds the lock to the first that doesn't: too long rather than too short."""
    query = (
        "SELECT pid FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND locktype = 'relation'"
        f" AND relation = '{table}'::regclass"
    )
    with project.connect() as connection:
        since = last = time.perf_counter()
        holder = None
        while not over.is_set():
            row, now = connection.execute(query).fetchone(), time.perf_counter()
            if row != holder:
                since = last
            if row or holder:
                seen.held = max(seen.held, now - since)
            holder, last = row, now
            time.sleep(0.001)


def deploy(project: Project, side: Side, seen: Seen) -> float:
    """Seconds for both halves. Stock operations may be the ones that a deadlock ends."""
    began = time.perf_counter()
    try:
        project.manage("migrate", "-v0")
        if side.apps:
            project.manage("migrate", "--contract", "-v0")
    except SystemExit as error:
        (reason,) = [line for line in str(error).splitlines() if line.startswith("django.db.utils.")][-1:]
        seen.others.add(f"migrate failed: {reason}")
    return time.perf_counter() - began


def forbid_null(folder: Path, dsn: str, rows: int) -> None:
    for side in SIDES:
        project = Project(folder, dsn, side, "null")
        project.models(NULLABLE.format(null="null=True"))
        project.manage("makemigrations", "shop", "-v0")
        project.manage("migrate", "-v0")
        with project.connect() as connection:
            connection.execute(
                "INSERT INTO shop_item (name) SELECT CASE WHEN n % 100 > 0 THEN 'item ' || n END"
                f" FROM generate_series(1, {rows}) n"
            )
            connection.execute("VACUUM ANALYZE shop_item")
        project.models(NULLABLE.format(null="default='none'"))
        project.manage("makemigrations", "shop", "-v0")
        with users(project, "INSERT INTO shop_item (name) VALUES ('x')", table="shop_item") as seen:
            took = deploy(project, side, seen)
        tell(side, took, seen)


def add_foreign_keys(folder: Path, dsn: str, count: int) -> None:
    for side in SIDES:
        project = Project(folder, dsn, side, "keys")
        project.models(FAMILY.format(keys=""))
        project.manage("makemigrations", "shop", "-v0")
        project.manage("migrate", "-v0")
        project.models(FAMILY.format(keys="".join(KEY.format(number) for number in range(count))))
        project.manage("makemigrations", "shop", "-v0")
        parent = "INSERT INTO shop_parent (name) VALUES ('x')"
        child = "INSERT INTO shop_child (parent_id) SELECT max(id) FROM shop_parent"
        with users(project, parent, child, table="shop_child") as seen:
            took = deploy(project, side, seen)
        tell(side, took, seen)


def tell(side: Side, took: float, seen: Seen) -> None:
    print(
        f"  {side.name:<15} {took:6.1f} s   {seen.transactions:6} transactions   {seen.deadlocks} deadlocks"
        f"   worst wait {seen.worst:6.3f} s   longest ACCESS EXCLUSIVE {seen.held:6.3f} s",
        *(f"    {other}" for other in sorted(seen.others)),
        sep="\n",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Tightening under traffic, beside stock Django.")
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--keys", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server() as dsn:
        print(f"{options.keys} foreign keys under {WRITERS} writers that insert a parent, then its child:")
        add_foreign_keys(Path(folder), dsn, options.keys)
        print(f"NOT NULL on {options.rows:,} rows, of which one in a hundred is null, under {WRITERS} writers:")
        forbid_null(Path(folder), dsn, options.rows)


if __name__ == "__main__":
    main()
