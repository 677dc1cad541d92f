"""What people decided about contract rows and backfills, by command or page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.backends.base.base import BaseDatabaseWrapper

from ..models import Decision
from .own_table import OwnTable


@admin.register(Decision)
class Decisions(OwnTable):
    title = "Decisions"
    list_display = ("act", "label", "of_migration", "at", "who", "reason")
    fields = ("act", "label", "of_migration", "at", "who", "database_role", "mark", "reason", "details")
    readonly_fields = ("of_migration", "who")
    search_fields = ("label", "app_label", "migration", "reason")

    def headline(self, connection: BaseDatabaseWrapper) -> str:
        return "What people decided about contract rows and backfills, here or on a terminal."

    @admin.display(description="migration", ordering="id")
    def of_migration(self, row: Decision) -> str:
        return f"{row.app_label}.{row.migration}"

    @admin.display
    def who(self, row: Any) -> str:
        return str(row.details.get("user") or row.os_user)
