"""The contract queue: contract plans that wait until the old release has gone.

A row holds the plan itself and not a reference to the operation, so it survives squashing, pruning and upgrades.
The table is made when it is first used, as MigrationRecorder makes django_migrations.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timezone import now

from .. import conf
from ..errors import StepFailed, said_of
from ..plans.claims import Claim
from ..plans.steps import Plan
from ..plans.stored import to_json
from ..running import ledger
from ..running.events import vocabulary as happened
from ..running.events.event import on
from ..running.foreseen import refuse_foreseen
from ..running.own_tables import refuse_others
from ..running.rights import refuse_without_rights
from ..running.run import Report, current_run
from ..running.runner import Runner
from ..running.session import Session
from ..running.storage import ensure_table, has_table
from ..running.watchdog import watching
from . import reversals, unfinished
from .held import Holder, freed_by, held_by
from .in_use import refuse_used
from .table import HOLDING, OPEN, Contract, Status


def rows(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Contract]:
    """The rows of this database that match, oldest first; none if the table was never created."""
    found = Contract._base_manager.using(connection.alias).order_by("id")
    if connection.vendor != "postgresql" or not has_table(connection, Contract):
        return found.none()
    return found.filter(**filters)


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
            "created_at": now(),
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
        for row in rows(connection, status__in=HOLDING)
    ]


def contract(connection: BaseDatabaseWrapper, report: Report, only: Iterable[Contract] | None = None) -> int:
    """Run these rows, or every open one, oldest first, and return how many ran. Stops at the first that fails."""
    chosen = open_rows(connection) if only is None else list(only)
    plans = foresee(connection, report, chosen)
    for row, plan in zip(chosen, plans, strict=True):
        _run(connection, row, report, plan)
        if plan == row.steps:
            _finish(connection, row)
    for row, plan in zip(chosen, plans, strict=True):
        if plan != row.steps:  # only now has what was left out become pointless
            _finish(connection, row)
    return len(chosen)


def foresee(connection: BaseDatabaseWrapper, report: Report, chosen: Sequence[Contract]) -> list[Plan]:
    """The plans of these rows. Raises the errors that are going to stop them, before anything is changed."""
    refuse_others(connection)
    reversals.refuse_contract(connection)
    refuse_used(connection, chosen)
    _refuse_unfilled(connection, chosen)
    plans = plans_of(connection, chosen)
    refuse_foreseen(connection, (step for plan in plans for step in plan))
    refuse_without_rights(Session(connection, report), (step for plan in plans for step in plan))
    return plans


def plans_of(connection: BaseDatabaseWrapper, chosen: Sequence[Contract]) -> list[Plan]:
    """The plan of each row without what it would do to a column that a later row drops, alone or with its table.

    The new release doesn't know that column any more: it must not meet a NOT NULL, nor miss a default, in between. A
    later row may be done already, where a run was killed before it had marked the earlier one as done. Or somebody
    skipped it: the column stays, and the new release doesn't know it all the same.
    """
    over = rows(connection, status__in=(Status.DONE, Status.SKIPPED), id__gt=chosen[0].pk) if chosen else ()
    dropped = [(row.pk, dropped_by(row.steps)) for row in (*over, *chosen)]
    gone = [[claim for pk, claims in dropped if pk > row.pk for claim in claims] for row in chosen]
    return [
        tuple(step for step in row.steps if not any(claim.goes_with(later) for claim in step.works_on))
        for row, later in zip(chosen, gone, strict=True)
    ]


def dropped_by(plan: Plan) -> list[Claim]:
    """The claims that the plan frees, without the former name of a column: what has the new name isn't gone."""
    return [claim for step in plan if not step.altered_column for claim in step.frees]


def _refuse_unfilled(connection: BaseDatabaseWrapper, chosen: Iterable[Contract]) -> None:
    """A backfill that isn't finished still reads and fills what the contract forbids or drops."""
    steps = tuple(step for row in chosen for step in row.steps)
    if unfilled := unfinished.needed_by(steps, unfinished.backfills(connection), steps):
        raise StepFailed(
            f"Backfills that this contract needs aren't finished: {'; '.join(map(str, unfilled))}. Nothing was changed."
            f" {unfinished.how_to_end(connection, unfilled)}"
        )


def _run(connection: BaseDatabaseWrapper, row: Contract, report: Report, plan: Plan) -> None:
    migration, began = f"{row.app_label}.{row.migration}", time.monotonic()
    with on(connection, migration=migration, direction="contract", row=row.pk):
        report.tell(happened.ContractStarted(**row.told))
        try:
            _run_plan(connection, row, report, plan)
        except BaseException as error:
            report.tell(happened.ContractFailed(**row.told, error=said_of(error), seconds=time.monotonic() - began))
            raise
        report.tell(happened.ContractDone(**row.told, seconds=time.monotonic() - began))


def _run_plan(connection: BaseDatabaseWrapper, row: Contract, report: Report, plan: Plan) -> None:
    row.status, row.attempts, row.started_at = Status.RUNNING, row.attempts + 1, now()
    row.save(using=connection.alias)
    about = ledger.About(row.app_label, row.migration, ledger.Direction.CONTRACT, label=row.label)
    try:
        with ledger.entered(connection, about), watching(connection, str(row), conf.max_wait()):
            Runner(connection, report).run(plan)
    except BaseException as error:
        row.status, row.last_error = Status.FAILED, said_of(error)
        if connection.is_usable():
            row.save(using=connection.alias)
        raise


def _finish(connection: BaseDatabaseWrapper, row: Contract) -> None:
    row.status, row.last_error, row.finished_at = Status.DONE, "", now()
    row.save(using=connection.alias)
