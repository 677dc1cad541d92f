"""The app of the cases as a release knows it: its migration files, its models, its rows, and how it is migrated."""

from __future__ import annotations

import datetime
import itertools
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from django.db.models.fields.proxy import OrderWrt
from django.test import override_settings
from psycopg.types.range import Range

from safemigrations.contracts import queue
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.hooks.writer import MigrationWriter
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


def migrate(target: str, report: Report | None = None, alias: str = DEFAULT_DB_ALIAS) -> None:
    """What the command does; `target` is the name of a migration, or "zero"."""
    executor = MigrationExecutor(connections[alias])
    with running(Run(report=report or Report())):
        executor.migrate([(LABEL, None if target == "zero" else target)])


def contract(report: Report | None = None) -> None:
    """What `migrate --contract` does."""
    queue.contract(connections[DEFAULT_DB_ALIAS], report or Report())


# Models and rows.


def models_of(state: ProjectState) -> list[Any]:
    """Parents before those that point at them."""
    left = [state.apps.get_model(label, name) for label, name in sorted(state.models)]
    ordered: list[Any] = []
    while left:
        ready = [model for model in left if not any(parent in left for parent in parents(model) - {model})]
        ordered += ready
        left = [model for model in left if model not in ready]
    return ordered


def parents(model: Any) -> set[Any]:
    return {field.remote_field.model for field in model._meta.concrete_fields if field.remote_field}


def sent(model: Any) -> list[Any]:
    """The fields whose values come from whoever writes a row."""
    return [
        field
        for field in model._meta.concrete_fields
        if not (
            isinstance(field, models.AutoField | OrderWrt)
            or field.generated
            or getattr(field, "auto_now", False)
            or getattr(field, "auto_now_add", False)
            or getattr(field.remote_field, "parent_link", False)
        )
    ]


class Values:
    """Values for fields, each different from the one before; who starts elsewhere gives others."""

    def __init__(self, name: str, start: int, alias: str = DEFAULT_DB_ALIAS) -> None:
        self.name, self.numbers, self.alias = name, itertools.count(start), alias

    def create(self, model: Any, **given: Any) -> Any:
        return model._base_manager.using(self.alias).create(**self.row(model, **given))

    def row(self, model: Any, **given: Any) -> dict[str, Any]:
        """What a release says about a row that it creates; parents that it doesn't give are made."""
        fields = [field for field in sent(model) if field.name not in given]
        chosen = [field for field in fields if not (field.has_db_default() and next(self.numbers) % 2)]
        return {field.name: self.value(field) for field in chosen} | given

    def value(self, field: Any) -> Any:
        number = next(self.numbers)
        if field.remote_field:
            return self._parent(field, number)
        if field.null and not number % 3:
            return None
        if field.choices:
            return field.choices[number % len(field.choices)][0]
        if isinstance(field, ArrayField):
            return [self.value(field.base_field), self.value(field.base_field)]
        return self._plain(field, number)

    def _parent(self, field: Any, number: int) -> Any:
        model = field.remote_field.model
        if field.null and (model is field.model or number % 2):
            return None
        return self.create(model)

    def _plain(self, field: Any, number: int) -> Any:
        match field.get_internal_type():
            case "CharField" | "TextField":
                return f'{number} {self.name}\'s 100% "ü"'[: field.max_length or 40]
            case "IntegerField" | "BigIntegerField" | "PositiveIntegerField" | "PositiveBigIntegerField":
                return number
            case "DecimalField":
                return Decimal(number % 10_000).scaleb(-2)
            case "FloatField":
                return number % 10_000 / 100
            case "BooleanField":
                return number % 2 == 0
            case "DateField":
                return datetime.date(2020, 1, 1) + datetime.timedelta(days=number % 1000)
            case "DateTimeField":
                return datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=number)
            case "UUIDField":
                return uuid.uuid4()
            case "IntegerRangeField":
                return Range(number, number + 1)
            case "JSONField":
                return {self.name: [number, "it's", None]}
        raise NotImplementedError(f"Say here what a {field.get_internal_type()} holds.")


def fill(state: ProjectState, alias: str = DEFAULT_DB_ALIAS) -> None:
    """Some rows in every table."""
    values = Values("seed", 1, alias)
    for model in models_of(state):
        for _ in range(3):
            row = values.create(model)
            for field in model._meta.local_many_to_many:
                getattr(row, field.name).set(field.remote_field.model._base_manager.using(alias).all())
