"""Backups: pg_dump and pg_restore of the server's own version, in the ways that people use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from testproject.postgres import binaries

from ..conftest import new_database
from ..snapshot import Snapshot
from ..tried import tried


@dataclass(frozen=True)
class Flavour:
    """A way to make a backup and to restore it: options of pg_dump and of pg_restore, pair by pair.

    A dump without a --format is text for psql. `forgets` is what such a backup doesn't hold: the places, in what
    tests/snapshot.py says of a kind of object.
    """

    name: str
    runs: Sequence[tuple[Sequence[str], Sequence[str]]]
    forgets: Mapping[str, Sequence[int]]
    session: str = ""  # options of the session that restores

    def __str__(self) -> str:
        return self.name

    def as_it_holds(self, found: Snapshot) -> Snapshot:
        """What a backup can know of this."""
        return {
            kind: {
                name: [None if place in self.forgets.get(kind, ()) else one for place, one in enumerate(details)]
                for name, details in objects.items()
            }
            for kind, objects in found.items()
        }


COMMENTS = {"tables": [5], "columns": [11], "indexes": [8], "constraints": [6], "functions": [2]}
GRANTS = {"tables": [3], "columns": [9], "functions": [1], "schemas": [0]}
PLAIN = Flavour("plain", [((), ())], {})
FLAVOURS = [
    PLAIN,
    Flavour("custom", [(("--format=custom",), ("--exit-on-error",))], {}),
    Flavour("one transaction", [(("--format=custom",), ("--single-transaction",))], {}),
    Flavour("two jobs", [(("--format=directory",), ("--exit-on-error", "--jobs=2"))], {}),
    Flavour("as INSERT", [(("--inserts", "--rows-per-insert=2"), ())], {}),
    Flavour("no comments", [(("--format=custom", "--no-comments"), ("--exit-on-error",))], COMMENTS),
    Flavour("no owner, no grants", [(("--no-owner", "--no-acl"), ())], GRANTS),
    Flavour(
        "data after the schema, triggers disabled",
        [(("--schema-only",), ()), (("--format=custom", "--data-only"), ("--exit-on-error", "--disable-triggers"))],
        {"triggers": [1]},  # afterwards none is ALWAYS any more
    ),
    Flavour(
        "data after the schema, as replica",
        [(("--schema-only",), ()), (("--data-only",), ())],
        {},
        session="-c session_replication_role=replica",
    ),
]


def programs() -> Path:
    """Where those of the server's version are."""
    host = Path(str(conninfo_to_dict(os.environ["SAFEMIGRATIONS_TEST_DSN"]).get("host", "")))
    if (host / "bin" / "pg_dump").exists():
        return host / "bin"
    with psycopg.connect(os.environ["SAFEMIGRATIONS_TEST_DSN"]) as server:
        return binaries(str(server.info.server_version // 10_000))


def run(*command: str | Path, session: str = "") -> None:
    environment = {**os.environ, "PGOPTIONS": session}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, f"{Path(command[0]).name}: {result.stderr}"


def dsn_of(name: str) -> str:
    return make_conninfo(os.environ["SAFEMIGRATIONS_TEST_DSN"], dbname=name)


def copy(flavour: Flavour, source: str, target: str, directory: Path) -> None:
    """Restore a backup of one database in another; an AssertionError that shows what PostgreSQL said."""
    here, bin_ = dsn_of(target), programs()
    for number, (dumping, restoring) in enumerate(flavour.runs):
        file = directory / f"backup_{number}"
        run(bin_ / "pg_dump", f"--dbname={dsn_of(source)}", f"--file={file}", *dumping)
        if any(option.startswith("--format") for option in dumping):
            run(bin_ / "pg_restore", f"--dbname={here}", *restoring, file, session=flavour.session)
        else:
            psql = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={file}")
            run(bin_ / "psql", f"--dbname={here}", *psql, *restoring, session=flavour.session)


@contextmanager
def restored(flavour: Flavour, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Django's connection "default" is to a new database, with what was in the one before."""
    source = connection.settings_dict["NAME"]
    connection.close()
    with new_database("default", monkeypatch) as made:
        copy(flavour, source, made.settings_dict["NAME"], directory)
        tried("backups restored")
        yield made
