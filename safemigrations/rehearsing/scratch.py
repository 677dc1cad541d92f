"""The scratch databases of a rehearsal, beside the test databases, with names that nobody takes for real ones."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..postgres.names import Name
from ..running.another import another_connection

LONGEST = 63  # bytes of a name
LARGE = 200 * 1024 * 1024  # bytes from which copying the files takes less time than writing every page to the WAL

LOCK = 0x7265_6873  # "rehs", as the first half of an advisory lock
KEY = re.compile(r"([0-9a-f]{6})(_.*)?$")
ARCHIVE = b"PGDMP"  # how one of pg_dump's begins that isn't SQL

Names = dict[str, str]  # alias -> name of its database


class Scratch:
    """Databases that are dropped when the stack is closed. `base` is what the old release made, to make others of."""

    def __init__(self, stack: ExitStack, alias: str, forbidden: Collection[str]) -> None:
        self.stack, self.alias = stack, alias
        self.number = 0
        self.key = secrets.token_hex(3)
        self.connection = connections[alias]
        stack.callback(connections.__setitem__, alias, self.connection)
        _refuse(self.connection, forbidden)
        self.base: Names = self._names()
        self.server: Any = stack.enter_context(self.connection._nodb_cursor())
        self._take_lock()
        self._drop_left()

    @property
    def title(self) -> str:
        return self.base[self.alias]

    def create(self, template: str | None = None) -> None:
        """The base of each alias; that of the rehearsed one from another database, if one is named."""
        for alias, name in self._distinct(self.base):
            if template and alias == self.alias:
                self._copy_real(name, template)
            else:
                self._create(alias, name, connections[alias].creation.sql_table_creation_suffix())

    def _copy_real(self, name: str, template: str) -> None:
        try:
            self._create(self.alias, name, f"TEMPLATE {Name.of(template)}{self._strategy(template)}")
        except DatabaseError as error:
            raise CommandError(
                f"--template: {error}\nPostgreSQL copies a database to which nobody is connected. "
                "Of one that is in use, take --from-dump."
            ) from error

    def copy(self, of: Names | None = None) -> Names:
        """Databases that are as those are, the base without `of`."""
        self.number += 1
        source = of or self.base
        names = {alias: f"{name}_{self.number}" for alias, name in self.base.items()}
        for alias, name in self._distinct(names):
            self._create(alias, name, f"TEMPLATE {Name.of(source[alias])}{self._strategy(source[alias])}")
        return names

    def drop(self, names: Names) -> None:
        for alias, name in self._distinct(names):
            self._drop(alias, name)

    def drop_copies_of(self, names: Names) -> None:
        """Those that a runner of tests has made of them, and left."""
        for alias, name in self._distinct(names):
            with connections[alias]._nodb_cursor() as cursor:
                cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [f"{name}_run"])
                copies = [copy for (copy,) in cursor.fetchall()]
            for copy in copies:
                self._drop(alias, copy)

    def connect(self, names: Names) -> BaseDatabaseWrapper:
        """Let the alias mean this database in this process; the caller closes the connection."""
        connection = another_connection(self.connection)  # Django keeps one pool for an alias, whatever the database
        connection.settings_dict["NAME"] = names[self.alias]
        # Who hears of a new connection, such as contrib.postgres, goes by the alias.
        connections[self.alias] = connection
        return connection

    def _take_lock(self) -> None:
        """Hold a lock as long as this process lives, so that others see that its databases are in use."""
        self.server.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK, int(self.key, 16)])

    def _drop_left(self) -> None:
        """Drop what killed rehearsals have left here."""
        begins = self.title.removesuffix(self.key)
        self.server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [begins])
        for (name,) in self.server.fetchall():
            if key := KEY.match(name.removeprefix(begins)):
                self.server.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, int(key[1], 16)])
                if self.server.fetchone()[0] and key[1] != self.key:
                    self._drop(self.alias, name)

    def _distinct(self, names: Names) -> list[tuple[str, str]]:
        """Each database once, with the first alias that reaches it."""
        return [(alias, name) for name, alias in {name: alias for alias, name in reversed(names.items())}.items()]

    def _names(self) -> Names:
        """Aliases that reach the same database reach the same one here; those of other backends reach none."""
        names: dict[Any, str] = {}
        found = {}
        for alias in sorted(connections, key=lambda alias: alias != self.alias):
            connection = connections[alias]
            mirror = connection.settings_dict["TEST"]["MIRROR"]
            connection = connections[mirror] if mirror else connection
            if connection.vendor == "postgresql":
                place = tuple(str(connection.settings_dict[key]) for key in ("HOST", "PORT", "NAME"))
                found[alias] = names.setdefault(place, _name(connection, self.key))
        return found

    def _create(self, alias: str, name: str, how: str) -> None:
        self.stack.callback(self._drop, alias, name)
        _on_server(connections[alias], f"CREATE DATABASE {Name.of(name)} {how}")

    def _drop(self, alias: str, name: str) -> None:
        _on_server(connections[alias], f"DROP DATABASE IF EXISTS {Name.of(name)} WITH (FORCE)")

    def _strategy(self, name: str) -> str:
        with self.connection._nodb_cursor() as cursor:
            cursor.execute("SELECT pg_database_size(%s) > %s", [name, LARGE])
            return " STRATEGY file_copy" if cursor.fetchone()[0] else ""


def _refuse(connection: BaseDatabaseWrapper, forbidden: Collection[str]) -> None:
    if connection.vendor != "postgresql":
        raise CommandError(f"A rehearsal needs PostgreSQL; database {connection.alias} is on {connection.vendor}.")
    host = str(connection.settings_dict["HOST"] or "localhost")
    if host in forbidden:
        raise CommandError(f"No rehearsal on {host}: --forbid-host names it.")


def _name(connection: BaseDatabaseWrapper, key: str) -> str:
    test = str(connection.creation._get_test_db_name())  # type: ignore[attr-defined]
    ending = f"_rehearsal_{key}"
    while len(test.encode()) > LONGEST - len(ending) - len("_99_run_gw99"):
        test = test[:-1]
    return f"{test}{ending}"


def _on_server(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def restore(connection: BaseDatabaseWrapper, dump: Path) -> None:
    """Restore what pg_dump wrote: a script, or an archive for pg_restore."""
    (psql, *arguments, name), environment = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    if dump.is_dir() or _begins(dump) == ARCHIVE:
        command = ["pg_restore", *arguments, "--no-owner", "--no-privileges", "--exit-on-error", "-d", name, str(dump)]
    else:
        command = [psql, *arguments, "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(dump), name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    except OSError as error:
        raise CommandError(f"--from-dump needs PostgreSQL's {command[0]}: {error}") from error
    if done.returncode:
        raise CommandError(f"{shutil.which(command[0])} could not restore {dump}:\n{done.stderr.strip()}")


def _begins(dump: Path) -> bytes:
    with dump.open("rb") as file:
        return file.read(len(ARCHIVE))
