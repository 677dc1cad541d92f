"""Finds migrations whose file differs from what was applied: a database made from it would differ, too."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from ..checking.source import Source
from ..contracts.marks import own_mark
from ..contracts.releases import recorded
from ..data import Data
from ..errors import StepFailed, to_type
from ..hooks.digest import digest, is_same
from ..running.ledger import About, Direction, Entry, Outcome, entries, faked

Key = tuple[str, str]
ACCEPTED = "the file may differ from what was applied"


class Edited(Data):
    """An applied migration whose file was changed, or is gone; `do` is what to do about it."""

    app_label: str
    name: str
    found: str
    do: str

    def __str__(self) -> str:
        return f"{self.found} {self.do}"


def edited(connection: BaseDatabaseWrapper) -> Iterator[Edited]:
    """The edited and missing files of this code's apps, among migrations applied since the ledger keeps digests."""
    loader = MigrationLoader(connection)
    on_disk = loader.disk_migrations
    replaced = {(label, name) for migration in on_disk.values() for label, name in migration.replaces}
    for key, entry in _applied(connection, loader).items():
        if key in on_disk and not is_same(entry.digest, digest(on_disk[key])):
            yield _changed(connection, entry, Source.of(on_disk[key]).name)
        elif key not in on_disk and key not in replaced and _is_missed(connection, key, loader):
            yield _gone(entry)


def _applied(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> dict[Key, Entry]:
    """The last entry of each migration that is recorded as applied and has a digest."""
    kept = entries(connection, direction=Direction.FORWARDS, outcome__in=[Outcome.DONE, Outcome.FAKED])
    found = {(entry.app_label, entry.name): entry for entry in kept.exclude(digest="")}
    applied = loader.applied_migrations
    return {key: entry for key, entry in sorted(found.items(), key=lambda pair: pair[0]) if key in applied}


def _is_missed(connection: BaseDatabaseWrapper, key: Key, loader: MigrationLoader) -> bool:
    """Is it missing from an installed app, and known to no release that migrated here later?"""
    releases = recorded(connection)
    own = releases.get(own_mark())
    later = [one for one in releases.values() if own and one.first_seen > own.first_seen]
    return key[0] in loader.migrated_apps and not any(one.knows(*key) for one in later)


def _changed(connection: BaseDatabaseWrapper, entry: Entry, path: str) -> Edited:
    accept = to_type(f"safemigrations accept {entry.app_label} {entry.name}", connection.alias)
    return Edited(
        entry.app_label,
        entry.name,
        f"{path} was changed since it was applied here on {entry.started_at:%Y-%m-%d}.",
        f"Bring the file back, and write what it changes into a new migration. Where both come to the same: {accept}",
    )


def _gone(entry: Entry) -> Edited:
    return Edited(
        entry.app_label,
        entry.name,
        f"{entry} was applied here on {entry.started_at:%Y-%m-%d}, and its file is gone; no squash replaces it.",
        "Bring the file back. Where it was squashed, and the squash is applied everywhere, migrate --prune forgets it.",
    )


def accept(connection: BaseDatabaseWrapper, app_label: str, name: str) -> str:
    """Accept the edited file as equal to what was applied.

    Returns the full name of the migration. Raises as the loader does, and StepFailed where that can't be written.
    """
    migration = MigrationLoader(connection).get_migration_by_prefix(app_label, name)
    about = About(migration.app_label, migration.name, Direction.FORWARDS, ACCEPTED, digest(migration))
    writer = faked(connection, about)
    if writer.gave_up:
        raise StepFailed(
            f"{migration} wasn't accepted, because nothing can be written into {Entry._meta.db_table}: "
            f"{writer.why or 'no table of this project is in this database'}. Nothing was changed. Use the primary, "
            "and the role that migrates."
        )
    return str(migration)
