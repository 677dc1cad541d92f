"""Backfills outside of migrate, which processes of their own work on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from ...errors import StepFailed, to_type
from ...plans.steps import Backfill
from ...typed import schema_of
from .. import ledger, noting
from ..a_run import PARENT
from ..events import vocabulary as happened
from ..events.event import on, place
from ..foreseeing.foreseen import refuse_foreseen
from ..lost import is_lost
from ..own_tables import refuse_others
from ..pooler import refuse_pooler
from ..run import Report, explain
from ..session import Session
from . import progress as store
from .failures import Stopped
from .order import order_matters
from .pace import seconds_closed
from .progress import Progress, Status
from .work import Work

POLL = 5.0  # seconds between two looks at whether the time window has opened


def left(connection: BaseDatabaseWrapper) -> list[Backfill]:
    """What isn't finished."""
    return [row.backfill for row in store.rows(connection, status__in=store.UNFINISHED)]


def run(connection: BaseDatabaseWrapper, report: Report, *, workers: int) -> None:
    """Work on every backfill that isn't finished, with this many processes."""
    others = [_process(connection) for _ in range(workers - 1)]
    try:
        work_on_all(connection, report, alone=workers == 1)
    finally:
        for process in others:
            process.wait()
    if any(process.returncode for process in others):
        look = to_type("safemigrations backfill status", connection.alias)
        raise CommandError(f"A worker failed. Look with: {look}")


def _process(connection: BaseDatabaseWrapper) -> subprocess.Popen[bytes]:
    # It says nothing, not even when it is interrupted: this process says it for all.
    arguments = ["safemigrations", "--verbosity", "0", "backfill", "run", "--database", connection.alias]
    if schema := schema_of(connection):
        arguments += ["--schema", schema]
    environment = {
        **os.environ,
        PARENT: place().run,
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE") or settings.SETTINGS_MODULE,
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
    return subprocess.Popen([sys.executable, "-m", "django", *arguments], env=environment, stdout=subprocess.DEVNULL)


def work_on_all(
    connection: BaseDatabaseWrapper, report: Report, *, until: float | None = None, alone: bool = True
) -> bool:
    """Work on what isn't finished, oldest first, and return whether all of it is; `until` as of time.monotonic()."""
    refuse_pooler(connection)
    refuse_others(connection)
    failures: list[StepFailed] = []
    for row in store.rows(connection, status__in=store.UNFINISHED):
        if first := _first(connection, row):
            report.tell(happened.BackfillWaiting(row.backfill, f"number {first.pk} comes first ({first})"))
            continue
        while _wait_for_window(report, row, until):
            try:
                _work_on(connection, report, row, until, alone=alone)
            except StepFailed as error:
                failures.append(error)
            if not seconds_closed():
                break
        if failures and is_lost(failures[-1].__cause__):
            break  # the other backfills would fail for the same reason
    if failures:
        raise StepFailed("\n".join(map(str, failures))) from failures[-1].__cause__
    return not store.rows(connection, status__in=store.UNFINISHED).exists()


def _first(connection: BaseDatabaseWrapper, row: Progress) -> Progress | None:
    """An earlier backfill that fills what this one needs, or needs what this one fills, and isn't finished."""
    earlier = store.rows(connection, status__in=store.UNFINISHED, pk__lt=row.pk)
    return next((one for one in earlier if order_matters(one.backfill, row.backfill)), None)


def _work_on(
    connection: BaseDatabaseWrapper, report: Report, row: Progress, until: float | None, *, alone: bool
) -> None:
    store.refuse_forged(row)
    step = row.backfill
    refuse_foreseen(connection, [step])
    migration = f"{row.app_label}.{row.migration}" if row.migration else ""
    with on(connection, migration=migration, direction="backfill", backfill=row.pk):
        report.tell(happened.StepStarted(step))
        store.rows(connection, pk=row.pk, status__in=[Status.PENDING, Status.FAILED]).update(
            status=Status.RUNNING, last_error="", started_at=now()
        )
        session = Session(connection, report)
        _fill(session, Work(session, step, row, until=until, only_in_window=True, alone=alone))


def _fill(session: Session, work: Work) -> None:
    step, row, began, report = work.step, work.progress, time.monotonic(), session.report
    about = ledger.About(row.app_label, row.migration, ledger.Direction.BACKFILL, label=row.label)
    try:
        with session.ready(), ledger.entered(session.connection, about):
            detail = work.run()
            noting.note(step, time.monotonic() - began)
    except Stopped as error:
        report.tell(happened.StepProgress(step, str(error)))
    except DatabaseError as error:
        failed = StepFailed(explain(session.connection, step, error))
        report.tell(happened.StepFailed(step, str(failed), time.monotonic() - began))
        raise failed from error
    except CommandError as error:
        report.tell(happened.StepFailed(step, str(error), time.monotonic() - began))
        raise
    else:
        if work.is_over:
            report.tell(happened.StepProgress(step, f"{detail} so far; the rest comes later"))
        else:
            report.tell(happened.StepDone(step, time.monotonic() - began, detail))


def _wait_for_window(report: Report, row: Progress, until: float | None) -> bool:
    """Return whether the time window is open: after a wait, or at once where there is an `until`."""
    told = False
    while seconds := seconds_closed():
        if until is not None:
            return False
        if not told:
            said = f"the time window opens in {seconds / 3600:.1f} h (BACKFILL_WINDOW)"
            report.tell(happened.BackfillWaiting(row.backfill, said))
            told = True
        time.sleep(min(POLL, seconds))
    return until is None or time.monotonic() < until


def may_work(connection: BaseDatabaseWrapper) -> bool:
    """Is there anything to do now, or is all of it paused, or the time window closed?"""
    statuses = set(store.UNFINISHED) - {Status.PAUSED}
    return not seconds_closed() and store.rows(connection, status__in=statuses).exists()
