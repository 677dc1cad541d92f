"""The backfills as a task of django.tasks, or of its backport."""

from __future__ import annotations

import time
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.utils.timezone import now

from .running.backfill.tasks import work_for_a_while

system: Any = import_module("django.tasks" if find_spec("django.tasks") else "django_tasks")  # Django 6.0 has its own


@system.task
def work_on_backfills(database: str) -> None:
    work_for_a_while(database, "django")


def enqueue(database: str, seconds: float) -> None:
    later = work_on_backfills
    if seconds and later.get_backend().supports_defer:
        later = later.using(run_after=now() + timedelta(seconds=seconds))
    elif seconds:
        time.sleep(seconds)  # this task system can't defer a task
    later.enqueue(database)
