"""The backfills as a task of Celery."""

from __future__ import annotations

from celery import shared_task

from .backfill.tasks import work_for_a_while


@shared_task(name="safemigrations.work_on_backfills")  # type: ignore[untyped-decorator,unused-ignore]
def work_on_backfills(database: str) -> None:
    work_for_a_while(database, "celery")
