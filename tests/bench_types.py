"""A primary key that becomes a bigint, with three tables that point at it, under traffic; beside stock Django.

    python -m tests.bench_types [--rows 1000000]

Prints errors of the users, orphans, ids given twice, the worst wait, and how long anybody held ACCESS EXCLUSIVE.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from testproject.postgres import server

from .bench_fields import Seen, deploy, watch
from .bench_project import SIDES, Project

WRITERS = 4
CHILDREN = ("first", "second", "third")

FAMILY = """
from django.db import models


class Parent(models.Model):
    id = models.{key}(primary_key=True)
    name = models.CharField(max_length=50)


""" + "\n\n".join(
    f"class {name.title()}(models.Model):\n"
    f"    parent = models.ForeignKey(Parent, models.CASCADE, related_name='{name}')\n"
    "    name = models.CharField(max_length=50)"
    for name in CHILDREN
)


def fill(project: Project, rows: int) -> None:
    with project.connect() as connection:
        numbers = f"generate_series(1, {rows}) n"
        connection.execute(f"INSERT INTO shop_parent (name) SELECT 'parent ' || n FROM {numbers}")
        for name in CHILDREN:
            connection.execute(f"INSERT INTO shop_{name} (parent_id, name) SELECT n, 'child ' || n FROM {numbers}")
        connection.execute("VACUUM ANALYZE")


@contextmanager
def users(project: Project, ids: list[int]) -> Iterator[Seen]:
    """Writers that insert a parent and its children, change them and read them back, and one who looks at the locks."""
    seen, over = Seen(), threading.Event()
    threads = [threading.Thread(target=write, args=(project, ids, seen, over)) for _ in range(WRITERS)]
    threads += [
        threading.Thread(target=watch, args=(project, f"shop_{table}", seen, over))
        for table in ("parent", CHILDREN[-1])
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def write(project: Project, ids: list[int], seen: Seen, over: threading.Event) -> None:
    with project.connect() as connection:
        connection.prepare_threshold = None  # as Django has it
        while not over.is_set():
            began = time.perf_counter()
            try:
                with connection.transaction():
                    ids.append(family(connection))
                seen.transactions += 1
            except psycopg.errors.DeadlockDetected:
                seen.deadlocks += 1
            except (psycopg.Error, AssertionError) as error:
                seen.others.add(str(error).splitlines()[0])
            seen.worst = max(seen.worst, time.perf_counter() - began)
            time.sleep(0.002)


def family(connection: psycopg.Connection) -> int:
    """The id of a new parent with a child in each table."""
    (key,) = connection.execute("INSERT INTO shop_parent (name) VALUES ('x') RETURNING id").fetchone() or (0,)
    for name in CHILDREN:
        connection.execute(f"INSERT INTO shop_{name} (parent_id, name) VALUES (%s, 'x')", [key])
        connection.execute(f"UPDATE shop_{name} SET name = 'y' WHERE parent_id = %s", [key])
        found = connection.execute(f"SELECT count(*) FROM shop_{name} WHERE parent_id = %s", [key]).fetchone()
        assert found == (1,), f"{found} children of {key} in {name}"
    return int(key)


def audit(project: Project, ids: list[int]) -> str:
    with project.connect() as connection:
        orphans = sum(
            connection.execute(
                f"SELECT count(*) FROM shop_{name} c LEFT JOIN shop_parent p ON p.id = c.parent_id WHERE p.id IS NULL"
            ).fetchone()[0]  # type: ignore[index]
            for name in CHILDREN
        )
        lost = connection.execute(
            "SELECT count(*) FROM unnest(%s::bigint[]) n LEFT JOIN shop_parent p ON p.id = n WHERE p.id IS NULL", [ids]
        ).fetchone()[0]  # type: ignore[index]
        (kind,) = connection.execute("SELECT pg_typeof(id)::text FROM shop_parent LIMIT 1").fetchone() or ("",)
    return f"{orphans} orphans   {lost} lost   {len(ids) - len(set(ids))} ids given twice   id is {kind}"


def main() -> None:
    parser = argparse.ArgumentParser(description="A key becomes a bigint under traffic, beside stock Django.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server() as dsn:
        print(f"{options.rows:,} rows in each of four tables, {WRITERS} writers:")
        for side in SIDES:
            project = Project(Path(folder), dsn, side, "types")
            project.models(FAMILY.format(key="AutoField"))
            project.manage("makemigrations", "shop", "-v0")
            project.manage("migrate", "-v0")
            fill(project, options.rows)
            project.models(FAMILY.format(key="BigAutoField"))
            project.manage("makemigrations", "shop", "-v0")
            ids: list[int] = []
            with users(project, ids) as seen:
                took = deploy(project, side, seen)
            print(
                f"  {side.name:<15} {took:6.1f} s   {seen.transactions:6} transactions   {seen.deadlocks} deadlocks  "
                f" {len(seen.others)} errors   worst wait {seen.worst:6.3f} s   longest ACCESS EXCLUSIVE"
                f" {seen.held:6.3f} s",
                f"    {audit(project, ids)}",
                *(f"    {other}" for other in sorted(seen.others)),
                sep="\n",
                flush=True,
            )


if __name__ == "__main__":
    main()
