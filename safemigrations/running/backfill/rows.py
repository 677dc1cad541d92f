"""Filling the rows that a condition selects, by an expression of PostgreSQL's or by a Python function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

from django.apps import apps as current_apps
from django.apps.registry import Apps
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model
from django.db.models.expressions import RawSQL

from ... import conf
from ...errors import StepFailed
from ...plans.steps import Backfill, RowFunction
from ...postgres.names import Name
from .. import locks
from .table import Key, condition, fetch, texts

NONE: Mapping[str, str] = {}
METHODS = "'lz4', 'zstd'"  # of compressing WAL, the best first; PostgreSQL's own costs more than it saves
TRIES_IN_VAIN = 100  # at rows that change between being read and being written


@contextlib.contextmanager
def short_transaction(
    connection: BaseDatabaseWrapper, patience: float, settings: Mapping[str, str] = NONE, *, first: str = "SELECT 1"
) -> Iterator[list[tuple[Any, ...]]]:
    """A transaction whose timeouts are ours: those of the role and of the pooler are meant for requests.

    Its commit isn't waited for: what a crash of the server takes, it takes together with the position. Deferred
    constraints are checked by each statement: at the commit nobody could say any more which row it was. What the query
    `first` finds comes with the same answer of the server.
    """
    with transaction.atomic(using=connection.alias):
        settings = {
            **settings,
            "lock_timeout": f"{locks.milliseconds(patience)}",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "synchronous_commit": "off",
            "jit": "off",  # it would compile anew for each batch
        }
        if connection.pg_version >= 170000:  # type: ignore[attr-defined]
            settings["transaction_timeout"] = "0"
        with connection.cursor() as cursor:
            set_all = "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())
            begin = f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {set_all}; SET CONSTRAINTS ALL IMMEDIATE"
            cursor.execute(f"{begin}; {first}")
            while cursor.nextset():
                pass
            found = list(cursor.fetchall())
        yield found


def compression_of(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    """Half of the WAL are images of pages: compressed in a way that costs no time, where nobody decided otherwise."""
    if connection.pg_version < 150000:  # type: ignore[attr-defined]
        return NONE
    found = fetch(
        connection,
        f"SELECT method FROM pg_settings, unnest(ARRAY[{METHODS}]) WITH ORDINALITY AS methods (method, number)"
        " WHERE name = 'wal_compression' AND setting = 'off' AND source = 'default' AND method = ANY (enumvals)"
        " AND has_parameter_privilege(name, 'SET') ORDER BY number LIMIT 1",
    )
    return {"wal_compression": found[0][0]} if found else NONE


def patience_of(connection: BaseDatabaseWrapper) -> float:
    """Seconds that a batch waits for a row: in a deadlock with a request it is always the batch that gives way."""
    return min(conf.lock_timeout(), locks.deadlock_timeout(connection) / 2)


class Rows:
    """Filled by the expressions of `assign`."""

    def __init__(self, connection: BaseDatabaseWrapper, step: Backfill) -> None:
        self.connection, self.step = connection, step
        self.columns = ", ".join(step.key)

    def target(self, part: str) -> str:
        """A partition is called as its table, so that expressions find it."""
        return part if part == self.step.table else f"{part} AS {Name(self.step.table).bare}"

    def keys(self, part: str, where: str, *, limit: int | None = None, ordered: bool = False) -> list[Key]:
        order = f" ORDER BY {self.columns}" if ordered else ""
        most = f" LIMIT {limit}" if limit else ""
        query = f"SELECT {texts(self.step.key)} FROM {self.target(part)} WHERE {where} AND {self.step.guard}"
        return [list(row) for row in fetch(self.connection, f"{query}{order}{most}")]

    def unlocked(self, part: str, where: str) -> str:
        """The condition that leaves out what somebody else holds at the moment."""
        return (
            f"({self.columns}) IN (SELECT {self.columns} FROM {self.target(part)} WHERE {where}"
            f" AND {self.step.guard} FOR NO KEY UPDATE SKIP LOCKED)"
        )

    def fill(self, part: str, where: str) -> int:
        """Fill these rows and return how many they were; inside the caller's transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute(self._update(part, where))
            return int(cursor.rowcount)

    def fill_unlocked(self, part: str, where: str) -> tuple[int, list[Key]]:
        """The same, but for the rows that somebody else holds; these are returned."""
        wanted = self.keys(part, where)
        written = self._write_unlocked(part, where) if wanted else []
        done = {tuple(key) for key in written}
        # A row that was deleted, or filled by somebody else, meanwhile isn't left.
        left = [key for key in wanted if tuple(key) not in done]
        return len(written), self.keys(part, condition(self.step.key, left)) if left else []

    def _write_unlocked(self, part: str, where: str) -> list[Key]:
        table = Name(self.step.table).bare
        names = ", ".join(f"{table}.{column}::text" for column in self.step.key)
        sql = f"{self._update(part, self.unlocked(part, where))} RETURNING {names}"
        return [list(row) for row in fetch(self.connection, sql)]

    def _update(self, part: str, where: str) -> str:
        return f"UPDATE {self.target(part)} SET {self.step.assign} WHERE {where} AND {self.step.guard}"


class ComputedRows(Rows):
    """Filled by a Python function, which computes while no row is locked; a row that changed is computed again."""

    def __init__(self, connection: BaseDatabaseWrapper, step: Backfill, model: type[Model]) -> None:
        super().__init__(connection, step)
        assert step.function
        self.function, self.model = step.function, model
        self.name = self.function.path or f"The default of {self.function.field}"
        field = None if self.function.many else model._meta.get_field(self.function.field)
        self.compute: Callable[..., Any] = (
            _resolve(self.function, model) if self.function.path else field.get_default  # type: ignore[union-attr]
        )

    def fill(self, part: str, where: str) -> int:
        written, _ = self._fill(part, where, again=True)
        return len(written)

    def _write_unlocked(self, part: str, where: str) -> list[Key]:
        written, _ = self._fill(part, where, again=False)
        return written

    def _fill(self, part: str, where: str, *, again: bool) -> tuple[list[Key], list[Key]]:
        """The keys that were written, and those that were not because their rows had changed, or are locked."""
        written: list[Key] = []
        in_vain = 0
        while versions := self._versions(part, where):
            values = list(self._values(versions))
            done = self._write_all(part, values, skip_locked=not again)
            written += done
            gone = {tuple(key) for key in done}
            left = [list(key) for key, *_ in values if key not in gone]
            if not again or not left:
                return written, left
            in_vain = 0 if done else in_vain + 1
            if in_vain > TRIES_IN_VAIN:
                raise StepFailed(
                    f"{len(left)} rows of {self.model._meta.label} can't be filled, the first of them {left[0]!r}: "
                    "they change all the time, or a trigger keeps them from being written."
                )
            where = condition(self.step.key, left)
        return written, []

    def _versions(self, part: str, where: str) -> dict[tuple[str, ...], tuple[Any, str]]:
        """Of each row to fill: its key as text, as the database gives it, and the version that is computed from."""
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
        """Key, version and prepared values; rows that the function has nothing for are left out."""
        for key, instance in self._instances(versions):
            if values := self._prepared(instance, self._computed(instance)):
                yield key, versions[key][1], values

    def _instances(self, versions: Mapping[tuple[str, ...], tuple[Any, str]]) -> Iterable[tuple[Any, Model]]:
        """By the keys as text: what a field makes of its value in Python needn't be equal to anything."""
        if not self.function.takes_row:
            return [(key, self.model(pk=pk)) for key, (pk, _) in versions.items()]
        columns = [f"{self.step.table}.{column}" for column in self.step.key]
        names = [f"safemigrations_key{number}" for number in range(len(columns))]
        as_text = [RawSQL(f"{column}::text".replace("%", "%%"), ()) for column in columns]
        where = condition(tuple(columns), [list(key) for key in versions]).replace("%", "%%")
        rows = self.model._base_manager.using(self.connection.alias).annotate(**dict(zip(names, as_text, strict=True)))
        return ((tuple(getattr(row, name) for name in names), row) for row in rows.extra(where=[where]))

    def _computed(self, instance: Model) -> dict[str, Any]:
        try:
            value = self.compute(instance) if self.function.takes_row else self.compute()
            return dict(value or {}) if self.function.many else {self.function.field: value}
        except Exception as error:
            raise StepFailed(
                f"{self.name} failed for {self.model._meta.label} {instance.pk!r}: {error!r}. Rows that are "
                "filled stay filled. Mend the function and run the same command again."
            ) from error

    def _prepared(self, instance: Model, values: dict[str, Any]) -> dict[str, Any]:
        prepared = {}
        for name, value in values.items():
            field: Any = self.model._meta.get_field(name)
            if self.function.many and field not in self.model._meta.local_concrete_fields:
                raise StepFailed(
                    f"{self.name} gave {name} for {self.model._meta.label}, whose table has no such column. Mend the "
                    "function and run the same command again; rows that are filled stay filled."
                )
            one = field.get_db_prep_save(getattr(value, "pk", value), self.connection)
            if one is None and not field.null:
                raise StepFailed(
                    f"{self.name} gave None for {self.model._meta.label} {instance.pk!r}, and {name} can't be "
                    "null. Mend the function and run the same command again; rows that are filled stay filled."
                )
            prepared[name] = one
        return prepared

    def _write_all(self, part: str, rows: list[tuple[Any, str, dict[str, Any]]], *, skip_locked: bool) -> list[Key]:
        """One UPDATE for all rows that get the same fields."""
        groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for key, version, values in rows:
            groups.setdefault(tuple(values), []).append((*key, version, *values.values()))
        written: list[Key] = []
        for fields, group in groups.items():
            written += self._write(part, fields, group, skip_locked=skip_locked)
        return written

    def _write(
        self, part: str, fields: tuple[str, ...], rows: list[tuple[Any, ...]], *, skip_locked: bool
    ) -> list[Key]:
        """Literals lose their types in VALUES, so each is cast."""
        table, key = Name(self.step.table).bare if part != self.step.table else part, self.step.key
        pk: Any = self.model._meta.pk
        typed: list[Any] = [self.model._meta.get_field(name) for name in fields]
        types = [field.rel_db_type(self.connection) for field in getattr(pk, "fields", None) or [pk]]
        types += ["text", *(field.db_type(self.connection) for field in typed)]
        names = [f"given{number}" for number in range(len(types))]
        cast = [f"CAST(given.{name} AS {type})" for name, type in zip(names, types, strict=True)]
        same = [f"{table}.{column} = {value}" for column, value in zip((*key, "xmin::text"), cast, strict=False)]
        sets = ", ".join(
            f"{self.function.column or Name.from_django(field.column)} = {value}"
            for field, value in zip(typed, cast[len(key) + 1 :], strict=True)
        )
        places = ", ".join([f"({', '.join(['%s'] * len(names))})"] * len(rows))
        values = self.connection.ops.compose_sql(places, [value for row in rows for value in row])  # type: ignore[attr-defined]
        if skip_locked:
            keys = [list(row[: len(key)]) for row in rows]
            same.append(self.unlocked(part, condition(key, keys)))
        sql = (
            f"UPDATE {self.target(part)} SET {sets}{self.function.also}"
            f" FROM (VALUES {values}) AS given ({', '.join(names)}) WHERE {' AND '.join(same)} AND {self.step.guard}"
            f" RETURNING {', '.join(f'{table}.{column}::text' for column in key)}"
        )
        return [list(row) for row in fetch(self.connection, sql)]


def rows_of(connection: BaseDatabaseWrapper, step: Backfill, apps: Apps | None) -> Rows:
    if step.function is None:
        return Rows(connection, step)
    return ComputedRows(connection, step, _model(connection, step.function, apps))


def _resolve(function: RowFunction, model: type[Model]) -> Callable[..., Any]:
    try:
        return resolve_name(function.path)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        what = f"{model._meta.label}.{function.field}" if function.field else model._meta.label
        raise StepFailed(
            f"The function {function.path} that computes {what} can't be imported: "
            f"{error}. Bring it back, at least until this has run, and run the same command again."
        ) from error


def _model(connection: BaseDatabaseWrapper, function: RowFunction, apps: Apps | None) -> type[Model]:
    """The model as it was in the migration that left this step; the present one if that has been pruned."""
    if apps:
        return apps.get_model(function.app_label, function.model)
    loader = MigrationLoader(connection)
    node = (function.app_label, function.migration)
    if node in loader.graph.nodes:
        return loader.project_state(node).apps.get_model(function.app_label, function.model)
    return current_apps.get_model(function.app_label, function.model)
