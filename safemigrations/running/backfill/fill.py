"""Decides where a backfill begins: at once, in sections, or later."""

from __future__ import annotations

from ... import conf
from ...errors import StepFailed, to_type
from ...plans.steps import Backfill
from .. import noting
from ..events.event import at
from ..events.vocabulary import BackfillDone, BackfillRejected, BackfillStarted, StepProgress
from ..own_tables import refuse_others
from ..run import Run, current_run
from ..session import Session
from . import later
from . import progress as store
from .batch import Batch
from .filler import Filler
from .left import Left, as_data, rejected
from .news import News
from .progress import Status
from .table import condition
from .work import Work


def fill(session: Session, step: Backfill) -> str:
    """Fill every row that the guard selects; return a note for the report."""
    if not later.is_large(session.connection, step):
        return _at_once(session, step)
    run = current_run()
    of = {
        "app_label": run.migration.app_label if run.migration else "",
        "migration": run.migration.name if run.migration else "",
    }
    if store.is_through(session.connection, step, **of):
        return "filled before"
    if reason := _left_for_later(session, step, run):
        return reason
    found = store.begin(session.connection, step, **of, status=Status.RUNNING)
    refuse_others(session.connection)
    with at(backfill=found.pk):
        return Work(session, step, found).run()


def _at_once(session: Session, step: Backfill) -> str:
    """Fill a small table in one batch; then the rows that this batch left, each on its own."""
    session.report.tell(BackfillStarted(step, None))
    left, news = Left(), News(session.report, step)
    filler = Filler(session, step, left, news)
    whole = Batch(filler, step.table, "TRUE", leaving=True)
    whole.fill()
    filled, known = whole.filled, [*left.rows]
    for part, key, _ in known:
        one = Batch(filler, part, condition(step.key, [key]), leaving=False)
        one.fill()
        filled += one.filled
    if refused := left.rows[len(known) :]:
        session.report.tell(BackfillRejected(step, len(refused), as_data(refused)))
        raise StepFailed(rejected(step, refused))
    session.report.tell(BackfillDone(step, filled))
    noting.filled(filled, filled)
    return news.summary(filled)


def _left_for_later(session: Session, step: Backfill, run: Run) -> str:
    """Leave a large table for later where both releases can live with unfilled rows; return what there is to tell."""
    if run.migration is None or not later.may_leave(run):
        return ""
    connection = session.connection
    known = store.unfinished(connection, step)
    estimate = known.estimate if known else later.estimate(connection, step)
    if estimate <= conf.backfill_inline_rows():
        return ""
    if not step.can_wait:
        reason = f"about {estimate:,} rows, filled now because the new release needs them"
        session.report.tell(StepProgress(step, reason))
        return ""
    if known is None:
        label, name = run.migration.app_label, run.migration.name
        store.begin(connection, step, app_label=label, migration=name, status=Status.PENDING)
    return f"about {estimate:,} rows, left for: {to_type('safemigrations backfill run', connection.alias)}"
