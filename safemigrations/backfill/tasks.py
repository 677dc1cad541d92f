"""Backfills on the project's own task system, so that many machines share one.

A task works for about a minute and puts itself into the queue again until all is done: it holds no worker for hours,
and one that is lost in a deploy leaves nothing but a section, which the others take over.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from ..runner import Report

SECONDS = 60.0
NEEDS = {
    "django": "django.tasks needs Django 6.0 or: pip install safemigrations[tasks]",
    "celery": "Celery isn't installed here: pip install safemigrations[celery]",
}


def enqueue(system: str, database: str, count: int = 1) -> None:
    """Put tasks that work on the backfills of a database into the queue of `django` or `celery`."""
    try:
        task: Any = import_module(f"safemigrations.{system}_tasks").work_on_backfills
    except ImportError:
        raise CommandError(NEEDS[system]) from None
    for _ in range(count):
        task.enqueue(database) if system == "django" else task.delay(database)


def work_for_a_while(database: str, system: str) -> None:
    from .control import work_on_all

    if not work_on_all(connections[database], Report(), until=time.monotonic() + SECONDS):
        enqueue(system, database)
