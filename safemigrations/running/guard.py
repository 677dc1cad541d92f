"""What protects queries from the statements of a migration that are not steps: stock operations, RunSQL, RunPython."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..plans.steps import Nothing
from ..postgres.lock import Lock
from ..typed import set_on
from . import locks
from .run import Report, is_sending

# A lock_timeout is for DDL. It would also end a data migration that waits for somebody's row, and would leave an
# INVALID index behind CONCURRENTLY.
DDL = re.compile(r"\s*(ALTER|CREATE|DROP|TRUNCATE|COMMENT|LOCK)\b(?!.*\bCONCURRENTLY\b)", re.IGNORECASE | re.DOTALL)
Result = TypeVar("Result")


class Guard:
    """Sends every DDL statement with a short lock_timeout, and decides when to try again.

    `label` names the migration in what is reported; `tables`, quoted, are those whose locks may be in the way.
    """

    def __init__(self, connection: BaseDatabaseWrapper, label: str, report: Report, tables: Sequence[str]) -> None:
        self.connection, self.label, self.report = connection, label, report
        self.tables = dict.fromkeys(tables, Lock.ACCESS_EXCLUSIVE)
        self.attempts: Iterator[locks.Attempt] | None = None  # LOCK_RETRY_FOR counts from the first failure
        self.attempt = locks.Attempt(locks.LADDER[0])

    def run(self, act: Callable[[], Result], *, atomic: bool) -> Result:
        """Do `act` under the guard. One that is atomic and lost against a lock is done again as a whole."""
        while True:
            try:
                with self.connection.execute_wrapper(self), _transactions_that_end(self.connection):
                    return act()
            except DatabaseError as error:
                if not (atomic and locks.is_retried(error)):
                    raise
            self._rest()

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
                self._rest()

    def _rest(self) -> None:
        """Rest, or wait for a long transaction to end. Raises LockNotAcquired after LOCK_RETRY_FOR seconds."""
        self.attempts = self.attempts or self._attempts()
        self.attempt = next(self.attempts)
        while self.attempt.timeout is None and any(b.is_long for b in locks.blockers(self.connection, self.tables)):
            self.attempt = next(self.attempts)
        if self.attempt.evict_autovacuum:
            # If that fails, the attempt that follows does too, and says why.
            with contextlib.suppress(DatabaseError), transaction.atomic(using=self.connection.alias):
                locks.evict_autovacuum(self.connection, locks.existing(self.connection, self.tables))

    def _attempts(self) -> Iterator[locks.Attempt]:
        step = Nothing(why=self.label, because="another operation's statement waits")
        return locks.attempts(
            self.connection, self.tables, lambda who, seconds: self.report.waiting(step, who, seconds), nowait_tries=0
        )

    @contextlib.contextmanager
    def _lock_timeout(self) -> Iterator[None]:
        """Set it for one statement. After an error in a transaction the rollback puts it back."""
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

    set_on(connection, SchemaEditorClass=SchemaEditor)
    try:
        yield
    finally:
        set_on(connection, SchemaEditorClass=stock)
