"""The batch loop: short transactions over ranges of the primary key.

A transaction of its own for each batch, with a lock timeout below deadlock_timeout: rows are locked for about
BACKFILL_BATCH_SECONDS, and in a deadlock with a request it is always the batch that gives way. The guard of a step
makes a batch idempotent, so a run that was killed starts over and passes quickly over what is filled. Rows beyond
the largest key at the start are the trigger's or the default's business.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from pkgutil import resolve_name
from typing import Any

from django.apps import apps as current_apps
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from safemigrations import conf, locks
from safemigrations.runner import Runner, StepFailed
from safemigrations.steps import Backfill, RowFunction

_Writer = Callable[[list[tuple[Any, ...]]], str]

REPORT_EVERY = 10.0  # seconds
TRIES_IN_VAIN = 100  # at rows that change between being read and being written
SMALLEST, LARGEST = 1, 50_000  # rows in a batch


def fill(runner: Runner, step: Backfill) -> str:
    """Fill every row that the guard selects, and return the count and rate as text."""
    connection = runner.connection
    batch = _by_function(runner, step, step.function) if step.function else _by_sql(connection, step)
    rows, began, told = 0, time.monotonic(), time.monotonic()
    for where in _ranges(connection, step):
        rows += batch(where)
        if time.monotonic() - told > REPORT_EVERY:
            told = time.monotonic()
            runner.report.progress(step, f"{rows:,} rows, {rows / (told - began):,.0f} rows/s")
    took = time.monotonic() - began
    return f"{rows:,} rows, {rows / took:,.0f} rows/s" if rows else "no row to fill"


class _Size:
    """How many rows the next batch has: it aims at BACKFILL_BATCH_SECONDS."""

    def __init__(self) -> None:
        self.rows = conf.backfill_batch_size()

    def took(self, seconds: float) -> None:
        factor = min(1.2, conf.backfill_batch_seconds() / max(seconds, 0.001))
        self.rows = max(SMALLEST, min(LARGEST, round(self.rows * factor)))


def _ranges(connection: BaseDatabaseWrapper, step: Backfill) -> Iterator[str]:
    """Conditions that select one batch after the other, up to the largest key there is now."""
    keys = ", ".join(step.key)
    last = _key(connection, f"SELECT {keys} FROM {step.table} ORDER BY {_descending(step.key)} LIMIT 1")
    size, after = _Size(), ""
    while last:
        query = f"SELECT {keys} FROM {step.table} WHERE ({keys}) <= {last}{after}"
        bound = _key(connection, f"{query} ORDER BY {keys} OFFSET {size.rows - 1} LIMIT 1") or last
        began = time.monotonic()
        yield f"({keys}) <= {bound}{after}"
        size.took(time.monotonic() - began)
        if bound == last:
            return
        after = f" AND ({keys}) > {bound}"


def _descending(key: tuple[str, ...]) -> str:
    return ", ".join(f"{column} DESC" for column in key)


def _key(connection: BaseDatabaseWrapper, query: str) -> str:
    """The row of key values that a query finds, as a row of literals; empty when it finds none."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return _literals(connection, row) if row else ""


def _literals(connection: BaseDatabaseWrapper, values: tuple[Any, ...]) -> str:
    places = ", ".join(["%s"] * len(values))
    return str(connection.ops.compose_sql(f"({places})", values))  # type: ignore[attr-defined]


def _patiently(connection: BaseDatabaseWrapper, work: Callable[[], int]) -> int:
    """A batch in a transaction, again and again while somebody else holds its rows."""
    deadline = time.monotonic() + conf.lock_retry_for()
    patience = min(conf.lock_timeout(), locks.deadlock_timeout(connection) / 2)
    while True:
        try:
            with transaction.atomic(using=connection.alias):
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = {locks.milliseconds(patience)}")
                    cursor.execute("SET LOCAL statement_timeout = 0")
                return work()
        except DatabaseError as error:
            if not locks.is_retried(error):
                raise
            if time.monotonic() > deadline:
                raise locks.LockNotAcquired(
                    f"Rows stayed locked by another transaction for {conf.lock_retry_for():.0f} s. What was filled "
                    "stays filled. End that transaction and run the same command again."
                ) from error
            time.sleep(random.uniform(0.05, 0.5))


def _by_sql(connection: BaseDatabaseWrapper, step: Backfill) -> Callable[[str], int]:
    def batch(where: str) -> int:
        def work() -> int:
            with connection.cursor() as cursor:
                cursor.execute(f"UPDATE {step.table} SET {step.assign} WHERE {where} AND {step.guard}")
                return int(cursor.rowcount)

        return _patiently(connection, work)

    return batch


def _by_function(runner: Runner, step: Backfill, function: RowFunction) -> Callable[[str], int]:
    connection = runner.connection
    model = _model(runner, function)
    field = model._meta.get_field(function.field)
    compute = _resolve(function, model) if function.path else field.get_default  # type: ignore[union-attr]
    name = function.path or f"The default of {function.field}"
    keys = ", ".join(step.key)
    write = _writer(connection, step, function, model)

    def value_of(instance: Model) -> Any:
        try:
            value = compute(instance) if function.takes_row else compute()  # type: ignore[call-arg]
        except Exception as error:
            raise StepFailed(
                f"{name} failed for {model._meta.label} {instance.pk!r}: {error!r}. Rows that are "
                "filled stay filled. Mend the function and run the same command again."
            ) from error
        prepared = field.get_db_prep_save(getattr(value, "pk", value), connection)  # type: ignore[union-attr]
        if prepared is None and not field.null:
            raise StepFailed(
                f"{name} gave None for {model._meta.label} {instance.pk!r}, and {function.field} can't be "
                "null. Mend the function and run the same command again; rows that are filled stay filled."
            )
        return prepared

    def batch(where: str) -> int:
        """Python computes while no row is locked; a row that changed meanwhile is computed again."""
        filled = in_vain = 0
        while versions := read(where):
            instances = instances_of(list(versions)) if function.takes_row else [model(pk=key) for key in versions]
            values = [(*_tuple(row.pk), versions[row.pk], value_of(row)) for row in instances]
            if not values:  # all of them deleted meanwhile
                break
            written = _patiently(connection, lambda values=values: send(write(values)))  # type: ignore[misc]
            filled, in_vain = filled + written, 0 if written else in_vain + 1
            if in_vain > TRIES_IN_VAIN:
                raise StepFailed(
                    f"{len(values)} rows of {model._meta.label} can't be given their {function.field}, the first of "
                    f"them {values[0][0]!r}: they change all the time, or a trigger keeps them from being written."
                )
        return filled

    def read(where: str) -> dict[Any, str]:
        """The keys of the rows to fill, each with the version of the row."""
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {keys}, xmin::text FROM {step.table} WHERE {where} AND {step.guard}")
            return {row[0] if len(row) == 2 else tuple(row[:-1]): row[-1] for row in cursor.fetchall()}

    def instances_of(found: list[Any]) -> Iterable[Model]:
        return model._base_manager.using(connection.alias).filter(pk__in=found)

    def send(sql: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    return batch


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _writer(connection: BaseDatabaseWrapper, step: Backfill, function: RowFunction, model: type[Model]) -> _Writer:
    """One UPDATE for all the values of a batch. Literals lose their types in VALUES, so each is cast."""
    pk, field = model._meta.pk, model._meta.get_field(function.field)
    columns = [*(getattr(pk, "fields", None) or [pk]), field]
    names = [*(f"key{number}" for number in range(len(columns) - 1)), "version", "value"]
    types = [*(column.rel_db_type(connection) for column in columns[:-1]), "text", field.db_type(connection)]
    typed = [f"CAST(given.{name} AS {type})" for name, type in zip(names, types, strict=True)]
    identity = zip((*step.key, "xmin::text"), typed[:-1], strict=True)
    same = " AND ".join(f"{step.table}.{column} = {value}" for column, value in identity)

    def write(rows: list[tuple[Any, ...]]) -> str:
        places = ", ".join([f"({', '.join(['%s'] * len(names))})"] * len(rows))
        values = connection.ops.compose_sql(places, [value for row in rows for value in row])  # type: ignore[attr-defined]
        return (
            f"UPDATE {step.table} SET {function.column} = {typed[-1]}{function.also}"
            f" FROM (VALUES {values}) AS given ({', '.join(names)}) WHERE {same} AND {step.guard}"
        )

    return write


def _resolve(function: RowFunction, model: type[Model]) -> Callable[..., Any]:
    try:
        return resolve_name(function.path)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise StepFailed(
            f"The function {function.path} that computes {model._meta.label}.{function.field} can't be imported: "
            f"{error}. Bring it back, at least until this has run, and run the same command again."
        ) from error


def _model(runner: Runner, function: RowFunction) -> type[Model]:
    """The model as it was in the migration that left this step; the present one if that has been pruned."""
    if runner.apps:
        return runner.apps.get_model(function.app_label, function.model)
    loader = MigrationLoader(runner.connection)
    node = (function.app_label, function.migration)
    if node in loader.graph.nodes:
        return loader.project_state(node).apps.get_model(function.app_label, function.model)
    return current_apps.get_model(function.app_label, function.model)
