"""The app of the cases as a release knows it: its migration files, its models, its rows, and how it is migrated."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from django.test import override_settings

from safemigrations.contracts import carrying_out
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.hooks.writer import MigrationWriter
from safemigrations.rehearsing import rows
from safemigrations.rehearsing.rows import Rows, parents_first
from safemigrations.rehearsing.values import Numbers
from safemigrations.running.run import Report, Run, running

from .cases import LABEL


class ShopConfig(AppConfig):
    """An app without models of its own: they are in the migrations that a test writes."""

    name, label = __name__, LABEL


# Migrating.


def write(directory: Path, migrations: Iterable[Migration]) -> str:
    """The migrations as files, in a new package below the directory; its name."""
    package = directory / f"migrations_{uuid.uuid4().hex}"
    package.mkdir()
    (package / "__init__.py").touch()
    for migration in migrations:
        (package / f"{migration.name}.py").write_text(MigrationWriter(migration).as_string())
    return package.name


@contextmanager
def installed(directory: Path, package: str) -> Iterator[None]:
    """The app with the migrations of a package."""
    apps = [*settings.INSTALLED_APPS, "django.contrib.postgres", f"{__name__}.{ShopConfig.__name__}"]
    sys.path.insert(0, str(directory))
    try:
        with override_settings(INSTALLED_APPS=apps, MIGRATION_MODULES={LABEL: package}):
            yield
    finally:
        sys.path.remove(str(directory))


def migrate(target: str, report: Report | None = None, alias: str = DEFAULT_DB_ALIAS) -> Run:
    """What the command does; `target` is the name of a migration, or "zero". Returns the run as it ended."""
    executor = MigrationExecutor(connections[alias])
    with running(Run(report=report or Report())) as run:
        executor.migrate([(LABEL, None if target == "zero" else target)])
    return run


def contract(report: Report | None = None) -> None:
    """What `migrate --contract` does."""
    carrying_out.contract(connections[DEFAULT_DB_ALIAS], report or Report())


# Models and rows.


def models_of(state: ProjectState) -> list[Any]:
    """Parents before those that point at them."""
    return parents_first(state.apps.get_model(label, name) for label, name in sorted(state.models))


EACH = 3


def fill(state: ProjectState, alias: str = DEFAULT_DB_ALIAS) -> None:
    """Some rows in every table."""
    assert rows.fill(Rows(Numbers("seed", 1), alias), models_of(state), each=EACH) == {}
