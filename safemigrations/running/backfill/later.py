"""Which backfills a run leaves for later: large ones, where both releases can live with unfilled rows."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ... import conf
from ...plans.steps import Backfill
from ...postgres.tables import is_table
from ..run import Run
from .table import estimated, fetch, leaves


def may_leave(run: Run) -> bool:
    """Is there anybody who would finish it: a migration of the run, after which the rows may still be unfilled?"""
    return run.migration is not None and run.contract != "immediately" and not run.fills_at_once


def is_left(connection: BaseDatabaseWrapper, step: Backfill) -> bool:
    """Asked before its turn: of the table as it is now. One that isn't there yet has no row."""
    if not step.can_wait or not fetch(connection, is_table(step.table)):
        return False
    return is_large(connection, step) and estimate(connection, step) > conf.backfill_inline_rows()


def is_large(connection: BaseDatabaseWrapper, step: Backfill) -> bool:
    """Is it worth, or necessary, to remember which rows were filled? Where the guard can't tell, it always is."""
    most = conf.backfill_batch_size() if step.clears else 0
    return bool(fetch(connection, f"SELECT 1 FROM {step.table} OFFSET {most} LIMIT 1"))


def estimate(connection: BaseDatabaseWrapper, step: Backfill) -> int:
    """Rows of the table, as far as the catalog knows."""
    return sum(estimated(connection, name).rows for name in leaves(connection, step))
