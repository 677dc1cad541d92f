"""Protects queries from the statements of a migration that aren't steps: stock operations, RunSQL, RunPython."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ... import conf
from ...errors import LockNotAcquired
from ...plans.steps import Nothing
from ...postgres.lock import Lock
from ...postgres.names import Name
from ...postgres.statements import as_text, ends_transactions, may_wait_for_a_table, names_in, shortened
from ...typed import set_on
from ..run import Report, is_sending, sending
from ..transactions import Waits
from . import locks
from .blockers import blockers
from .patience import Attempt

A_MOMENT = 0.005  # seconds; a statement that isn't LOCK knows no NOWAIT
IS_WAITED_FOR = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
)
TABLES_AMONG = """SELECT DISTINCT c.relname, CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname END
    FROM unnest(%s::text[]) AS name
    JOIN pg_class c ON c.oid = to_regclass(name)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname <> 'pg_catalog'"""
Result = TypeVar("Result")


class Guard:
    """Sends every statement that may wait for a table with a short lock_timeout, and decides when to try again.

    `label` names the migration in what is reported; `tables`, quoted, are those whose locks may be in the way.
    """

    def __init__(self, connection: BaseDatabaseWrapper, label: str, report: Report, tables: Sequence[str]) -> None:
        self.connection, self.label, self.report = connection, label, report
        self.tables = dict.fromkeys(tables, Lock.ACCESS_EXCLUSIVE)
        self.attempts: Iterator[Attempt] | None = None  # of the migration as a whole
        self.attempt = Attempt(None)
        self.sent = ""  # the statement that was sent last

    def run(self, act: Callable[[], Result], *, atomic: bool) -> Result:
        """Do `act` under the guard. One that is atomic and lost against a lock is done again as a whole.

        Raises LockNotAcquired after LOCK_RETRY_FOR seconds, and where a statement can't be tried again.
        """
        while True:
            try:
                with self.connection.execute_wrapper(self), _transactions_that_end(self.connection):
                    return act()
            except DatabaseError as error:
                if not locks.is_retried(error):
                    raise
                if not atomic:
                    raise LockNotAcquired(self._lost(error)) from error
            self._rest()

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = as_text(sql, self.connection)
        if is_sending() or not may_wait_for_a_table(text):
            return execute(sql, params, many, context)
        self.sent = text
        repeatable = not ends_transactions(text)
        attempt = self.attempt if repeatable else self._when_nobody_is_there(text)
        attempts: Iterator[Attempt] | None = None
        while True:
            try:
                with self._savepoint(repeatable), self._lock_timeout(attempt):
                    return execute(sql, params, many, context)
            except DatabaseError as error:
                if not (repeatable and self._may_send_again(error)):
                    raise
            tables = self._tables_of(text)
            attempts = attempts or self._attempts(tables)
            attempt = next(attempts)
            self._evict_autovacuum(attempt, tables)

    # One statement is sent again outside of a transaction, and within one as long as nobody waits for that.

    def _may_send_again(self, error: DatabaseError) -> bool:
        if not self.connection.in_atomic_block:
            return locks.is_retried(error)
        return locks.sqlstate(error) == locks.LOCK_NOT_AVAILABLE and not self._asked(IS_WAITED_FOR)[0][0]

    @contextlib.contextmanager
    def _savepoint(self, repeatable: bool) -> Iterator[None]:
        """A savepoint, so that a lock that wasn't free doesn't end the transaction."""
        if repeatable and self.connection.in_atomic_block:
            with transaction.atomic(using=self.connection.alias):
                yield
        else:
            yield

    def _when_nobody_is_there(self, text: str) -> Attempt:
        """The one try of what begins or ends a transaction itself, and so can't be sent again.

        Where somebody always is, it comes when a place in the queue is worth it.
        """
        tables = self._tables_of(text)
        for attempt in self._attempts(tables):
            if attempt.timeout or not blockers(self.connection, tables):
                break
        return Attempt(conf.lock_timeout())

    def _tables_of(self, text: str) -> dict[str, Lock]:
        """The tables of the migration, and the tables that the statement names."""
        mentioned = [Name.of(*row) for row in self._asked(TABLES_AMONG, [names_in(text)])]
        return {**dict.fromkeys(mentioned, Lock.ACCESS_EXCLUSIVE), **self.tables}

    def _asked(self, query: str, params: Sequence[Any] = ()) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, params)
            return list(cursor.fetchall())

    def _rest(self) -> None:
        """Rest, or wait until a long transaction ends. Raises LockNotAcquired after LOCK_RETRY_FOR seconds."""
        self.attempts = self.attempts or self._attempts(self.tables)
        self.attempt = next(self.attempts)
        while self.attempt.timeout is None and any(b.is_long for b in blockers(self.connection, self.tables)):
            self.attempt = next(self.attempts)
        self._evict_autovacuum(self.attempt, self.tables)

    def _attempts(self, tables: Mapping[str, Lock]) -> Iterator[Attempt]:
        """The tries after one that failed."""
        waits = Waits(Nothing(why=self.label, because="another operation's statement waits"), self.report)
        tries = locks.attempts(self.connection, tables, waits, waits.grew)
        next(tries)
        return tries

    def _evict_autovacuum(self, attempt: Attempt, tables: Mapping[str, Lock]) -> None:
        if attempt.evict_autovacuum:
            # If that fails, the attempt that follows does too, and says why.
            with contextlib.suppress(DatabaseError), sending(), transaction.atomic(using=self.connection.alias):
                locks.evict_autovacuum(self.connection, locks.existing(self.connection, tables))

    @contextlib.contextmanager
    def _lock_timeout(self, attempt: Attempt) -> Iterator[None]:
        """Set the timeout for one statement; after an error in a transaction the rollback restores the old one."""
        inside = self.connection.in_atomic_block
        local = "LOCAL " if inside else ""
        with self.connection.wrap_database_errors, self.connection.connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            (before,) = cursor.fetchone()
            cursor.execute(f"SET {local}lock_timeout = {locks.milliseconds(attempt.timeout or A_MOMENT)}")
            try:
                yield
            except DatabaseError:
                if not inside and not self.connection.connection.closed:
                    self.connection.connection.rollback()  # of a transaction that the statement has begun
                    cursor.execute(f"SET lock_timeout = '{before}'")
                raise
            cursor.execute(f"SET {local}lock_timeout = '{before}'")

    def _lost(self, error: DatabaseError) -> str:
        return (
            f"{self.label}: {shortened(self.sent)}\ndid not get its lock ({str(error).strip()}), and can't be tried "
            "again from here: it stands in a transaction of its own, in a migration that isn't atomic. What was done "
            "before that transaction stays. Run the same command again; or leave the transaction to Django, which "
            "begins one for a migration that is atomic."
        )


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
