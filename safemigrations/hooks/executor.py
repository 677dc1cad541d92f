"""Applies migrations under the protection that plans have: stock operations and other apps' migrations included.

Django's executor is replaced by this one when the app is ready, so whoever drives it (migrate, a test, another
package) gets the same.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.management.commands import migrate
from django.db import DatabaseError, migrations, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, executor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..operations.base import Change, make_room
from ..plans.claims import Claim
from ..plans.steps import Statement
from ..plans.stock_claims import taken_by
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..running import locks
from ..running.run import Report, Run, current_run, is_sending, running

# A lock_timeout is for DDL. It would also end a data migration that waits for somebody's row, and would leave an
# INVALID index behind CONCURRENTLY.
DDL = re.compile(r"\s*(ALTER|CREATE|DROP|TRUNCATE|COMMENT|LOCK)\b(?!.*\bCONCURRENTLY\b)", re.IGNORECASE | re.DOTALL)
UNFINISHED = "safemigrations: the first migrate has not finished"


class MigrationExecutor(executor.MigrationExecutor):
    """Django's, with a run around it: freshness, lock protection, names that are still held."""

    def migrate(self, targets, plan=None, state=None, fake=False, fake_initial=False):  # type: ignore[no-untyped-def]
        if self.connection.vendor != "postgresql":
            return super().migrate(targets, plan, state, fake, fake_initial)
        run = current_run()
        run.fresh = self.is_fresh() and plan != []
        with running(run):
            if run.fresh:
                self._mark_unfinished()
            state = super().migrate(targets, plan, state, fake, fake_initial)
            if run.fresh:
                self._comment("NULL")
        return state

    # A first migrate that was killed left no old release behind either, so it stays the first until it is through.

    def is_fresh(self) -> bool:
        if not self.loader.applied_migrations:
            return True
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT obj_description(to_regclass('django_migrations'), 'pg_class')")
            return bool(cursor.fetchone()[0] == UNFINISHED)

    def _mark_unfinished(self) -> None:
        self.recorder.ensure_schema()
        self._comment(f"'{UNFINISHED}'")

    def _comment(self, text: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"COMMENT ON TABLE django_migrations IS {text}")

    def apply_migration(self, state, migration, fake=False, fake_initial=False):  # type: ignore[no-untyped-def]
        apply = super().apply_migration
        if fake or self.connection.vendor != "postgresql":
            return apply(state, migration, fake, fake_initial)
        run = current_run()
        run.migration = migration
        if fake_initial and self.detect_soft_applied(state, migration)[0]:
            if run.fresh:  # its tables were there, and so may be a release that uses them
                run.fresh = False
                self._comment("NULL")
            return apply(state, migration, fake, fake_initial)
        run.created.update(created_by(migration))
        with running(run), _in_one_transaction_if_possible(migration, run):
            if run.fresh:
                return apply(state, migration, fake, fake_initial)
            make_room(self.connection, run, _taken_by(migration, state), own={})

            def attempt(state: ProjectState) -> ProjectState:
                return apply(state, migration, fake, fake_initial)

            state = self._protected(migration, run.report, state, attempt)
        _record_backfills(self.connection, migration)
        return state

    def unapply_migration(self, state, migration, fake=False):  # type: ignore[no-untyped-def]
        unapply = super().unapply_migration
        if fake or self.connection.vendor != "postgresql":
            return unapply(state, migration, fake)
        run = current_run()
        run.migration = migration
        if any(getattr(operation, "reaches_others", False) for operation in migration.operations):
            state = self._with_later_ones(state, migration)
        with running(run):

            def attempt(state: ProjectState) -> ProjectState:
                # Django records it only after its transaction; a crash between the two could not be mended.
                together = (
                    transaction.atomic(using=self.connection.alias) if migration.atomic else contextlib.nullcontext()
                )
                with together:
                    return unapply(state, migration, fake)

            state = self._protected(migration, run.report, state, attempt)
        _record_backfills(self.connection, migration)
        return state

    def _with_later_ones(self, state: ProjectState, migration: Migration) -> ProjectState:
        """The state with what is applied of other apps: Django leaves out what comes later in its order of all."""
        plan = self.migration_plan(self.loader.graph.leaf_nodes(), clean_start=True)
        order = [other for other, _ in plan]
        still_applied = self.loader.applied_migrations.keys() & self.recorder.applied_migrations().keys()
        state = state.clone()
        for other in order[order.index(migration) + 1 :]:
            if (other.app_label, other.name) in still_applied:
                other.mutate_state(state, preserve=False)
        return state

    def _protected(
        self,
        migration: Migration,
        report: Report,
        state: ProjectState,
        attempt: Callable[[ProjectState], ProjectState],
    ) -> ProjectState:
        """Apply with short lock timeouts; an atomic migration that lost is done again as a whole."""
        guard = _LockGuard(self.connection, migration, report, _tables(migration, state))
        progress = self.progress_callback
        try:
            while True:
                try:
                    with self.connection.execute_wrapper(guard), _transactions_that_end(self.connection):
                        return attempt(state.clone())  # an attempt changes the state that it is given
                except DatabaseError as error:
                    if not (migration.atomic and locks.is_retried(error)):
                        raise
                guard.failed()
                self.progress_callback = _without_start(progress)
        finally:
            self.progress_callback = progress


def _record_backfills(connection: BaseDatabaseWrapper, migration: Migration) -> None:
    from ..running.backfill import (
        progress as backfills,  # with its tables; what only `migrate` needs, no `check` should load
    )

    if any(isinstance(operation, Change) for operation in migration.operations):
        backfills.record(connection, migration.app_label, migration.name)


@contextlib.contextmanager
def _transactions_that_end(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Roll back when a deferred statement fails, such as the foreign key of a new table.

    Django's schema editor sends those while it leaves its transaction, which then stays open.
    """
    stock: Any = connection.SchemaEditorClass

    class SchemaEditor(stock):  # type: ignore[misc]
        def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
            try:
                while exc_type is None and self.deferred_sql:
                    self.execute(self.deferred_sql.pop(0), None)
            except BaseException as error:
                super().__exit__(type(error), error, error.__traceback__)
                raise
            super().__exit__(exc_type, exc_value, traceback)

    connection.SchemaEditorClass = SchemaEditor
    try:
        yield
    finally:
        connection.SchemaEditorClass = stock


def _without_start(progress: Any) -> Any:
    """An attempt that is made again doesn't say once more that it begins."""

    def callback(action: str, *args: Any) -> None:
        if progress and not action.endswith("_start"):
            progress(action, *args)

    return callback


class _LockGuard:
    """Sends every DDL statement with a short lock_timeout, and decides when to try again."""

    def __init__(
        self, connection: BaseDatabaseWrapper, migration: Migration, report: Report, tables: Sequence[str]
    ) -> None:
        self.connection, self.migration, self.report = connection, migration, report
        self.tables = dict.fromkeys(tables, Lock.ACCESS_EXCLUSIVE)
        self.attempts: Iterator[locks.Attempt] | None = None  # LOCK_RETRY_FOR counts from the first failure
        self.attempt = locks.Attempt(locks.LADDER[0])

    def _attempts(self) -> Iterator[locks.Attempt]:
        step = Statement(why=f"{self.migration}", sql="", locks={})
        return locks.attempts(
            self.connection, self.tables, lambda who, seconds: self.report.waiting(step, who, seconds), nowait_tries=0
        )

    def failed(self) -> None:
        """Rest, or wait for a long transaction to end. Raises LockNotAcquired after LOCK_RETRY_FOR seconds."""
        self.attempts = self.attempts or self._attempts()
        self.attempt = next(self.attempts)
        while self.attempt.timeout is None and any(b.is_long for b in locks.blockers(self.connection, self.tables)):
            self.attempt = next(self.attempts)
        if self.attempt.evict_autovacuum:
            # If that fails, the attempt that follows does too, and says why.
            with contextlib.suppress(DatabaseError), transaction.atomic(using=self.connection.alias):
                locks.evict_autovacuum(self.connection, locks.existing(self.connection, self.tables))

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if is_sending() or not DDL.match(str(sql)):
            return execute(sql, params, many, context)
        while True:
            try:
                with self._lock_timeout():
                    return execute(sql, params, many, context)
            except DatabaseError as error:
                if self.connection.in_atomic_block or not locks.is_retried(error):
                    raise
                self.failed()

    @contextlib.contextmanager
    def _lock_timeout(self) -> Iterator[None]:
        """Set for one statement; after an error in a transaction the rollback puts it back."""
        inside = self.connection.in_atomic_block
        local = "LOCAL " if inside else ""
        seconds = self.attempt.timeout or locks.LADDER[0]
        with self.connection.connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            (before,) = cursor.fetchone()
            cursor.execute(f"SET {local}lock_timeout = {locks.milliseconds(seconds)}")
            try:
                yield
            except DatabaseError:
                if not inside and not self.connection.connection.closed:
                    cursor.execute(f"SET lock_timeout = '{before}'")
                raise
            cursor.execute(f"SET {local}lock_timeout = '{before}'")


# What a migration of stock operations touches, takes and makes.


def _operations(migration: Migration) -> Iterator[Operation]:
    for operation in migration.operations:
        nested = isinstance(operation, migrations.SeparateDatabaseAndState) and not isinstance(operation, Change)
        yield from operation.database_operations if nested else (operation,)  # type: ignore[attr-defined]


def created_by(migration: Migration) -> set[tuple[str, str]]:
    return {
        (migration.app_label, operation.name_lower)
        for operation in _operations(migration)
        if isinstance(operation, migrations.CreateModel)
    }


def _taken_by(migration: Migration, state: ProjectState) -> Iterator[Claim]:
    for operation in _operations(migration):
        if not isinstance(operation, Change):  # which says so itself
            yield from taken_by(operation, migration.app_label, state)


def _tables(migration: Migration, state: ProjectState) -> list[str]:
    """The tables whose locks may be in the way: those of the models that operations name and of their parents."""
    found: dict[str, None] = {}
    for operation in _operations(migration):
        name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
        model = state.models.get((migration.app_label, str(name).lower()))
        fields = [getattr(operation, "field", None)]
        fields += dict(operation.fields).values() if isinstance(operation, migrations.CreateModel) else []
        fields += list(model.fields.values()) if model else []
        keys = [
            (migration.app_label, str(name).lower()),
            *(_target(f, migration.app_label) for f in fields if f),
        ]
        for key in keys:
            if key and (related := state.models.get(key)):
                table = related.options.get("db_table") or "_".join(key)
                found[Name.from_django(table)] = None
    return list(found)


def _target(field: Any, app_label: str) -> tuple[str, str] | None:
    target = getattr(getattr(field, "remote_field", None), "model", None)
    if target is None:
        return None
    if not isinstance(target, str):
        return target._meta.app_label, target._meta.model_name
    label, _, name = target.rpartition(".")
    return label or app_label, name.lower()


@contextlib.contextmanager
def _in_one_transaction_if_possible(migration: Migration, run: Run) -> Iterator[None]:
    """Where only this run knows the tables, nobody has to be spared, and a transaction can't be half done."""
    atomic, operations = migration.atomic, migration.operations
    ours = any(isinstance(operation, Change) for operation in operations)
    if ours and all(_fits_a_transaction(operation, migration, run) for operation in operations):
        migration.atomic = True  # type: ignore[misc]
    try:
        yield
    finally:
        migration.atomic = atomic  # type: ignore[misc]


def _fits_a_transaction(operation: Operation, migration: Migration, run: Run) -> bool:
    from django.contrib.postgres.operations import NotInTransactionMixin  # loads psycopg, which `check` doesn't need

    if isinstance(operation, Change):
        return operation.stock_when_alone and run.is_alone(migration.app_label, operation.model_name)
    if migration.replaces and not isinstance(operation, NotInTransactionMixin):
        return True  # it was squashmigrations that put our operations beside this one
    stock = type(operation).__module__.startswith("django.db.migrations.operations")
    special = migrations.RunPython | migrations.RunSQL | migrations.SeparateDatabaseAndState | NotInTransactionMixin
    return stock and not isinstance(operation, special)


def install() -> None:
    """Put our executor in the place of Django's."""
    executor.MigrationExecutor = MigrationExecutor  # type: ignore[misc]
    migrate.MigrationExecutor = MigrationExecutor  # type: ignore[attr-defined]


# Two runs at once.

LOCK_KEY = 7_283_946_510_022  # of the advisory lock; any constant that nobody else uses
POLL = 0.2  # seconds


@contextlib.contextmanager
def one_at_a_time(connection: BaseDatabaseWrapper, waiting: Callable[[int | None], Any]) -> Iterator[None]:
    """Let one run work on this database; `waiting` is told the pid of the other, once.

    Polled: a session that waits for an advisory lock holds a snapshot, and CREATE INDEX CONCURRENTLY of the run that
    it waits for would wait for that snapshot.
    """
    if connection.vendor != "postgresql":
        yield
        return
    told = False
    while not _value(connection, f"SELECT pg_try_advisory_lock({LOCK_KEY})"):
        if not told:
            waiting(_value(connection, _HOLDER))
            told = True
        time.sleep(POLL)
    try:
        yield
    finally:
        if connection.is_usable():
            _value(connection, f"SELECT pg_advisory_unlock({LOCK_KEY})")


_HOLDER = (
    "SELECT max(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    f" AND classid = {LOCK_KEY >> 32} AND objid = {LOCK_KEY & 0xFFFFFFFF}"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def _value(connection: BaseDatabaseWrapper, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]
