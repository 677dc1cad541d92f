"""The migrations of one release that a file names: what one of them makes, the other may change as it likes."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations import Migration
from django.db.migrations.operations import CreateModel

from .history import History

ATTRIBUTE = "same_release"


def created_by(migration: Migration) -> set[str]:
    return {each.name_lower for each in migration.operations if isinstance(each, CreateModel)}


def named_by(migration: Migration, history: History) -> Iterator[Migration]:
    """Of its own app, as a migration changes no table of another; one that doesn't exist is nobody's release."""
    for label, name in getattr(migration, ATTRIBUTE, ()):
        key = history.resolve((label, name))
        if key and label == migration.app_label:
            yield history.migration(key)
