"""The migrations that a file names as its own release: one may freely change tables that another creates."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations import Migration
from django.db.migrations.operations import CreateModel

from .history import History

ATTRIBUTE = "same_release"


def created_by(migration: Migration) -> set[str]:
    return {each.name_lower for each in migration.operations if isinstance(each, CreateModel)}


def named_by(migration: Migration, history: History) -> Iterator[Migration]:
    """The migrations of the same app that a migration names as its release; names that don't exist are left out."""
    for label, name in getattr(migration, ATTRIBUTE, ()):
        key = history.resolve((label, name))
        if key and label == migration.app_label:
            yield history.migration(key)
