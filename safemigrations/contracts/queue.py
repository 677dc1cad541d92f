"""The contract queue: contract plans that wait until the old release has gone.

A row holds the plan itself and not a reference to the operation, so it survives squashing, pruning and upgrades.
The table is made when it is first used, as MigrationRecorder makes django_migrations.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ..plans.steps import Plan, Step
from ..plans.stored import to_json
from ..running.clock import server_time
from ..running.events import vocabulary as happened
from ..running.events.event import on
from ..running.readable import matching
from ..running.run import current_run
from ..running.storage import ensure_table, has_table
from .held import Holder, freed_by, held_by
from .table import HOLDING, OPEN, Contract, Status


def rows(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Contract]:
    """The rows of this database that match, oldest first; none if the table was never created."""
    found = Contract._base_manager.using(connection.alias).order_by("id")
    if connection.vendor != "postgresql" or not has_table(connection, Contract):
        return found.none()
    return matching(found, filters)


def put(
    connection: BaseDatabaseWrapper, *, app_label: str, migration: str, operation: str, label: str, plan: Plan
) -> None:
    """Leave a plan for the contract. A second call for the same operation, after a crash, adds no second row."""
    ensure_table(connection, Contract)
    unsaved = Contract(operation=operation, plan=to_json(plan))
    unsaved.sign()
    row, _ = Contract._base_manager.using(connection.alias).update_or_create(
        app_label=app_label,
        migration=migration,
        operation=operation,
        defaults={
            "signature": unsaved.signature,
            "label": label,
            "database": connection.alias,
            "plan": unsaved.plan,
            "status": Status.PENDING,
            "attempts": 0,
            "last_error": "",
            "created_at": server_time(connection),
            "started_at": None,
            "finished_at": None,
            "until": None,
            "reason": "",
        },
    )
    with on(connection):
        current_run().report.tell(happened.ContractLeft(**row.told))


def open_rows(connection: BaseDatabaseWrapper) -> list[Contract]:
    """What is left to do, but for migrations that are still to be applied, again after a crash.

    A migration that is neither recorded nor on disk was squashed and pruned. What it left is still to be done.
    """
    waiting = list(rows(connection, status__in=OPEN))
    applied = MigrationRecorder(connection).applied_migrations() if waiting else {}
    if all((row.app_label, row.migration) in applied for row in waiting):
        return waiting
    to_apply = MigrationLoader(None, ignore_no_migrations=True).disk_migrations.keys() - applied.keys()
    return [row for row in waiting if (row.app_label, row.migration) not in to_apply]


def holders(connection: BaseDatabaseWrapper) -> list[Holder]:
    """All open contracts, including those of a migration that was killed before it was recorded."""
    return [
        Holder(row.app_label, row.migration, row.label, held_by(row.steps), freed_by(row.steps))
        for row in holding(connection)
    ]


def holding(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Contract]:
    return rows(connection, status__in=HOLDING, **filters)


def waiting_steps(connection: BaseDatabaseWrapper) -> list[Step]:
    return [step for row in holding(connection) for step in row.steps]
