"""Releases that have migrated a database, and which of them are connected now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.backends.base.base import BaseDatabaseWrapper

from ...contracts.marks import own_mark
from .. import facts
from ..models import KnownRelease
from .own_table import OwnTable


@admin.register(KnownRelease)
class Releases(OwnTable):
    title = "Releases"
    list_display = ("mark", "label", "sessions", "first_seen", "last_seen", "size")
    fields = ("mark", "label", "sessions", "first_seen", "last_seen", "size")
    readonly_fields = ("sessions", "size")
    ordering = ("-last_seen",)

    def headline(self, connection: BaseDatabaseWrapper) -> str:
        unknown = facts.unknown_marks(connection)
        more = f" Connected, and never migrated here: {', '.join(unknown)}." if unknown else ""
        return f"Releases that have migrated this database; the one that shows this page is {own_mark()}.{more}"

    def explain(self, connection: BaseDatabaseWrapper, rows: Sequence[Any]) -> None:
        counts = facts.connected(connection)
        for row in rows:
            row.connected = counts[row.mark]

    def details(self, connection: BaseDatabaseWrapper, row: Any) -> dict[str, Any]:
        names = [f"{app}.{name}" for app, names in sorted(row.migrations.items()) for name in names]
        return {"lists": [("The migrations that it knows", names)]}

    @admin.display(description="sessions now")
    def sessions(self, row: Any) -> int:
        return int(row.connected)

    @admin.display(description="migrations")
    def size(self, row: KnownRelease) -> int:
        return sum(map(len, row.migrations.values()))
