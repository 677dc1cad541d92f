"""The backfills as a task of Celery."""

from __future__ import annotations

from celery import shared_task

from .running.backfill.tasks import work_for_a_while


# Celery gives the message to another worker when the first one is killed. Each batch is done once all the same.
@shared_task(name="safemigrations.work_on_backfills", acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def work_on_backfills(database: str) -> None:
    work_for_a_while(database, "celery")


def enqueue(database: str, seconds: float) -> None:
    work_on_backfills.apply_async((database,), countdown=seconds or None)
