"""Sends statements that may take long and block neither reads nor writes, each outside a transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager

from django.db import DatabaseError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..plans.indexes import BuildIndex
from ..plans.steps import Online, Step
from ..postgres.lock import Lock
from .events import vocabulary as happened
from .locking import locks
from .locking.blockers import LONG_TRANSACTION, Blocker, blockers
from .proofs import Contradicted, contradictions
from .session import Session
from .transactions import Waits


def online(session: Session, step: Online) -> str:
    try:
        return send_online(session, step, step.sql, step.locks)
    except IntegrityError as error:
        if found := contradictions(session, step.violators) if step.violators else "":
            raise Contradicted(
                f"{step.why} failed for the rows {found}. Fix them and run the same command again; what "
                "was done before stays, and nothing was left that rejects a write."
            ) from error
        raise


def send_online(
    session: Session,
    step: Step,
    sql: str,
    wanted: Mapping[str, Lock],
    *,
    meanwhile: AbstractContextManager[object] | None = None,
    repeatable: bool = True,
) -> str:
    """Send a statement without the timeouts of the session, and tell how long its locks had to be waited for.

    A lock_timeout would leave an INVALID index; statement_timeout is meant for requests. The locks are waited for
    beforehand and given back: who waits for a lock inside the statement holds a snapshot, and a CREATE INDEX
    CONCURRENTLY that has the lock waits for that snapshot, until one of the two is ended. What isn't `repeatable` isn't
    sent again as it stands: a CREATE INDEX that failed has left something behind.
    """
    waits, sent = Waits(step, session.report), False
    for attempt in locks.attempts(session.connection, wanted, waits, waits.grew):
        try:
            with transaction.atomic(using=session.connection.alias):
                locks.acquire(session.connection, wanted, attempt)
            _tell_old_snapshots(session, step)
            with session.settings(lock_timeout=0, statement_timeout=0), meanwhile or contextlib.nullcontext():
                sent = True
                session.send(sql)
            break
        except DatabaseError as error:
            if not locks.is_retried(error) or (sent and not repeatable):
                raise
    return waits.end(session)


def wait_for_long_writers(session: Session, step: BuildIndex) -> None:
    """CONCURRENTLY begins with a wait for everybody who writes to the table; an index is INVALID meanwhile.

    So a forgotten transaction is waited for before it, where giving up leaves nothing behind. Of one that this role may
    not look at nobody knows how old it is: it counts as forgotten until it has ended.
    """
    wanted, there, waits = {step.table: Lock.SHARE}, None, Waits(step, session.report)
    for _ in locks.attempts(session.connection, wanted, waits):
        found = blockers(session.connection, wanted)
        long = {blocker.transaction for blocker in found if blocker.is_long or blocker.is_hidden}
        there = long if there is None else there & long  # those that come later CONCURRENTLY doesn't wait for, either
        if not there:
            waits.end(session)
            return


def _tell_old_snapshots(session: Session, step: Step) -> None:
    if found := old_snapshots(session.connection):
        session.report.tell(happened.StepWaiting(step, found, 0))


def old_snapshots(connection: BaseDatabaseWrapper) -> list[Blocker]:
    """The sessions with older snapshots: CONCURRENTLY waits until all of these are gone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, application_name, backend_type, coalesce(state, ''),"
            " extract(epoch FROM clock_timestamp() - xact_start)::float, query FROM pg_stat_activity"
            " WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()"
            " AND backend_type <> 'autovacuum worker'"
            f" AND xact_start < clock_timestamp() - interval '{LONG_TRANSACTION} s'"
        )
        return [Blocker(*row) for row in cursor.fetchall()]
