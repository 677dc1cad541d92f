"""What each migration did: when it ran, how long it took, and how long it waited for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db.backends.base.base import BaseDatabaseWrapper

from ...inspecting import amounts
from ...inspecting.history import BRIEF
from .. import facts
from ..models import PastRun
from .own_table import DatabaseFilter, OwnTable


@admin.register(PastRun)
class PastRuns(OwnTable):
    title = "History"
    list_display = ("of_migration", "direction", "outcome", "started_at", "took", "waited", "mark")
    list_filter: ClassVar[Any] = ("direction", "outcome", DatabaseFilter)
    fields = ("of_migration", "direction", "outcome", "error", "started_at", "took", "waited", "mark", "role")
    readonly_fields = ("of_migration", "took", "waited")
    search_fields = ("app_label", "name", "label", "error")
    ordering = ("-started_at",)

    def headline(self, connection: BaseDatabaseWrapper) -> str:
        return "What migrations, contracts and backfills did on this database. Each has its steps."

    def title_of(self, row: Any) -> str:
        return self.of_migration(row)

    def explain(self, connection: BaseDatabaseWrapper, rows: Sequence[Any]) -> None:
        seconds = facts.waited(connection, rows)
        for row in rows:
            row.waiting = self._shown(seconds[row.pk]) if seconds[row.pk] >= BRIEF else ""

    def details(self, connection: BaseDatabaseWrapper, row: Any) -> dict[str, Any]:
        return {"lists": [("Steps", facts.steps_told(connection, row))]}

    @admin.display(description="migration", ordering="name")
    def of_migration(self, row: PastRun) -> str:
        return f"{row}  {row.label}" if row.label else str(row)

    @admin.display
    def took(self, row: PastRun) -> str:
        """Empty for what is running, or was killed."""
        return self._shown((row.ended_at - row.started_at).total_seconds()) if row.ended_at else ""

    @admin.display
    def waited(self, row: Any) -> str:
        return str(row.waiting)

    def _shown(self, seconds: float) -> str:
        return str(amounts.seconds(seconds))
