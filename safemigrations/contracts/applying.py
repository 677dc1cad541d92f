"""What it takes to apply a migration, loaded where one is applied: see loaded()."""

from __future__ import annotations

from ..running.backfill import progress as backfills
from ..running.runner import Runner
from . import queue, releases, reversals, unfinished

__all__ = ["Runner", "backfills", "queue", "releases", "reversals", "unfinished"]
