"""What people decide about backfills: to pause, resume or cancel them, or to change their pace."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.management.base import CommandError
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import to_type
from ..running.backfill import progress as store
from ..running.backfill.progress import Progress, Status
from ..running.events.listeners import tell_when_kept
from ..running.events.vocabulary import BackfillChanged
from . import acts

ACTIONS = {"pause": "Paused", "resume": "Resumed", "cancel": "Cancelled", "pace": "Changed the pace"}
FROM = {
    "pause": (Status.PENDING, Status.RUNNING),
    "resume": (Status.PAUSED, Status.CANCELLED),
    "cancel": store.UNFINISHED,
    "pace": store.UNFINISHED,
}
TO = {"pause": Status.PAUSED, "resume": Status.RUNNING, "cancel": Status.CANCELLED}


def steer(
    connection: BaseDatabaseWrapper,
    action: str,
    number: int | None,
    pace: Mapping[str, float | None],
    *,
    reason: str = "",
    user: str = "",
) -> list[Progress]:
    """Pause, resume or cancel backfills, or change their pace: one, or all to which it applies.

    The decision is kept; `user` is who made it on a page.
    """
    given = {name: value for name, value in pace.items() if value is not None}
    with transaction.atomic(using=connection.alias):
        found = _steered(connection, action, number, given)
        for row in found:
            acts.keep(connection, row, action, reason=reason, **acts.by(user), **given)
            tell_when_kept(connection, _changed(row, action, reason, user))
    return found


def _steered(
    connection: BaseDatabaseWrapper, action: str, number: int | None, pace: Mapping[str, float]
) -> list[Progress]:
    """Change one backfill, or all that can be changed so; whoever runs them notices at the next batch."""
    which: dict[str, int | bool] = {} if number is None else {"pk": number}
    if action == "resume":
        which["is_taken_back"] = False  # it would fill what the way back is setting back
    found = list(store.rows(connection, status__in=FROM[action], **which))
    if not found:
        look = to_type("safemigrations backfill status", connection.alias)
        raise CommandError(f"There is no backfill to {action} here. Look with: {look}")
    for row in found:
        if action == "pace":
            row.pace = {**row.pace, **pace}
            row.save(using=connection.alias, update_fields=["pace"])
        else:
            # What is resumed counts as running even where nobody works on it any more: so `run` finds it.
            row.status = TO[action]
            row.save(using=connection.alias, update_fields=["status"])
    return found


def _changed(row: Progress, action: str, reason: str, user: str) -> BackfillChanged:
    migration = f"{row.app_label}.{row.migration}" if row.migration else ""
    return BackfillChanged(row.backfill, row.pk, migration, action, reason, user)
