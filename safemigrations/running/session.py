"""A connection on which steps run: asks it, sends to it, and tells the report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from django.apps.registry import Apps
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..postgres.values import literal
from .of_tenant import in_schema
from .run import Report, current_run
from .settings import settled


class Session:
    """A connection, the report of the run, and the models of the migration that is being applied."""

    def __init__(self, connection: BaseDatabaseWrapper, report: Report | None = None, apps: Apps | None = None) -> None:
        self.connection = connection
        self.report = report or current_run().report
        self.apps = apps
        self.waited = 0.0  # seconds, for locks, since the step that is under way began

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def send(self, sql: str) -> None:
        """Send a statement of a step."""
        self._execute(in_schema(self.connection, sql))

    def set(self, setting: str) -> None:
        self._execute(f"SET {setting}")

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def rows_after(self, statements: Sequence[str], query: str) -> list[tuple[Any, ...]]:
        """The result of the query after the statements, which are rolled back."""
        with transaction.atomic(using=self.connection.alias):
            for sql in statements:
                self._execute(sql)
            rows = self.rows(query)
            transaction.set_rollback(True, using=self.connection.alias)
        return rows

    def ready(self) -> AbstractContextManager[None]:
        """Inside the block, the session has the settings that our statements depend on."""
        return settled(self.connection)

    def settings(self, **values: int) -> AbstractContextManager[None]:
        """Inside the block, the session has these timeouts, in milliseconds; afterwards the former ones."""
        values = {**values, "transaction_timeout": 0}  # unknown before PostgreSQL 17, and left out there
        return settled(self.connection, {name: literal(str(value)) for name, value in values.items()})
