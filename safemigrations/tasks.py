"""What Celery's autodiscover_tasks() looks for; other task systems look for a module of this name too."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("celery"):
    from .celery_tasks import work_on_backfills as work_on_backfills
