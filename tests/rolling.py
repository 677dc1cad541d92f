"""A shop that is rolled out and back: commands of three releases from their own trees, and servers that stay up.

A server is a process of a rehearsal: it has the models and the mark of its release, and stays connected.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, permutations
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from django.db import DEFAULT_DB_ALIAS

from safemigrations.rehearsing.playing import show
from safemigrations.rehearsing.processes import Client, Processes
from safemigrations.rehearsing.releases import Release

from . import three_releases
from .conftest import create_database, on_server
from .project import ROOT, Project, Result
from .three_releases import dsn_of
from .tried import tried

PLAN: dict[str, list[str]] = {"chosen": ["shop.item"], "visited": [], "filled": [], "unique": []}
CALLED = {3: {"shop.item.title": "name"}}  # release -> column of it -> as the first release calls it
SHOWN = 2  # rows that one server shows another


class Shop:
    """The database, the releases, and the servers that are up; begins with the first release, migrated and up."""

    def __init__(self, name: str, template: str, trees: list[Project], stack: ExitStack) -> None:
        self.name, self.template, self.trees = name, template, trees
        self.processes = [_processes(number, tree, name, stack) for number, tree in enumerate(trees, 1)]
        self.up: dict[int, Client] = {}
        self.started = count(1)
        self.said: list[str] = []  # each command and its exit status, for whoever reads a failure

    def begin(self) -> None:
        create_database(self.name, self.template)
        self.start(1)

    def end(self) -> None:
        for number in list(self.up):
            self.stop(number)
        on_server("DROP DATABASE {} WITH (FORCE)", self.name)

    def manage(self, number: int, *args: str) -> Result:
        result = self.trees[number - 1].manage(*args)
        tried("commands of three releases")
        self.said.append(f"v{number}: {' '.join(args)}  -> {result.returncode}")
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def migrate(self, number: int) -> Result:
        return self.manage(number, "migrate", "--noinput")

    def contract(self, number: int) -> Result:
        return self.manage(number, "migrate", "--contract", "--noinput")

    def go_back(self, number: int, to: int) -> Result:
        return self.manage(number, "migrate", "--to-release", f"v{to}")

    def start(self, number: int) -> None:
        """As a probe lets it: a server that isn't ready gets no request."""
        if number not in self.up and not self.manage(number, "safemigrations", "ready").returncode:
            self.up[number] = client = self.processes[number - 1].client()
            called = [{}, CALLED.get(number, {})]
            names = {DEFAULT_DB_ALIAS: self.name}
            client.call("prepare", names, DEFAULT_DB_ALIAS, f"v{number}", next(self.started), called, PLAN)
            self._ask(client, "round")  # so that it is connected

    def stop(self, number: int) -> None:
        if client := self.up.pop(number, None):
            client.call("leave")
            client.stop()

    def ask(self) -> None:
        """Can every release that is up do what it does all day, and read and change what each of them wrote?"""
        for client in self.up.values():
            self._ask(client, "round")
        for one, other in permutations(self.up.values(), 2):
            show(self._ask, one, other, SHOWN)

    def _ask(self, client: Client, method: str, *arguments: Any) -> Any:
        answer = client.call("play", time.time(), method, *arguments)
        assert not answer["failures"], [*self.said, *answer["failures"]]
        return answer["returned"]

    # What the database holds.

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(dsn_of(self.name), autocommit=True) as session:
            return session.execute(query).fetchall()

    def applied(self) -> int:
        """The latest release whose migrations are applied."""
        return len(self.sql("SELECT FROM django_migrations WHERE app = 'shop'"))

    def left(self) -> int:
        (exists,) = self.sql("SELECT to_regclass('safemigrations_contract')")[0]
        query = "SELECT FROM safemigrations_contract WHERE status <> 'done'"
        return len(self.sql(query)) if exists else 0


@contextmanager
def shop(folder: Path, stages: three_releases.Stages, **settings: Any) -> Iterator[Shop]:
    """For as many rounds of begin() and end() as you like."""
    name = f"safemigrations_rolling_{uuid4().hex}"
    trees = three_releases.trees(folder, dsn_of(name), SAFEMIGRATIONS=settings)
    with ExitStack() as stack:
        yield Shop(name, stages.template("v1"), trees, stack)


def _processes(number: int, tree: Project, database: str, stack: ExitStack) -> Processes:
    path = (str(tree.folder), str(ROOT))
    release = Release(f"v{number}", f"v{number}", tree.folder, tree.folder, path, sys.executable, "settings")
    return Processes(release, stack, {DEFAULT_DB_ALIAS: database})
