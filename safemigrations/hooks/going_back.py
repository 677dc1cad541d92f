"""Finds the way back to a release: the migrations that the release doesn't know are unapplied, the latest first.

It is found out completely before the first statement. So what can't be gone back over is said while nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from ..contracts import loaded
from ..contracts.on_disk import Key
from ..contracts.releases import Release, recorded
from ..contracts.table import HOLDING, Contract
from ..data import Data
from ..errors import to_type
from .executor import MigrationExecutor


class WayBack(Data):
    """The migrations to unapply to get the database of a release."""

    release: Release
    migrations: tuple[Migration, ...]  # the latest first

    @property
    def plan(self) -> list[tuple[Migration, bool]]:
        return [(migration, True) for migration in self.migrations]


def way_back(executor: MigrationExecutor, release: Release) -> WayBack:
    """The way back to a release. Raises CommandError if there is none."""
    applied = executor.loader.applied_migrations
    _refuse_unknown(executor, release)
    order = [
        migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    ]
    going = [migration for migration in order if _key(migration) in applied and not _known(migration, release)]
    _refuse_what_others_need(executor, release, going)
    _refuse_irreversible(going)
    _refuse_contracted(executor.connection, release, going)
    return WayBack(release, tuple(reversed(going)))


# Which release.


def release_called(connection: BaseDatabaseWrapper, name: str) -> Release:
    """The release with this mark, or with this label, which the team gave it."""
    releases = recorded(connection)
    found = [release for release in releases.values() if name in (release.mark, release.label)]
    if len(found) > 1:
        raise CommandError(f"{len(found)} releases are called {name}. Say which one, by its mark:\n{_listed(found)}")
    if not found:
        raise CommandError(f"No release {name} has migrated database {connection.alias}.{_those_known(releases)}")
    return found[0]


def release_before_contract(connection: BaseDatabaseWrapper) -> Release:
    """The latest release that knows none of the migrations whose contract is open."""
    left, releases = list(loaded().queue.rows(connection, status__in=HOLDING)), recorded(connection)
    if not left:
        raise CommandError(
            f"Nothing is left for the contract in database {connection.alias}, so no release is before it. These "
            f"releases have migrated it:\n{_listed(releases.values())}\n"
            f"Name one: {to_type('migrate --to-release MARK', connection.alias)}"
        )
    for release in sorted(releases.values(), key=lambda release: release.first_seen, reverse=True):
        if not any(release.knows(row.app_label, row.migration) for row in left):
            return release
    raise CommandError(
        f"No release that has migrated database {connection.alias} is from before {left[0].app_label}."
        f"{left[0].migration}.{_those_known(releases)}\n"
        f"To unapply it alone: {to_type('migrate APP MIGRATION', connection.alias)}, with the migration before it."
    )


def _those_known(releases: dict[str, Release]) -> str:
    return f" These have:\n{_listed(releases.values())}" if releases else " None has that is known."


def _listed(releases: Iterable[Release]) -> str:
    return "\n".join(f"  {release}, first seen {release.first_seen:%Y-%m-%d %H:%M}" for release in releases)


# What stands in the way.


def _key(migration: Migration) -> Key:
    return migration.app_label, migration.name


def _known(migration: Migration, release: Release) -> bool:
    """Does the release know the migration? It knows a squash if it has all that the squash replaces."""
    if release.knows(*_key(migration)):
        return True
    known = [release.knows(*key) for key in migration.replaces]
    if any(known) and not all(known):
        raise CommandError(
            f"{migration} was squashed from migrations of which {release} has only some, so it can't be unapplied "
            "in part. Do it with the code from before the squash."
        )
    return any(known)


def _refuse_unknown(executor: MigrationExecutor, release: Release) -> None:
    disk = executor.loader.disk_migrations
    here = {*disk, *(key for migration in disk.values() for key in migration.replaces)}
    recorded_here = executor.recorder.applied_migrations()
    unknown = [key for key in recorded_here if key not in here and not release.knows(*key)]
    # Apps that were uninstalled leave their migrations applied for ever.
    installed = {label for label, _ in here}
    lost = sorted(f"{label}.{name}" for label, name in unknown if label in installed)
    if lost:
        raise CommandError(
            f"{', '.join(lost)}: applied, unknown to {release}, and unknown to this code too. Nothing was changed. "
            "Go back with the code of the newest release."
        )


def _refuse_what_others_need(executor: MigrationExecutor, release: Release, going: Sequence[Migration]) -> None:
    graph, gone = executor.loader.graph, {_key(migration) for migration in going}
    for key in sorted(gone):
        for needy in sorted(child.key for child in graph.node_map[key].children):
            if needy in executor.loader.applied_migrations and needy not in gone:
                raise CommandError(
                    f"{release} knows {'.'.join(needy)}, which needs {'.'.join(key)} today, and that it doesn't know. "
                    "Nothing was changed. Go back app by app: "
                    f"{to_type('migrate APP MIGRATION', executor.connection.alias)}"
                )


def _refuse_irreversible(going: Sequence[Migration]) -> None:
    stuck = [
        f"{migration}  {operation.describe()}"
        for migration in going
        for operation in migration.operations
        if not operation.reversible
    ]
    if stuck:
        raise CommandError("These have no way back, and nothing was changed:\n  " + "\n  ".join(stuck))


def _refuse_contracted(connection: BaseDatabaseWrapper, release: Release, going: Sequence[Migration]) -> None:
    """Refuse if a contract has run: what it dropped comes back without values, so nobody should do that in passing."""
    keys = {key for migration in going for key in (_key(migration), *migration.replaces)}
    rows = [row for row in loaded().queue.rows(connection) if row.is_begun and (row.app_label, row.migration) in keys]
    if rows:
        raise CommandError(
            f"The contract has run, so {release} can't be gone back to without a loss. Nothing was changed. "
            f"These rows have run:\n{_rows(rows)}\n"
            "A new release that goes forward is nearly always better. What reversing one of them does: "
            f"{to_type('sqlmigrate APP MIGRATION --backwards', connection.alias)}"
        )


def _rows(rows: Iterable[Contract]) -> str:
    return "\n".join(f"  {row.pk:>4}  {row.status:<7}  {row}" for row in rows)
