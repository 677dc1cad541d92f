"""The backfills as a task of django.tasks, or of its backport."""

from __future__ import annotations

import time
from datetime import timedelta

from django.utils.timezone import now

try:
    from django.tasks import task  # Django 6.0
except ImportError:
    from django_tasks import task  # type: ignore[no-redef,unused-ignore]

from .running.backfill.tasks import work_for_a_while


@task  # type: ignore[untyped-decorator,unused-ignore]
def work_on_backfills(database: str) -> None:
    work_for_a_while(database, "django")


def enqueue(database: str, seconds: float) -> None:
    later = work_on_backfills
    if seconds and later.get_backend().supports_defer:
        later = later.using(run_after=now() + timedelta(seconds=seconds))
    elif seconds:
        time.sleep(seconds)  # this task system can't wait by itself
    later.enqueue(database)
