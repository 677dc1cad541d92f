"""One look at one database, which the sources of lines share."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from ...hooks.kept_triggers import Lost, counted_on, lost
from ...postgres.names import Name
from ...running.session import Session
from ...typed import applied_state


class Inspection:
    """One look at one database: what the sources ask, and what they could not find out."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        *,
        labels: Collection[str] = (),
        tables: Collection[Name] | None = None,
        older_than: timedelta | None = None,
        state: ProjectState | None = None,
    ) -> None:
        """`tables` limits it to these; `state` is that of what is applied, where it is known already."""
        self.connection, self.session = connection, Session(connection)
        self.labels, self.tables, self.older_than = labels, tables, older_than
        self._state = state
        self.notes: list[str] = []
        self.compared = 0  # tables

    @cached_property
    def executor(self) -> MigrationExecutor:
        return MigrationExecutor(self.connection)

    @property
    def loader(self) -> Any:
        return self.executor.loader

    @property
    def is_whole(self) -> bool:
        """Is it about the whole database, not about some of its tables?"""
        return not self.labels and self.tables is None

    @cached_property
    def state(self) -> ProjectState:
        return self._state or applied_state(self.executor)

    @property
    def apps(self) -> Collection[str]:
        """Labels of the apps to look at; an app without migrations is left out."""
        return self.labels or {label for label, _ in self.state.models} - self.state.real_apps

    def is_about(self, table: Name) -> bool:
        return self.tables is None or any(table.raw == one.raw for one in self.tables)

    def applied(self) -> Iterator[Migration]:
        """The migrations that are applied, and that this code has."""
        nodes = self.loader.graph.nodes
        return (nodes[key] for key in nodes if key in self.loader.applied_migrations)

    def lost(self) -> list[Lost]:
        """The columns on which open contracts count, and that are gone."""
        return lost(self.connection, counted_on(self.connection, self.loader))

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
