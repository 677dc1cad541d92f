"""A shop that is rolled out and back: commands of three releases from their own trees, and servers that stay up.

A server is a session that carries the mark of its release and sends the very statements that its models send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from . import started, three_releases
from .conftest import create_database, on_server
from .project import Project, Result
from .three_releases import dsn_of

RECORD = """
import json
import django
django.setup()
from django.db import connection
from safemigrations.contracts.marks import own_mark
from shop.models import Item

sent = []

def note(execute, sql, params, *rest):
    sent.append([sql, params])
    return execute(sql, params, *rest)

given = {field.name: "written" if field.get_internal_type() != "IntegerField" else 5
         for field in Item._meta.fields if not field.primary_key}
with connection.execute_wrapper(note):
    item = Item.objects.create(**given)
    list(Item.objects.all())
    item.save()
    Item.objects.get(pk=item.pk)
print(json.dumps({"mark": own_mark(), "pk": item.pk, "sent": sent}))
"""


class Release:
    """One release: its tree, its mark, and what its models send."""

    def __init__(self, number: int, project: Project, said: dict[str, Any]) -> None:
        self.number, self.project, self.mark, self.pk = number, project, said["mark"], said["pk"]
        self.create, self.every, self.save, self.get = said["sent"]

    def __repr__(self) -> str:
        return f"v{self.number}"


class Server:
    """A release that is up."""

    def __init__(self, release: Release, dsn: str) -> None:
        self.release = release
        self.session = psycopg.connect(dsn, autocommit=True, application_name=f"web safemig:{release.mark}")

    def send(self, statement: list[Any], written: str, pk: int | None = None) -> list[tuple[Any, ...]]:
        """What a request sends, with a value and a key of its own."""
        sql, params = statement
        own = {"written": written, self.release.pk: pk or self.release.pk}
        return self.session.execute(sql, [own.get(value, value) for value in params]).fetchall()

    def create(self, written: str) -> int:
        return int(self.send(self.release.create, written)[0][0])

    def read(self, pk: int) -> list[tuple[Any, ...]]:
        return self.send(self.release.get, "", pk)

    def stop(self) -> None:
        self.session.close()


class Shop:
    """The database, the releases, and the servers that are up; begins with the first release, migrated and up."""

    def __init__(self, name: str, template: str, releases: list[Release]) -> None:
        self.name, self.template, self.releases = name, template, releases
        self.up: dict[int, Server] = {}
        self.said: list[str] = []  # each command and its exit status, for whoever reads a failure

    def begin(self) -> None:
        create_database(self.name, self.template)
        self.start(1)

    def end(self) -> None:
        for number in list(self.up):
            self.stop(number)
        on_server("DROP DATABASE {} WITH (FORCE)", self.name)

    def manage(self, number: int, *args: str) -> Result:
        result = self.releases[number - 1].project.manage(*args)
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
            self.up[number] = Server(self.releases[number - 1], dsn_of(self.name))

    def stop(self, number: int) -> None:
        if server := self.up.pop(number, None):
            server.stop()

    def ask(self) -> None:
        """Can every release that is up write, and read what each of them wrote?"""
        try:
            for server in self.up.values():
                self._ask(server)
        except psycopg.Error as error:
            raise AssertionError("\n".join([*self.said, f"{server.release}: {error}"])) from error

    def _ask(self, server: Server) -> None:
        written = uuid4().hex[:10]
        pk = server.create(written)
        for other in self.up.values():
            assert written in other.read(pk)[0], [*self.said, f"{other.release} of {server.release}: {written}"]
            other.send(other.release.every, "")
        rewritten = uuid4().hex[:10]
        server.send([server.release.save[0] + " RETURNING id", server.release.save[1]], rewritten, pk)
        for other in self.up.values():
            assert rewritten in other.read(pk)[0], [*self.said, f"{other.release} of {server.release}: {rewritten}"]

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
    releases = [_recorded(number, project, name) for number, project in enumerate(trees, 1)]
    yield Shop(name, stages.template("v1"), releases)


def _recorded(number: int, project: Project, name: str) -> Release:
    """A release on a database of its own, for what its models send."""
    create_database(name, "template1")
    try:
        project.manage("migrate").check()
        project.write("record.py", RECORD)
        said, error, status = started.run(["record.py"], folder=project.folder, env=project._environment(), input="")
        assert not status, error
    finally:
        on_server("DROP DATABASE {} WITH (FORCE)", name)
    return Release(number, project, json.loads(said))
