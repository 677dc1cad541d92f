"""Backfills on the project's own task system, so that many machines share one.

A task works for about a minute, and puts itself into the queue again until all is done. So it holds no worker for
hours, and a task that is lost in a deploy leaves only a section, which the others take over.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connections

from ...errors import StepFailed
from ..a_run import a_run
from ..lost import is_lost
from ..run import Report
from .control import may_work, work_on_all

SECONDS = 60.0
NEEDS = {
    "django": "django.tasks needs Django 6.0 or: pip install safemigrations[tasks]",
    "celery": "Celery isn't installed here: pip install safemigrations[celery]",
}


def enqueue(system: str, database: str, count: int = 1) -> None:
    """Put tasks that work on the backfills of a database into the queue of `django` or `celery`."""
    for _ in range(count):
        _tasks(system).enqueue(database, 0)


def _tasks(system: str) -> Any:
    try:
        return import_module(f"safemigrations.{system}_tasks")
    except ImportError:
        raise CommandError(NEEDS[system]) from None


def work_for_a_while(database: str, system: str) -> None:
    """The work of one task: fill for a while, then let another task go on, unless all is done or has failed."""
    connection, report, until = connections[database], Report(), time.monotonic() + SECONDS
    try:
        with a_run(report, database, "task"):
            if work_on_all(connection, report, until=until):
                return
    except (StepFailed, DatabaseError) as error:
        if is_lost(error) or is_lost(error.__cause__):
            connection.close()
            _tasks(system).enqueue(database, SECONDS)
        raise
    # While all is paused, or the time window is closed, the next task comes later: it would only hold a worker.
    _tasks(system).enqueue(database, 0 if may_work(connection) else SECONDS)
