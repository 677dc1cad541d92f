"""How far CREATE INDEX is, seen from a connection of its own while the statement runs."""

from __future__ import annotations

import threading

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from ..plans.steps import Step
from .run import Report
from .session import Session

AFTER = 2.0  # seconds before the progress of a long statement is shown


class BuildProgress:
    """Tells the report of a session, while the block runs, what PostgreSQL says of its CREATE INDEX."""

    def __init__(self, session: Session, step: Step) -> None:
        self.watched: BaseDatabaseWrapper = session.connection
        self.report: Report = session.report
        ((pid,),) = session.rows("SELECT pg_backend_pid()")
        self.step, self.pid = step, pid
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        if self.over.wait(AFTER):
            return
        connection = self.watched.copy()
        try:
            while not self.over.wait(1):
                self._look(connection)
        except DatabaseError as error:
            self.report.progress(self.step, f"(progress can't be read: {error})")
        finally:
            connection.close()

    def _look(self, connection: BaseDatabaseWrapper) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT phase, blocks_done, blocks_total, lockers_done, lockers_total, current_locker_pid"
                f" FROM pg_stat_progress_create_index WHERE pid = {self.pid}"
            )
            if row := cursor.fetchone():
                self.report.progress(self.step, _in_words(*row))


def _in_words(phase: str, done: int, total: int, gone: int, lockers: int, locker: int) -> str:
    if lockers:
        return f"{phase} ({gone} of {lockers}, now pid {locker})"
    if total:
        return f"{phase}, {100 * done // total} %"
    return phase
