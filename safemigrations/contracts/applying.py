"""What it takes to apply a migration, loaded where one is applied: see loaded()."""

from __future__ import annotations

from ..running import ledger
from ..running.asking import Asking
from ..running.backfill import progress as backfills
from ..running.runner import Runner
from ..running.session import Session
from . import acts, queue, releases, reversals, unfinished
from .finishing import finish_open

__all__ = [
    "Asking",
    "Runner",
    "Session",
    "acts",
    "backfills",
    "finish_open",
    "ledger",
    "queue",
    "releases",
    "reversals",
    "unfinished",
]
