"""What it takes to apply a migration, loaded where one is applied: see loaded()."""

from __future__ import annotations

from ..running import ledger
from ..running.backfill import progress as backfills
from ..running.foreseeing.asking import Asking
from ..running.runner import Runner
from ..running.session import Session
from ..running.telling.report import ConsoleReport
from . import acts, carrying_out, queue, releases, reversals, unfinished
from .finishing import finish_open

__all__ = [
    "Asking",
    "ConsoleReport",
    "Runner",
    "Session",
    "acts",
    "backfills",
    "carrying_out",
    "finish_open",
    "ledger",
    "queue",
    "releases",
    "reversals",
    "unfinished",
]
