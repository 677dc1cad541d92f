"""Watches, from a connection of its own, for signs that a backfill has to give way.

Some signals stop the backfill until they are over: a replica is behind, a slot retains too much WAL, the archiver
fails. Others slow it down: an autovacuum of the table is at work, a session waits for a lock that a batch holds.
"""

from __future__ import annotations

import threading
from typing import Any, Self

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from ... import conf
from ...plans.steps import Backfill
from ...postgres.names import regclass
from ...postgres.surroundings import replicas_behind, slots_behind
from ..another import another_connection
from ..lost import first_line
from ..one_at_a_time import OWN, holders_of
from .table import fetch

AFTER = 1.0  # seconds before the first look: most backfills end sooner
EVERY = 0.1  # seconds between two looks at who waits
AGAIN = 5.0  # seconds after a look that failed
IDLE = 5  # seconds after which a session that does nothing counts as not at work
STATE_EVERY = 10  # looks at who waits, to one look at everything else


class Watch:
    """Looks at the server, in a thread, while the block runs; `early`: it begins at once."""

    def __init__(self, connection: BaseDatabaseWrapper, step: Backfill, *, early: bool = False) -> None:
        self.watched, self.step, self.early = connection, step, early
        ((self.pid,),) = fetch(connection, "SELECT pg_backend_pid()")  # behind a pooler, libpq knows another number
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.waiters = 0
        self._stop = self._slowly = ""
        self.second = 0  # the pid of a second connection that does the same work
        self.is_alone = True  # nobody else is at work on this server, so a rest helps nobody
        self.has_looked = False

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.thread.join()

    def stop(self) -> str:
        """Why no batch may begin now; empty if one may."""
        return self._stop

    def slowly(self) -> str:
        """Why batches should rest longer than usual; empty if they needn't."""
        return self._slowly

    def had_waiters(self) -> bool:
        """Did a session wait for a batch since the last call?"""
        waiters, self.waiters = self.waiters, 0
        return waiters > 0

    @property
    def is_quiet(self) -> bool:
        """Has a look shown that nobody else is at work, and that nothing is behind?"""
        return self.has_looked and self.is_alone and not self._stop

    def _watch(self) -> None:
        if not self.early and self.over.wait(AFTER):
            return
        connection = another_connection(self.watched)
        while not self.over.is_set():
            try:
                self._look(connection)
            except DatabaseError as error:
                self._stop, self._slowly = "", f"the server's state can't be read ({first_line(error)})"
                self.is_alone = False
                self.over.wait(AGAIN)
            finally:
                connection.close()

    def _look(self, connection: BaseDatabaseWrapper) -> None:
        number = 0
        while not self.over.wait(EVERY):
            if conf.backfill_yield_to_waiters():
                self.waiters += _one(connection, _WAITERS.format(pids=self._pids))
            if number % STATE_EVERY == 0:
                self._stop = reason_to_stop(connection)
                self._slowly = reason_to_slow_down(connection, self.step.table)
                self.is_alone = not (self._slowly or _one(connection, _OTHERS.format(pids=self._pids, idle=IDLE)))
                self.has_looked = True
            number += 1

    @property
    def _pids(self) -> str:
        return f"{self.pid}, {self.second}"


def reason_to_stop(connection: BaseDatabaseWrapper) -> str:
    lag, retained, queue = conf.backfill_replica_lag(), conf.backfill_retained_wal(), conf.backfill_archive_queue()
    if lag and (found := fetch(connection, replicas_behind(lag))):
        return "replica {} is {:.1f} s behind (BACKFILL_REPLICA_LAG)".format(*found[0])
    if retained and (found := fetch(connection, slots_behind(round(retained * 2**30)))):
        return "replication slot {} retains {} (BACKFILL_RETAINED_WAL)".format(*found[0])
    if queue and (found := fetch(connection, _ARCHIVER.format(files=round(queue)))):
        return f"{found[0][0]} (BACKFILL_ARCHIVE_QUEUE)"
    return ""


def reason_to_slow_down(connection: BaseDatabaseWrapper, table: str) -> str:
    if conf.backfill_yield_to_autovacuum() and _one(connection, _AUTOVACUUM.format(table=regclass(table))):
        return "an autovacuum of the table is at work (BACKFILL_YIELD_TO_AUTOVACUUM)"
    return ""


def _one(connection: BaseDatabaseWrapper, query: str) -> Any:
    return fetch(connection, query)[0][0]


_WAITERS = (
    "SELECT count(*) FROM (SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid NOT IN ({pids})"
    " OFFSET 0) AS waiting WHERE ARRAY[{pids}] && pg_blocking_pids(pid)"
)
# A role without the privileges of pg_monitor sees whose a session of another role is, but not what that session does.
_OTHERS = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid NOT IN ({pids}, pg_backend_pid())"
    f" AND pid NOT IN ({holders_of(OWN)})"
    " AND (backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL)"
    " AND (state IS DISTINCT FROM 'idle' OR state_change > clock_timestamp() - interval '{idle} s'))"
)
# The number of a WAL file is in the last two thirds of its name: https://www.postgresql.org/docs/current/wal-internals.html
_ARCHIVER = """
    SELECT CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity')
        THEN 'the archiver fails: ' || last_failed_wal ELSE queue || ' WAL files wait for the archiver' END
    FROM (SELECT *, CASE WHEN last_archived_wal ~ '^[0-9A-F]{{24}}$' THEN
        (pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') / size - 1
         - (('x' || substr(last_archived_wal, 9, 8))::bit(32)::bigint * (4294967296 / size)
            + ('x' || substr(last_archived_wal, 17, 8))::bit(32)::bigint))::bigint END AS queue
        FROM pg_stat_archiver, (SELECT setting::bigint AS size FROM pg_settings WHERE name = 'wal_segment_size') AS wal
    ) AS archiver
    WHERE current_setting('archive_mode') <> 'off'
      AND (last_failed_time > coalesce(last_archived_time, '-infinity') OR queue > {files})
"""
# An autovacuum is the one VACUUM of nobody. A role without those privileges sees only by its lock at which table it is.
_AUTOVACUUM = (
    "WITH family (relid) AS (SELECT {table}::oid UNION ALL SELECT relid FROM pg_partition_tree({table}))"
    " SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum v JOIN pg_stat_activity a USING (pid)"
    " WHERE a.usesysid IS NULL AND (v.relid IN (SELECT relid FROM family) OR v.relid IS NULL AND EXISTS"
    " (SELECT FROM pg_locks l WHERE l.pid = v.pid AND l.locktype = 'relation' AND l.database = v.datid"
    " AND l.mode = 'ShareUpdateExclusiveLock' AND l.relation IN (SELECT relid FROM family))))"
)
