"""What a team does with an app: write releases, migrate, contract, go back, as this or that role.

Migrations are files that makemigrations would have written; commands are the real ones, called in this process.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.commands import makemigrations
from django.db import connection
from django.db.migrations import CreateModel, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.questioner import MigrationQuestioner, NonInteractiveMigrationQuestioner
from django.db.migrations.state import ProjectState
from django.test import override_settings

from safemigrations.hooks.writer import MigrationWriter

from ..cases import LABEL, written
from ..releases import ShopConfig
from ..snapshot import Snapshot, difference, snapshot

# 1 in the long matrix, where every case is tried; else one of each kind.
ONE_IN = int(os.environ.get("SAFEMIGRATIONS_TEST_ONE_IN", "2"))


def assert_same(before: Snapshot, after: Snapshot) -> None:
    """The two say the same; else what differs, line by line."""
    found = difference(before, after)
    assert not found, "".join(f"\n{name}:\n  {one}\n  {other}" for name, (one, other) in sorted(found.items()))


@dataclass(frozen=True)
class Outcome:
    """What a command said, and what it ended with: nothing, a sentence for a person, or a traceback."""

    output: str
    error: str = ""
    traceback: str = ""

    @property
    def said(self) -> str:
        return self.output + self.error

    def check(self) -> Outcome:
        assert not self.error, f"{self.error}\n{self.output}{self.traceback}"
        return self

    @property
    def refused(self) -> bool:
        """With a sentence for a person."""
        return bool(self.error) and not self.traceback


def ended(error: BaseException | None, output: str = "") -> Outcome:
    if error is None:
        return Outcome(output)
    if isinstance(error, CommandError | KeyboardInterrupt):
        return Outcome(output, str(error) or "interrupted")
    return Outcome(output, str(error), "".join(traceback.format_exception(error)))


class _Lines(StringIO):
    """What a command writes, and what happens after each line."""

    def __init__(self, meanwhile: Callable[[], object] | None) -> None:
        super().__init__()
        self.meanwhile = meanwhile

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.meanwhile and text.endswith("\n"):
            self.meanwhile()
        return written


class Deployment:
    """The app "shop" on the test's database: its releases so far, and the commands of whoever deploys it."""

    def __init__(self, directory: Path, dsn: str) -> None:
        self.directory, self.dsn, self.role = directory, dsn, ""
        self.package = f"migrations_of_{directory.name}"
        self.states = [ProjectState()]
        self.names: list[str] = []
        self.number = 0
        (directory / self.package).mkdir()
        (directory / self.package / "__init__.py").touch()

    # Releases.

    def write(self, *operations: Operation, stock: bool = False) -> list[str]:
        """The next release as makemigrations writes it, or as Django's own does; the names of its migrations."""
        self.number += 1
        migration = Migration(f"{self.number:04}_release", LABEL)
        migration.operations = list(operations)  # type: ignore[misc]
        if self.names:
            migration.dependencies = [(LABEL, self.names[-1])]  # type: ignore[misc]
        else:
            migration.initial = True  # type: ignore[misc]
        parts = [migration] if stock else written(self.states[-1], migration)
        for part in parts:
            self.write_file(part.name, MigrationWriter(part).as_string())
            self.states.append(part.mutate_state(self.states[-1]))
        return [part.name for part in parts]

    def detect(self, *models: CreateModel, questions: MigrationQuestioner | None = None) -> list[str]:
        """The next release as makemigrations detects it, where these are all its models; by default with --noinput."""
        after, loader = ProjectState(), MigrationLoader(None)
        for model in models:
            model.state_forwards(LABEL, after)
        asked = questions or NonInteractiveMigrationQuestioner(verbosity=0)
        detector = makemigrations.Command.autodetector(self.states[-1].clone(), after, asked)
        try:
            found = detector.changes(graph=loader.graph).get(LABEL, [])
        except SystemExit as error:
            raise AssertionError(f"makemigrations gave up, with status {error.code}") from error
        for migration in found:
            self.write_file(migration.name, MigrationWriter(migration).as_string())
            self.states.append(migration.mutate_state(self.states[-1]))
        return [migration.name for migration in found]

    def write_file(self, name: str, text: str) -> None:
        (self.directory / self.package / f"{name}.py").write_text(text)
        self.names.append(name)
        importlib.invalidate_caches()

    def deploy(self, *operations: Operation) -> Outcome:
        """Write a release and migrate it; no contract."""
        self.write(*operations)
        return self.migrate()

    # Commands.

    def manage(self, *args: str, meanwhile: Callable[[], object] | None = None, **options: Any) -> Outcome:
        """A command of manage.py, in a session of its own; others do `meanwhile` whenever it has said a line."""
        out = _Lines(meanwhile)
        error: BaseException | None = None
        try:
            call_command(*args, stdout=out, stderr=out, no_color=True, **options)
        except (Exception, KeyboardInterrupt) as raised:
            error = raised
        connection.close()
        return ended(error, out.getvalue())

    def migrate(self, *args: str, **options: Any) -> Outcome:
        return self.manage("migrate", LABEL, *args, **options)

    def contract(self, **options: Any) -> Outcome:
        return self.manage("migrate", contract=True, **options)

    def backfill(self, *args: str) -> Outcome:
        return self.manage("safemigrations", "backfill", *args)

    def status(self) -> Outcome:
        return self.manage("safemigrations", "status")

    def live(self, *operations: Operation) -> tuple[Outcome, Outcome]:
        """A release and its contract; the contract is not tried where migrate failed."""
        expanded = self.deploy(*operations)
        return expanded, self.contract() if not expanded.error else Outcome("")

    # Who, and in what session.

    @contextmanager
    def as_role(self, role: str, **settings: str) -> Iterator[None]:
        """Commands run as this role, and with these settings of the session."""
        given = {**({"role": role} if role else {}), **settings}
        before = connection.settings_dict["OPTIONS"]
        connection.close()
        connection.settings_dict["OPTIONS"] = {
            **before,
            "options": " ".join(f"-c {name}={value}" for name, value in given.items()),
        }
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["OPTIONS"] = before

    # What the database holds.

    @property
    def database(self) -> str:
        """Its name."""
        return str(connection.settings_dict["NAME"])

    def sql(self, query: str, *, role: str = "", params: Sequence[Any] | None = None) -> list[Any]:
        """Rows; of a single column, its values. By a superuser, unless a role is named."""
        with psycopg.connect(self.dsn, autocommit=True) as session:
            if role:
                session.execute(f'SET ROLE "{role}"')
            cursor = session.execute(query, params)
            rows = cursor.fetchall() if cursor.description else []
        return [row[0] if len(row) == 1 else row for row in rows]

    def request(self, statement: str, *, role: str = "") -> None:
        """What a release writes; an AssertionError when that is refused."""
        try:
            self.sql(statement, role=role)
        except psycopg.Error as error:
            raise AssertionError(f"{statement} failed: {error}") from error

    def count(self, condition: str, table: str = "shop_book") -> int:
        return int(self.sql(f"SELECT count(*) FROM {table} WHERE {condition}")[0])

    def catalog(self) -> Snapshot:
        found = snapshot(connection)
        connection.close()
        return found

    def assert_unchanged(self, before: Snapshot) -> None:
        assert_same(before, self.catalog())

    def is_applied(self, name: str) -> bool:
        return bool(self.sql(f"SELECT 1 FROM django_migrations WHERE app = '{LABEL}' AND name = '{name}'"))


@contextmanager
def deployment(directory: Path, dsn: str, **settings: Any) -> Iterator[Deployment]:
    made = Deployment(directory, dsn)
    apps = ["safemigrations", "django.contrib.postgres", f"{ShopConfig.__module__}.{ShopConfig.__name__}"]
    modules = {LABEL: made.package}
    sys.path.insert(0, str(directory))
    try:
        with override_settings(
            INSTALLED_APPS=apps, MIGRATION_MODULES=modules, SAFEMIGRATIONS={"GATE_WATCH": 0, **settings}
        ):
            yield made
    finally:
        sys.path.remove(str(directory))
