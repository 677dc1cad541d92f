"""The migrations in the order of the graph, and which of them are checked.

With BASELINE: what comes after it. Without: what comes after the first migration that knows safemigrations, because a
project that has just added the app must go on working.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from ..data import Data
from .in_words import in_words, own_replacement
from .source import Source

Key = tuple[str, str]
OURS = "safemigrations"  # in the file of a migration that makemigrations wrote, or that uses an operation of ours


class History:
    """The graph of the project's migrations, read from the files alone."""

    def __init__(self) -> None:
        with in_words():
            self.loader = MigrationLoader(None, ignore_no_migrations=True)
        if broken := own_replacement(self.loader.disk_migrations):
            raise broken
        self.order = list(self._in_order())

    def _in_order(self) -> Iterator[Key]:
        seen: dict[Key, None] = {}
        for leaf in sorted(self.loader.graph.leaf_nodes()):
            seen.update(dict.fromkeys(self.loader.graph.forwards_plan(leaf)))
        return iter(seen)

    def migration(self, key: Key) -> Migration:
        found: Migration = self.loader.graph.nodes[key]
        return found

    def resolve(self, key: Key) -> Key | None:
        """A migration, or the squashed one that took its place."""
        if key in self.loader.graph.nodes:
            return key
        return next((other for other, squashed in self.loader.replacements.items() if key in squashed.replaces), None)

    def needed_by(self, baseline: Iterable[Key]) -> set[Key]:
        """The migrations of a baseline, and the migrations of the same app that they depend on."""
        needed: set[Key] = set()
        for label, name in baseline:
            if (label, name) not in needed and (key := self.resolve((label, name))):
                needed.update(other for other in self.loader.graph.forwards_plan(key) if other[0] == label)
        return needed

    def before_ours(self, labels: Iterable[str]) -> set[Key]:
        """The migrations of these apps that don't use safemigrations and don't depend on one that does."""
        after: set[Key] = set()
        for key in self.order:
            parents = {parent.key for parent in self.loader.graph.node_map[key].parents}
            if parents & after or OURS in Source.of(self.migration(key)).text:
                after.add(key)
        return {key for key in self.order if key[0] in labels and key not in after}

    def several_leaves(self, labels: Iterable[str]) -> dict[str, list[str]]:
        leaves: dict[str, list[str]] = {}
        for label, name in sorted(self.loader.graph.leaf_nodes()):
            if label in labels:
                leaves.setdefault(label, []).append(name)
        return {label: names for label, names in leaves.items() if len(names) > 1}


class Checked(Data):
    """Which migrations are checked, and which of them are only counted."""

    exempt: set[Key]
    older: set[Key]
    files: set[Path] | None = None  # only these, whatever the baseline says of the others

    def is_read(self, key: Key, migration: Migration) -> bool:
        if self.files is not None and Source.of(migration).path.resolve() not in self.files:
            return False
        return key not in self.exempt
