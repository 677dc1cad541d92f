"""The gate of the way back: nothing is unapplied under a release that needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.recorder import MigrationRecorder

from safemigrations import conf
from safemigrations.contracts.marks import own_mark
from safemigrations.contracts.releases import Release, names_known_to, recorded
from safemigrations.contracts.sessions import Seen, watch
from safemigrations.errors import NotNow
from safemigrations.running.one_at_a_time import OWN, holders_of


def refuse_while_needed(connection: BaseDatabaseWrapper, going: Sequence[Migration], *, watch_for: float = 0) -> None:
    """Raise NotNow while sessions are there whose release has one of these migrations; `watch_for` so many seconds."""
    if not going or connection.vendor != "postgresql":
        return
    releases = recorded(connection)
    ours = sessions_of_this_command(connection)

    def needing(seen: Iterable[Seen]) -> list[Seen]:
        return [one for one in seen if one.pid not in ours and _needs(one, releases, going)]

    found = needing(watch(connection, watch_for, lambda seen: bool(needing(seen))))
    if found:
        names = ", ".join(str(migration) for migration in going)
        raise NotNow(
            f"sessions of a release that needs what would be unapplied ({names}):\n{listed(found, releases)}\n"
            "Nothing was changed. When they have gone, run the same command again. --force goes on without waiting."
        )


def refuse_under_newer(connection: BaseDatabaseWrapper, going: Sequence[Migration]) -> None:
    """Raise CommandError where a release has applied more than this code knows: that may depend on what would go."""
    if not going or connection.vendor != "postgresql":
        return
    releases, known = recorded(connection), names_known_to(connection)
    for key in sorted(MigrationRecorder(connection).applied_migrations().keys() - known):
        newer = next((release for release in reversed(releases.values()) if release.knows(*key)), None)
        if newer:
            names = ", ".join(str(migration) for migration in going)
            raise CommandError(
                f"{'.'.join(key)} is applied, which this code doesn't know, and may need what would be unapplied "
                f"({names}). Nothing was changed. Go back with the code of {newer}, or a later one. "
                "--force goes on all the same."
            )


def _needs(session: Seen, releases: dict[str, Release], going: Iterable[Migration]) -> bool:
    release = releases.get(session.mark or "")
    if release is None:
        return is_judged_as_needing(session, releases)
    keys = [key for migration in going for key in ((migration.app_label, migration.name), *migration.replaces)]
    return any(release.knows(*key) for key in keys)


def is_judged_as_needing(session: Seen, releases: dict[str, Release]) -> bool:
    """A session without a mark, or with an unknown one, is judged as the contract judges it."""
    if session.mark is None:
        return conf.gate() == "strict" and not session.is_a_tool
    return any(mark != own_mark() for mark in releases)


def sessions_of_this_command(connection: BaseDatabaseWrapper) -> set[int]:
    """Those that hold the lock of a migrate; others of them wait for it."""
    with connection.cursor() as cursor:
        cursor.execute(holders_of(OWN))
        return {pid for (pid,) in cursor.fetchall()}


def listed(sessions: Iterable[Seen], releases: dict[str, Release]) -> str:
    return "\n".join(f"  pid {session.pid}  {_who(session)}  {_of(session.mark, releases)}" for session in sessions)


def _who(session: Seen) -> str:
    return ", ".join(filter(None, [session.name or session.role, session.address]))


def _of(mark: str | None, releases: dict[str, Release]) -> str:
    if mark is None:
        return "without a mark"
    return str(releases.get(mark) or f"release {mark}, which never migrated here")
