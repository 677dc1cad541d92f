"""Runs rows of the contract queue, oldest first, and says before the first of them what would stop any."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from .. import conf
from ..errors import StepFailed, said_of
from ..plans.claims import Claim
from ..plans.steps import Plan, Step, Together
from ..running import ledger
from ..running.events import vocabulary as happened
from ..running.events.event import on
from ..running.foreseeing.foreseen import refuse_foreseen
from ..running.foreseeing.rights import refuse_without_rights
from ..running.locking.watchdog import watching
from ..running.own_tables import refuse_others
from ..running.run import Report
from ..running.runner import Runner
from ..running.session import Session
from . import reversals, unfinished
from .held import dropped_by
from .in_use import refuse_used
from .queue import open_rows, rows
from .table import Contract, Status


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
        tuple(part for step in row.steps for part in _without(later, step))
        for row, later in zip(chosen, gone, strict=True)
    ]


def _without(gone: Sequence[Claim], step: Step) -> Plan:
    if not any(claim.goes_with(gone) for claim in step.works_on):
        return (step,)
    return step.remains if isinstance(step, Together) else ()


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
