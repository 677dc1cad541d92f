"""Decisions of people about contract rows and backfills: kept with who, when and why, even after the row is gone."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from typing import Any, ClassVar

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from ..running.backfill.progress import AbstractProgress
from ..running.readable import Readable
from ..running.storage import Own, ensure_table, has_table
from .marks import own_mark
from .table import AbstractContract


class AbstractAct(models.Model):
    """One decision about one row."""

    app_label = models.CharField(max_length=255)
    migration = models.CharField(max_length=255)
    operation = models.TextField()
    label = models.TextField()
    act = models.CharField(max_length=20)  # such as postpone, skip, resume, adopt, force
    reason = models.TextField(blank=True)
    details = models.JSONField(default=dict)  # such as the time until which a row is postponed
    at = models.DateTimeField(default=now)
    database_role = models.TextField()
    os_user = models.TextField()  # user@host
    mark = models.CharField(max_length=8)  # of the release whose command it was

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.act} {self.app_label}.{self.migration}  {self.label}"


class Act(Readable, AbstractAct):
    forms: ClassVar[Mapping[str, type]] = {"details": dict}

    class Meta(Own):
        apps = Apps()
        db_table = "safemigrations_act"


def keep(
    connection: BaseDatabaseWrapper,
    row: AbstractContract | AbstractProgress,
    act: str,
    *,
    reason: str = "",
    **details: Any,
) -> None:
    """Remember a decision about a row; the values of `details` can be written as JSON."""
    ensure_table(connection, Act)
    Act._base_manager.using(connection.alias).create(
        app_label=row.app_label,
        migration=row.migration,
        operation=row.operation if isinstance(row, AbstractContract) else f"backfill {row.digest}",
        label=row.label,
        act=act,
        reason=reason,
        details=details,
        database_role=_role(connection),
        os_user=f"{_os_user()}@{socket.gethostname()}",
        mark=own_mark(),
    )


def ensure(connection: BaseDatabaseWrapper) -> None:
    """Create the table if it is missing."""
    ensure_table(connection, Act)


def by(user: str) -> dict[str, str]:
    """The detail that names the user of an admin page; a decision made by a command has the user of its process."""
    return {"user": user} if user else {}


def kept(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Act]:
    """The decisions in this database that match, oldest first."""
    found = Act._base_manager.using(connection.alias).order_by("id")
    if connection.vendor != "postgresql" or not has_table(connection, Act):
        return found.none()
    return found.filter(**filters)


def _role(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"
