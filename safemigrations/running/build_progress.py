"""Reports the progress of CREATE INDEX from a connection of its own, and ends a build that waits for too long."""

from __future__ import annotations

import contextvars
import threading
import time

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from ..errors import LockNotAcquired
from ..plans.indexes import BuildIndex
from ..postgres.lock import Lock
from .another import another_connection
from .events import vocabulary as happened
from .locking.blockers import Blocker, blockers, session_of
from .run import Report
from .session import Session

AFTER = 2.0  # seconds before the progress of a long statement is shown
EVERY = 1.0  # seconds


class BuildProgress:
    """Tells the report of a session, while the block runs, what PostgreSQL says of its CREATE INDEX.

    The block raises LockNotAcquired when CONCURRENTLY has waited for one and the same transaction for LOCK_RETRY_FOR
    seconds: it has no timeout of its own, and would wait for a forgotten transaction for ever.
    """

    def __init__(self, session: Session, step: BuildIndex) -> None:
        self.watched: BaseDatabaseWrapper = session.connection
        self.report: Report = session.report
        ((pid,),) = session.rows("SELECT pg_backend_pid()")
        self.step, self.pid = step, pid
        self.waits_for: tuple[str, int, int] | None = None  # phase, how many have gone, and the one that it waits for
        self.since = 0.0
        self.gave_up = ""
        self.over = threading.Event()
        self.thread = threading.Thread(target=contextvars.copy_context().run, args=(self._watch,), daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.over.set()
        self.thread.join()
        if self.gave_up and isinstance(error, DatabaseError):
            raise LockNotAcquired(self.gave_up) from error

    def _watch(self) -> None:
        if self.over.wait(min(AFTER, conf.lock_retry_for())):
            return
        connection = another_connection(self.watched)
        try:
            while not self.over.wait(min(EVERY, conf.lock_retry_for())) and not self.gave_up:
                self._look(connection)
        except DatabaseError as error:
            self._tell(f"progress can't be read: {error}")
        finally:
            connection.close()
            connections.close_all()  # those of this thread: a receiver of an event may have opened one

    def _look(self, connection: BaseDatabaseWrapper) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT phase, blocks_done, blocks_total, lockers_done, lockers_total, current_locker_pid"
                f" FROM pg_stat_progress_create_index WHERE pid = {self.pid}"
            )
            row = cursor.fetchone()
        if not row:
            return
        phase, done, total, gone, lockers, locker = row
        if not lockers:
            self.waits_for = None
            self._tell_phase(phase, done, total)
            return
        who = self._named(connection, locker)
        self._tell(f"{phase}, {gone} of {lockers} gone", who, fraction=gone / lockers)
        self._give_up_behind(connection, (phase, gone, locker), who)

    def _tell_phase(self, phase: str, done: int, total: int) -> None:
        if total:
            self._tell(f"{phase}, {100 * done // total} %", fraction=done / total)
        else:
            self._tell(phase)

    def _tell(self, said: str, behind: Blocker | None = None, *, fraction: float | None = None) -> None:
        self.report.tell(happened.StepProgress(self.step, said, behind, ongoing=True, fraction=fraction))

    def _named(self, connection: BaseDatabaseWrapper, pid: int) -> Blocker | None:
        """The session of this pid, for people; a prepared transaction has no pid."""
        if pid:
            return session_of(connection, pid)
        holders = blockers(connection, {self.step.table: Lock.SHARE})
        return next((holder for holder in holders if holder.pid is None), None)

    def _give_up_behind(self, connection: BaseDatabaseWrapper, now: tuple[str, int, int], who: Blocker | None) -> None:
        if now != self.waits_for:
            self.waits_for, self.since = now, time.monotonic()
        waited = time.monotonic() - self.since
        if waited < conf.lock_retry_for():
            return
        self.gave_up = (
            f"{self.step.why}: CREATE INDEX CONCURRENTLY was {now[0]} for {waited:.0f} s, and was ended. It waits "
            f"for:\n  {who or 'a transaction that nobody sees any more'}\n"
            "What was done before stays. End that transaction (SELECT pg_terminate_backend(pid), or what it says "
            "there), then run the same command again."
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_cancel_backend(%s)", [self.pid])
