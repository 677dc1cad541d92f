"""Filling rows by a Python function: what PostgreSQL can't compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from operator import attrgetter
from pkgutil import resolve_name
from typing import Any

from django.apps import apps as current_apps
from django.apps.registry import Apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model
from django.db.models.expressions import RawSQL

from ...data import Data
from ...errors import StepFailed
from ...plans.steps import Backfill, RowFunction
from ...postgres.names import Name
from ...typed import compose, field_of
from .rows import Rows
from .table import Key, condition, fetch, texts


class KeyAlone(Data):
    """A row for a function that takes none. No model is made of it: its fields might look at what wasn't read."""

    pk: Any


TRIES_IN_VAIN = 100  # at rows that change between being read and being written


def rows_of(connection: BaseDatabaseWrapper, step: Backfill, apps: Apps | None) -> Rows:
    if step.function is None:
        return Rows(connection, step)
    return ComputedRows(connection, step, model_of(connection, step.function, apps))


class ComputedRows(Rows):
    """Rows that a Python function fills.

    It computes while no row is locked, and a row that changed meanwhile is computed again.
    """

    def __init__(self, connection: BaseDatabaseWrapper, step: Backfill, model: type[Model]) -> None:
        super().__init__(connection, step)
        assert step.function
        self.function, self.model = step.function, model
        self.name = self.function.path or f"The default of {self.function.field}"
        self.compute = _resolve(self.function, model)

    def fill(self, part: str, where: str) -> int:
        """Fill these rows, again and again where they change meanwhile."""
        filled, in_vain = 0, 0
        while True:
            written, left = self._write_current(part, where)
            filled += len(written)
            if not left:
                return filled
            in_vain = 0 if written else in_vain + 1
            if in_vain > TRIES_IN_VAIN:
                raise StepFailed(
                    f"{len(left)} rows of {self.model._meta.label} can't be filled, the first of them {left[0]!r}: "
                    "they change all the time, or a trigger keeps them from being written."
                )
            where = condition(self.step.key, left)

    def _write_unlocked(self, part: str, where: str) -> list[Key]:
        written, _ = self._write_current(part, where, skip_locked=True)
        return written

    def _write_current(self, part: str, where: str, *, skip_locked: bool = False) -> tuple[list[Key], list[Key]]:
        """Write the rows once; return the keys that were written, and those whose rows had changed or are locked."""
        versions = self._versions(part, where)
        values = list(self._values(versions)) if versions else []
        written = self._write_all(part, values, skip_locked=skip_locked)
        done = {tuple(key) for key in written}
        return written, [list(key) for key, *_ in values if key not in done]

    def _versions(self, part: str, where: str) -> dict[tuple[str, ...], tuple[Any, str]]:
        """The rows to fill: by the key of each as text, the key as the database gives it, and the row's version."""
        query = (
            f"SELECT {texts(self.step.key)}, xmin::text, {self.columns} FROM {self.target(part)}"
            f" WHERE {where} AND {self.step.guard}"
        )
        count, found = len(self.step.key), {}
        for row in fetch(self.connection, query):
            key = row[count + 1 :]
            found[row[:count]] = (key if count > 1 else key[0], row[count])
        return found

    def _values(self, versions: Mapping[tuple[str, ...], tuple[Any, str]]) -> Iterator[tuple[Any, str, dict[str, Any]]]:
        """Key, version and prepared values of each row that the function has something for."""
        for key, instance in self._instances(versions):
            if values := self._prepared(instance, self._computed(instance)):
                yield key, versions[key][1], values

    def _instances(self, versions: Mapping[tuple[str, ...], tuple[Any, str]]) -> Iterable[tuple[Any, Model | KeyAlone]]:
        """Instances by their keys as text: what a field makes of its value in Python needn't be equal to anything."""
        if not self.function.takes_row:
            return [(key, KeyAlone(pk)) for key, (pk, _) in versions.items()]
        columns = [f"{self.step.table}.{column}" for column in self.step.key]
        names = [f"safemigrations_key{number}" for number in range(len(columns))]
        as_text = [RawSQL(f"{column}::text".replace("%", "%%"), ()) for column in columns]
        where = condition(tuple(columns), [list(key) for key in versions]).replace("%", "%%")
        rows = self.model._base_manager.using(self.connection.alias).annotate(**dict(zip(names, as_text, strict=True)))
        return ((tuple(getattr(row, name) for name in names), row) for row in rows.extra(where=[where]))

    def _computed(self, instance: Model | KeyAlone) -> dict[str, Any]:
        try:
            value = self.compute(instance) if self.function.takes_row else self.compute()
            return dict(value or {}) if self.function.many else {self.function.field: value}
        except Exception as error:
            raise StepFailed(
                f"{self.name} failed for {self.model._meta.label} {instance.pk!r}: {error!r}. Rows that are "
                "filled stay filled. Fix the function and run the same command again."
            ) from error

    def _prepared(self, instance: Model | KeyAlone, values: dict[str, Any]) -> dict[str, Any]:
        return {name: self._prepared_value(instance, name, value) for name, value in values.items()}

    def _prepared_value(self, instance: Model | KeyAlone, name: str, value: Any) -> Any:
        """The value as the database takes it. Raises StepFailed for what the column can't hold."""
        field = field_of(self.model, name)
        if self.function.many and field not in self.model._meta.local_concrete_fields:
            raise StepFailed(
                f"{self.name} gave {name} for {self.model._meta.label}, whose table has no such column. Fix the "
                "function and run the same command again; rows that are filled stay filled."
            )
        prepared = field.get_db_prep_save(getattr(value, "pk", value), self.connection)
        if prepared is None and not field.null:
            raise StepFailed(
                f"{self.name} gave None for {self.model._meta.label} {instance.pk!r}, and {name} can't be "
                "null. Fix the function and run the same command again; rows that are filled stay filled."
            )
        return prepared

    def _write_all(self, part: str, rows: list[tuple[Any, str, dict[str, Any]]], *, skip_locked: bool) -> list[Key]:
        """Write with one UPDATE all rows that get the same fields."""
        groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for key, version, values in rows:
            groups.setdefault(tuple(values), []).append((*key, version, *values.values()))
        written: list[Key] = []
        for fields, group in groups.items():
            written += self._write(part, fields, group, skip_locked=skip_locked)
        return written

    def _write(self, part: str, names: tuple[str, ...], rows: list[tuple[Any, ...]], *, skip_locked: bool) -> list[Key]:
        """One UPDATE, of those rows that are still in the version that was computed from."""
        table = Name(self.step.table).bare if part != self.step.table else part
        fields = [field_of(self.model, name) for name in names]
        given = Given(self.connection, self.model, fields)
        wanted = [f"{table}.{column} = {value}" for column, value in zip(self.step.key, given.key, strict=True)]
        wanted.append(f"{table}.xmin::text = {given.version}")
        if skip_locked:
            keys = [list(row[: len(self.step.key)]) for row in rows]
            wanted.append(self.unlocked(part, condition(self.step.key, keys)))
        sql = (
            f"UPDATE {self.target(part)} SET {self._sets(fields, given)} FROM {given.source(rows)}"
            f" WHERE {' AND '.join(wanted)} AND {self.step.guard} RETURNING {self.key_of(table)}"
        )
        return [list(row) for row in fetch(self.connection, sql)]

    def _sets(self, fields: list[Any], given: Given) -> str:
        columns = [self.function.column or Name.from_django(field.column) for field in fields]
        sets = ", ".join(f"{column} = {value}" for column, value in zip(columns, given.values, strict=True))
        return f"{sets}{self.function.also}"


class Given:
    """Keys, versions and values of rows, as a table of VALUES. Literals lose their types there, so each is cast."""

    def __init__(self, connection: BaseDatabaseWrapper, model: type[Model], fields: list[Any]) -> None:
        self.connection = connection
        pk: Any = model._meta.pk
        of_key = [field.rel_db_type(connection) for field in getattr(pk, "fields", None) or [pk]]
        types = [*of_key, "text", *(field.db_type(connection) for field in fields)]
        self.names = [f"given{number}" for number in range(len(types))]
        cast = [f"CAST(given.{name} AS {kind})" for name, kind in zip(self.names, types, strict=True)]
        self.key, (self.version, *self.values) = cast[: len(of_key)], cast[len(of_key) :]

    def source(self, rows: list[tuple[Any, ...]]) -> str:
        places = ", ".join([f"({', '.join(['%s'] * len(self.names))})"] * len(rows))
        values = compose(self.connection, places, [value for row in rows for value in row])
        return f"(VALUES {values}) AS given ({', '.join(self.names)})"


def _resolve(function: RowFunction, model: type[Model]) -> Any:
    """The function; where the step names none, the one that gives the field's default."""
    if not function.path:
        return field_of(model, function.field).get_default
    try:
        return _imported(function.path)
    except (ImportError, AttributeError) as error:
        what = f"{model._meta.label}.{function.field}" if function.field else model._meta.label
        raise StepFailed(
            f"The function {function.path} that computes {what} can't be imported: "
            f"{error}. Bring it back, at least until this has run, and run the same command again."
        ) from error


def _imported(path: str) -> Any:
    """pkgutil.resolve_name() wants names of Python, and a migration's module is called 0007_fill."""
    module, colon, name = path.partition(":")
    return attrgetter(name)(import_module(module)) if colon else resolve_name(path)


def model_of(connection: BaseDatabaseWrapper, function: RowFunction, apps: Apps | None) -> type[Model]:
    """The model as it was in the migration that left this step; as it is now where that has been pruned."""
    if apps:
        return apps.get_model(function.app_label, function.model)
    loader = MigrationLoader(connection)
    node = (function.app_label, function.migration)
    if node in loader.graph.nodes:
        return loader.project_state(node).apps.get_model(function.app_label, function.model)
    return current_apps.get_model(function.app_label, function.model)
