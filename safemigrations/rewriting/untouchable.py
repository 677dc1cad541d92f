"""Finds the files that may not be rewritten, because somebody may have applied them as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from django.db import DatabaseError, connections
from django.db.migrations import Migration
from django.db.migrations.recorder import MigrationRecorder

from ..checking import branch
from ..checking.history import Key
from ..checking.source import Source
from ..data import Data
from ..typed import is_configured


class Untouchable(Data):
    """Where migrations are applied, as far as is known. `unasked`: databases that could not be asked, and why."""

    applied: dict[Key, str]  # the alias of a database that has it
    ref: str  # the branch that others have
    at_ref: set[Path]
    unasked: list[str]

    def why(self, migration: Migration) -> str:
        """Empty where the file may be changed."""
        key = (migration.app_label, migration.name)
        if migration.replaces:
            return "it is a squashed one, and its parts may be applied"
        if key in self.applied:
            return f'it is applied in the database "{self.applied[key]}"'
        if Source.of(migration).path.resolve() in self.at_ref:
            return f"it is on {self.ref} already, so somebody may have applied it"
        return ""


def look(since: str = "") -> Untouchable:
    """Asks every database that can be reached, and git what the branch has in common with `since`."""
    applied, unasked = dict[Key, str](), list[str]()
    for alias in connections:
        if not is_configured(connections[alias]):
            continue
        try:
            found: Iterable[Key] = MigrationRecorder(connections[alias]).applied_migrations()
        except DatabaseError as error:
            unasked.append(f'The database "{alias}" could not be asked: {str(error).strip().splitlines()[0]}')
        else:
            applied = dict.fromkeys(found, alias) | applied
    ref = since or branch.default_branch()
    return Untouchable(applied, ref, set(_files(ref)), unasked)


def _files(ref: str) -> Iterator[Path]:
    yield from branch.files_at(branch.left(ref)) if ref else ()
