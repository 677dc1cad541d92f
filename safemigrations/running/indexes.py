"""Builds and drops indexes of tables that aren't partitioned, beside other sessions that may work on the same index.

CREATE INDEX CONCURRENTLY that was ended leaves an INVALID index, which has to go before another is built. While it
runs its index is INVALID, too: so it is dropped only when nobody can be at work on it.
"""

from __future__ import annotations

import time

from django.db import DatabaseError

from ..data import Data
from ..errors import LockNotAcquired, StepFailed, to_type
from ..plans.indexes import BuildIndex, DropIndex
from ..postgres.indexes import index_exists, index_state
from ..postgres.lock import Lock
from .build_progress import BuildProgress
from .events import vocabulary as happened
from .locking import locks
from .locking.blockers import blockers
from .online import send_online, wait_for_long_writers
from .run import INDEX_IS_GONE, TABLE_IS_GONE
from .session import Session
from .transactions import behind_locks, send_behind_locks

POLL = 0.5  # seconds between looks at an index that somebody else is building
COMMIT_POLL = 0.01  # while only the commit of that is missing


class IndexState(Data):
    """The index of a name at this moment."""

    index: str | None  # qualified name; None: there is none
    is_valid: bool
    builder: int | None  # pid of who is building it right now

    @property
    def is_leftover(self) -> bool:
        return self.index is not None and not self.is_valid and self.builder is None


def build_index(session: Session, step: BuildIndex) -> str:
    if _without_leftover(session, step).is_valid:
        _analyze(session, step)
        return "was there already"
    wait_for_long_writers(session, step)
    try:
        detail = send_online(
            session,
            step,
            step.statements[0],
            _online_lock(step.table),
            meanwhile=BuildProgress(session, step),
            repeatable=False,
        )
    except LockNotAcquired as error:
        raise LockNotAcquired(f"{error}\n{_without_waiting(session, step)}") from error
    except DatabaseError as error:
        if not session.connection.is_usable():
            raise
        # Somebody else may have begun in the same moment; and an INVALID unique index still refuses duplicates.
        if _without_leftover(session, step).is_valid or locks.is_retried(error):
            return build_index(session, step)
        raise
    _analyze(session, step)
    return detail


def _analyze(session: Session, step: BuildIndex) -> None:
    for sql in step.statements[1:]:
        send_online(session, step, sql, _online_lock(step.table))


def _without_leftover(session: Session, step: BuildIndex) -> IndexState:
    """The state of an index that is valid or missing; an INVALID leftover is dropped first."""
    while (state := _when_nobody_builds(session, step)).is_leftover:
        _drop_leftover(session, step)
    return state


def _without_waiting(session: Session, step: BuildIndex) -> str:
    """Drop the leftover if its table is free; returns what a person has to know about it."""
    if blockers(session.connection, {step.table: Lock.ACCESS_EXCLUSIVE}):
        return "The index stays behind, INVALID, because its table is in use; the next run drops it and builds it anew."
    _without_leftover(session, step)
    return "Nothing of the index is left."


def _when_nobody_builds(session: Session, step: BuildIndex) -> IndexState:
    told = None
    while builder := (state := _state(session, step)).builder:
        if builder != told:
            session.report.tell(
                happened.StepProgress(step, f"pid {builder} is building this index already; waiting for it")
            )
            told = builder
        time.sleep(POLL)
    return state


def _state(session: Session, step: BuildIndex) -> IndexState:
    for index, is_valid, builder in session.rows(index_state(step.table, step.name)):
        return IndexState(index=index, is_valid=bool(is_valid), builder=builder)
    raise StepFailed(
        f"Table {step.table} doesn't exist in database {session.connection.alias!r}. Was its migration faked, or is "
        f"the search_path another one? Look with: {to_type('safemigrations verify --sql', session.connection.alias)}"
    )


def _drop_leftover(session: Session, step: BuildIndex) -> None:
    """Drop the leftover, unless some session turns out to be building it."""
    found: list[IndexState] = []
    behind_locks(session, step, _online_lock(step.table), lambda: found.append(_settled(session, step)))
    state = found[-1]
    if state.is_leftover:
        session.report.tell(happened.StepProgress(step, f"{state.index} is an INVALID leftover; dropping it"))
        drop = f"DROP INDEX CONCURRENTLY IF EXISTS {state.index}"
        send_online(session, step, drop, _online_lock(step.table))


def _settled(session: Session, step: BuildIndex) -> IndexState:
    """The state while the table is locked, so that no session can be building the index.

    A session that has just built the index may not have committed yet: wait for that. It may also have committed during
    a look, which then doesn't see it; the next look does.
    """
    while _state(session, step).builder:
        time.sleep(COMMIT_POLL)
    return _state(session, step)


def drop_index(session: Session, step: DropIndex) -> str:
    if not step.index:
        return TABLE_IS_GONE
    if not session.rows(step.query or index_exists(step.table, step.name)):
        return INDEX_IS_GONE
    if step.concurrently:
        return send_online(session, step, step.statements[0], _online_lock(step.table))
    return send_behind_locks(session, step, {step.table: Lock.ACCESS_EXCLUSIVE}, step.statements)


def _online_lock(table: str) -> dict[str, Lock]:
    """The lock that CONCURRENTLY and ANALYZE take: reads and writes go on."""
    return {table: Lock.SHARE_UPDATE_EXCLUSIVE}
