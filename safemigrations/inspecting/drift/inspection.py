"""One look at one database, which the sources of lines share."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from ...postgres.names import Name
from ...running.session import Session
from ...typed import applied_state


class Inspection:
    """One look at one database: what the sources ask, and what they couldn't find out."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        *,
        labels: Collection[str] = (),
        tables: Collection[Name] | None = None,
        older_than: timedelta | None = None,
    ) -> None:
        self.connection, self.session = connection, Session(connection)
        self.labels, self.tables, self.older_than = labels, tables, older_than
        self.executor = MigrationExecutor(connection)
        self.notes: list[str] = []
        self.compared = 0  # tables

    @property
    def loader(self) -> Any:
        return self.executor.loader

    @property
    def is_whole(self) -> bool:
        """Is it about the database, and not about some of its tables?"""
        return not self.labels and self.tables is None

    def state(self) -> ProjectState:
        return applied_state(self.executor)

    def applied(self) -> Iterator[Migration]:
        """The migrations that are applied, and that this code has."""
        nodes = self.loader.graph.nodes
        return (nodes[key] for key in nodes if key in self.loader.applied_migrations)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
