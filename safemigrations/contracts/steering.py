"""What people decide about backfills: to pause, resume or cancel them, or to change their pace."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..running.backfill import control
from ..running.backfill.progress import Progress
from ..running.events.listeners import tell_when_kept
from ..running.events.vocabulary import BackfillChanged
from . import acts


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
        found = control.steer(connection, action, number, given)
        for row in found:
            acts.keep(connection, row, action, reason=reason, **acts.by(user), **given)
            tell_when_kept(connection, _changed(row, action, reason, user))
    return found


def _changed(row: Progress, action: str, reason: str, user: str) -> BackfillChanged:
    migration = f"{row.app_label}.{row.migration}" if row.migration else ""
    return BackfillChanged(row.backfill, row.pk, migration, action, reason, user)
