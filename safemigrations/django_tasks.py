"""The backfills as a task of django.tasks, or of its backport."""

from __future__ import annotations

try:
    from django.tasks import task  # Django 6.0
except ImportError:
    from django_tasks import task  # type: ignore[no-redef,unused-ignore]

from .backfill.tasks import work_for_a_while


@task  # type: ignore[untyped-decorator,unused-ignore]
def work_on_backfills(database: str) -> None:
    work_for_a_while(database, "django")
