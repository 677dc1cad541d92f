"""The sessions that hold a lock in a step's way, described for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ... import conf
from ...data import Data
from ...postgres.lock import Lock
from ...postgres.masking import masked
from ...postgres.names import regclass

LONG_TRANSACTION = 1.0  # seconds; nobody queues behind an older one
SHOWN = 60  # characters of a query

# A role without pg_read_all_stats doesn't see the type of other roles' sessions. An autovacuum has no role, and of the
# sessions that have none it alone locks tables.
UNSEEN_TYPE = "CASE WHEN a.pid IS NOT NULL AND a.usesysid IS NULL THEN 'autovacuum worker' END"

# https://www.postgresql.org/docs/current/explicit-locking.html#TABLE-LOCK-COMPATIBILITY
WEAKEST_CONFLICT = {
    Lock.ACCESS_SHARE: Lock.ACCESS_EXCLUSIVE,
    Lock.ROW_SHARE: Lock.EXCLUSIVE,
    Lock.ROW_EXCLUSIVE: Lock.SHARE,
    Lock.SHARE_UPDATE_EXCLUSIVE: Lock.SHARE_UPDATE_EXCLUSIVE,
    Lock.SHARE: Lock.ROW_EXCLUSIVE,
    Lock.SHARE_ROW_EXCLUSIVE: Lock.ROW_EXCLUSIVE,
    Lock.EXCLUSIVE: Lock.ROW_SHARE,
    Lock.ACCESS_EXCLUSIVE: Lock.ACCESS_SHARE,
}


class Blocker(Data):
    """A session that holds a lock which is in the way."""

    pid: int | None  # None: a prepared transaction
    application: str
    backend: str
    state: str
    age: float  # seconds since its transaction began
    query: str  # of a prepared transaction: its name
    transaction: str = ""  # its virtual id

    @property
    def is_autovacuum(self) -> bool:
        return self.backend == "autovacuum worker"

    @property
    def prevents_wraparound(self) -> bool:
        """Such an autovacuum never yields (https://www.postgresql.org/docs/current/routine-vacuuming.html)."""
        return self.is_autovacuum and "to prevent wraparound" in self.query

    @property
    def is_hidden(self) -> bool:
        """May this role not see what the session does, and since when? See UNSEEN_TYPE."""
        return self.pid is not None and not self.backend

    @property
    def is_long(self) -> bool:
        if self.is_autovacuum:
            return self.prevents_wraparound
        return self.pid is None or self.age > LONG_TRANSACTION

    def __str__(self) -> str:
        return self._named(f": {_shortened(self.shown_query)}" if self.shown_query else "")

    @property
    def without_query(self) -> str:
        """The description for a log, which more people may read than the table."""
        return self._named("")

    def _named(self, query: str) -> str:
        if self.pid is None:
            ends = "end it with COMMIT PREPARED or ROLLBACK PREPARED"
            return f"a prepared transaction ({self.query}, {self.age:.0f} s old; {ends})"
        if self.prevents_wraparound:
            return f"pid {self.pid} (autovacuum to prevent wraparound, which never yields; {self.age:.0f} s)"
        who = self.application or self.backend
        return f"pid {self.pid} ({who}, {self.state or 'active'} for {self.age:.0f} s{query})"

    @property
    def shown_query(self) -> str:
        """Its current statement, with ? for each value unless SHOW_QUERIES says otherwise."""
        return " ".join(self.query.split()) if conf.show_queries() else masked(self.query)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for listeners."""
        shown = {"pid": self.pid, "application": self.application, "backend": self.backend, "state": self.state}
        return {**shown, "seconds": self.age, "query": self.query if self.pid is None else self.shown_query}


def _shortened(query: str) -> str:
    return query if len(query) <= SHOWN else f"{query[:SHOWN]}…"


def blockers(connection: BaseDatabaseWrapper, locks: Mapping[str, Lock]) -> list[Blocker]:
    """The sessions whose locks on these tables, or on their partitions, conflict with the wanted ones."""
    if not locks:
        return []
    wanted = ", ".join(
        f"({regclass(table)}::oid, '{{{','.join(conflicting(mode))}}}'::text[])" for table, mode in locks.items()
    )
    query = f"""
        WITH RECURSIVE wanted (relation, modes) AS (
            VALUES {wanted}
            UNION SELECT h.inhrelid, w.modes FROM wanted w JOIN pg_inherits h ON h.inhparent = w.relation
        )
        SELECT DISTINCT ON (l.pid, l.virtualtransaction)
            l.pid, coalesce(a.application_name, ''), coalesce(a.backend_type, {UNSEEN_TYPE}, ''),
            coalesce(a.state, ''),
            coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, x.prepared)), 0)::float,
            coalesce(a.query, quote_literal(x.gid), ''), l.virtualtransaction
        FROM wanted w
        JOIN pg_locks l ON l.relation = w.relation AND l.mode = ANY (w.modes) AND l.granted
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        LEFT JOIN pg_locks t ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid'
            AND t.virtualtransaction = l.virtualtransaction
        LEFT JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
        WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    with connection.cursor() as cursor:
        if connection.in_atomic_block:  # where pg_stat_activity stays as it was at the first look
            cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(query)
        return [Blocker(*row) for row in cursor.fetchall()]


def session_of(connection: BaseDatabaseWrapper, pid: int) -> Blocker | None:
    """One session and its current statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, application_name, coalesce(backend_type, ''), coalesce(state, ''), coalesce(extract(epoch FROM"
            " clock_timestamp() - coalesce(xact_start, state_change)), 0)::float, coalesce(query, '')"
            " FROM pg_stat_activity WHERE pid = %s",
            [pid],
        )
        row = cursor.fetchone()
    return Blocker(*row) if row else None


def conflicting(mode: Lock) -> list[str]:
    """The lock modes that conflict with this one, spelled as in pg_locks."""
    weakest = WEAKEST_CONFLICT[mode].strength
    return [
        "".join(word.title() for word in other.split()) + "Lock"
        for other in Lock
        # Among the modes, SHARE alone doesn't conflict with itself.
        if other.strength >= weakest and not (mode is Lock.SHARE and other is Lock.SHARE)
    ]
