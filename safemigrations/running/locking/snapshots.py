"""Transactions that read the rows as they were some time ago.

A snapshot is of rows, and not of the catalog. Whoever has one from before a column was filled, and comes to the table
when that column has taken another's name, finds null in each row. CREATE INDEX CONCURRENTLY waits for such transactions
for the same reason.
https://www.postgresql.org/docs/current/mvcc-caveats.html
"""

from __future__ import annotations

import time

from ... import conf
from ...errors import LockNotAcquired
from ...plans.steps import Step
from ..session import Session
from ..transactions import Waits
from .blockers import Blocker

REST = 0.05  # seconds between two looks; later a tenth of the wait, as each looks at all locks of the server
MOST = 1.0


def wait_for_older_ones(session: Session, step: Step) -> None:
    """Wait until each transaction that has a snapshot now has ended.

    Raises LockNotAcquired after LOCK_RETRY_FOR seconds.
    """
    waits, began = Waits(step, session.report), time.monotonic()
    there, seconds = _holders(session), 0.0
    while there:
        time.sleep(min(MOST, REST + seconds / 10))
        seconds = time.monotonic() - began
        still = {one.transaction for one in _holders(session)}
        there = [one for one in there if one.transaction in still]
        if there:
            waits(there, seconds)
        if there and seconds > conf.lock_retry_for():
            raise LockNotAcquired(_gave_up(step, there, seconds))
    waits.end(session)


def _gave_up(step: Step, there: list[Blocker], seconds: float) -> str:
    who = "".join(f"\n  {one}" for one in there)
    return (
        f"{step.why}: transactions that read rows as they were before would find null in them. They were waited for "
        f"{seconds:.0f} s:{who}\n"
        "Nothing was changed by this step, and what was done before it stays. Wait for these transactions or end "
        "them with SELECT pg_terminate_backend(pid), then run the same command again."
    )


def _holders(session: Session) -> list[Blocker]:
    """Who has a snapshot of this database, without VACUUM and autovacuum: no people read rows by those.

    Every role may see what pg_locks says, and that a session has no user, as an autovacuum has none; but not its type.
    """
    rows = session.rows(
        "SELECT a.pid, a.application_name, coalesce(a.backend_type, ''), coalesce(a.state, ''),"
        " coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float, coalesce(a.query, ''),"
        " l.virtualxid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'virtualxid'"
        " AND l.mode = 'ExclusiveLock' WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()"
        " AND a.datname = current_database() AND a.usesysid IS NOT NULL"
        " AND a.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)"
    )
    return [Blocker(*row) for row in rows]
