"""Our own tables as models for Django's admin: unmanaged, and without rows unless a database is named.

`dumpdata` asks every model of every app for its rows, also in a database that no `migrate` of ours has seen. The pages
ask with rows_of().
"""

from __future__ import annotations

from typing import TypeVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from ..contracts.acts import AbstractAct
from ..contracts.releases import AbstractRelease
from ..contracts.table import AbstractContract
from ..running.backfill.progress import AbstractProgress
from ..running.ledger import AbstractEntry
from ..running.storage import is_up_to_date

Row = TypeVar("Row", bound=models.Model)


class Nowhere(models.Manager[Row]):
    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().none()


class Shown:
    """The Meta of a model that only the admin uses."""

    app_label = "safemigrations"
    managed = False
    base_manager_name = "objects"
    default_permissions = ("view",)


class ContractRow(AbstractContract):
    objects = Nowhere["ContractRow"]()

    class Meta(Shown):
        db_table = "safemigrations_contract"
        verbose_name = "contract row"
        permissions = (
            ("postpone_contractrow", "Can postpone contract rows"),
            ("skip_contractrow", "Can skip contract rows"),
            ("resume_contractrow", "Can resume contract rows"),
        )


class Backfill(AbstractProgress):
    objects = Nowhere["Backfill"]()

    class Meta(Shown):
        db_table = "safemigrations_backfill"
        permissions = (
            ("pause_backfill", "Can pause backfills"),
            ("resume_backfill", "Can resume backfills"),
            ("cancel_backfill", "Can cancel backfills"),
            ("pace_backfill", "Can change the pace of backfills"),
        )


class KnownRelease(AbstractRelease):
    objects = Nowhere["KnownRelease"]()

    class Meta(Shown):
        db_table = "safemigrations_release"
        verbose_name = "release"


class Decision(AbstractAct):
    objects = Nowhere["Decision"]()

    class Meta(Shown):
        db_table = "safemigrations_act"


class PastRun(AbstractEntry):
    objects = Nowhere["PastRun"]()

    class Meta(Shown):
        db_table = "safemigrations_history"
        verbose_name = "past run"


def rows_of(model: type[Row], connection: BaseDatabaseWrapper) -> models.QuerySet[Row]:
    """The rows, newest first; none where the table is missing, or lacks a column that only the next `migrate` adds."""
    found: models.QuerySet[Row] = models.QuerySet(model, using=connection.alias).order_by("-pk")
    there = connection.vendor == "postgresql" and is_up_to_date(connection, model)
    return found if there else found.none()
