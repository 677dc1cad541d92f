"""migrate --catch-up: several releases at once, each with its contract, on a database that no other release uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from safemigrations.contracts.releases import Release, recorded
from safemigrations.contracts.sessions import Seen, watch
from safemigrations.errors import NotNow
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.management.leaving import is_judged_as_needing, listed, sessions_of_this_command
from safemigrations.management.targets import targets

NOT_WITH = {"fake": "--fake", "fake_initial": "--fake-initial", "run_syncdb": "--run-syncdb", "plan": "--plan"}


def refuse_nonsense(options: dict[str, Any]) -> None:
    for name, flag in NOT_WITH.items():
        if options[name]:
            raise CommandError(f"--catch-up expands and contracts, so {flag} has no meaning beside it.")


def refuse_while_others_are_there(connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
    """Raise NotNow while sessions are there whose release lacks one of the migrations that are going to be applied."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(targets(executor, options))
    if any(back for _, back in plan):
        raise CommandError("--catch-up only goes forwards.")
    coming = [migration for migration, _ in plan]
    if not coming or connection.vendor != "postgresql" or options["force"]:
        return
    releases, ours = recorded(connection), sessions_of_this_command(connection)

    def older(seen: Sequence[Seen]) -> list[Seen]:
        return [one for one in seen if one.pid not in ours and _lacks(one, releases, coming)]

    if found := older(watch(connection, 0, lambda seen: bool(older(seen)))):
        raise NotNow(
            f"--catch-up contracts at once what it applies, and these sessions are of another release:\n"
            f"{listed(found, releases)}\nNothing was changed. When they have gone, run the same command again. --force "
            "goes on without waiting."
        )


def _lacks(session: Seen, releases: dict[str, Release], coming: Sequence[Migration]) -> bool:
    release = releases.get(session.mark or "")
    if release is None:
        return is_judged_as_needing(session, releases)
    return not all(release.knows(migration.app_label, migration.name) for migration in coming)
