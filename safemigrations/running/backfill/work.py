"""The loop that fills a table: take a section, fill it batch by batch, until none is left.

A row that somebody holds for long, or that a trigger or a constraint rejects, doesn't keep the others waiting: it is
remembered and comes last, on its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from ... import conf
from ...errors import LockNotAcquired, StepFailed
from ...plans.steps import Backfill
from .. import noting
from ..events import vocabulary as happened
from ..lost import first_line, is_lost
from ..session import Session
from . import progress as store
from . import second as second_connection
from .batch import BatchOfSection
from .ending import Ending
from .failures import Stopped
from .filler import Filler
from .left import StoredLeft
from .news import Meter, News, Relay
from .pace import Hours
from .progress import Progress, Section, Status
from .rests import Rests
from .second import Second
from .watch import Watch
from .worker import Worker

POLL = 0.2  # seconds between looks at work that other processes do
SOON = 0.02  # seconds between looks at work that the second connection does
SPARSE = 0.1  # of the rows looked at: where fewer had to be filled, one pass is enough


class Work:
    """One worker on one backfill, from its first section to its last."""

    is_second = False
    is_through = False  # has this worker found that nothing is left to take?

    def __init__(
        self,
        session: Session,
        step: Backfill,
        progress: Progress,
        *,
        until: float | None = None,  # time.monotonic() at which to stop and leave the rest
        only_in_window: bool = False,
        alone: bool = True,  # no other worker was started beside this one
    ) -> None:
        self.session, self.step, self.alone = session, step, alone
        self.connection, self.progress = session.connection, progress.copied()
        self.hours = Hours(until, only_in_window=only_in_window)
        self.news, self.meter = News(session.report, step), Meter()
        left = StoredLeft(self.connection, self.progress)
        self.filler = Filler(session, step, left, self.news)
        self.worker = Worker(self.filler, self.progress, is_second=self.is_second)
        self.rests = Rests(self.worker, lambda: self.is_over)

    @property
    def is_over(self) -> bool:
        """Is this worker to stop, and leave the rest?"""
        return self.hours.are_over

    def run(self) -> str:
        """Work until the backfill is done, and return what there is to tell. Raises StepFailed and LockNotAcquired."""
        try:
            self.meter.first = store.totals(self.connection, self.progress)
            self.session.report.tell(happened.BackfillStarted(self.step, self.progress.estimate))
            with ExitStack() as stack:
                self._watch(stack)
                self._fill_sections()
        except Stopped:
            raise
        except (StepFailed, LockNotAcquired, DatabaseError) as error:
            self._fail(error)
            raise
        finally:
            self.worker.let_go()
        self.progress.refresh_from_db(using=self.connection.alias)
        self._note()
        return self.news.summary(self.progress.filled)

    def _note(self) -> None:
        visited, filled = store.totals(self.connection, self.progress)
        changed = filled - self.meter.first[1]
        noting.filled(changed, max(visited - self.meter.first[0], changed))

    def _watch(self, stack: ExitStack) -> None:
        helped = self._may_be_helped()
        watch = self.rests.watch = stack.enter_context(Watch(self.connection, self.step, early=helped))
        if helped:
            stack.callback(self._heed_second)  # what failed while it ended
            self.worker.second = Second(self.connection, self.step, watch, self._help)
            stack.enter_context(self.worker.second)

    def _fill_sections(self) -> None:
        for section in self._sections():
            if section.ending:
                Ending(self.worker, section, self.session.report).run()
            else:
                self._fill_section(section)

    def _fail(self, error: Exception) -> None:
        if is_lost(error):
            return  # others go on, and so does the next run
        running = store.rows(self.connection, pk=self.progress.pk, status=Status.RUNNING)
        running.update(status=Status.FAILED, last_error=str(error))

    # Section by section.

    def _sections(self) -> Iterator[Section]:
        while not self.is_over:
            self._heed_second()
            section = self.worker.take()
            if section == "finished":
                self.is_through = True
                return
            if section == "wait":
                if self.hours.until is not None and self.progress.status == Status.PAUSED:
                    return  # a task holds no worker meanwhile
                self._wait_for_others()
            elif section.is_done:  # whoever did it was killed before it was counted
                self.worker.close(section)
            else:
                yield section

    def _wait_for_others(self) -> None:
        time.sleep(SOON if self.worker.is_shared and self.progress.status == Status.RUNNING else POLL)

    def _fill_section(self, section: Section) -> None:
        part = self.progress.all_parts[section.part]
        self.filler.pace.size = section.size or self.filler.pace.size
        while not section.is_done and self._may_begin():
            batch = BatchOfSection(self.worker, section, part)
            if not batch.fill():
                return  # somebody else has it, or it was paused
            self.rests.after_batch(batch.took, batch.filled)
            self._show()
        if section.is_done:
            self.worker.passes.is_sparse = section.filled < SPARSE * section.visited
            self.worker.close(section)

    def _may_begin(self) -> bool:
        """Look after everybody else before a batch; return False if the work has to stop here."""
        self._heed_second()
        self._heed_waiters()
        return self.rests.before_batch()

    def _heed_waiters(self) -> None:
        if self.rests.watch and self.rests.watch.had_waiters():
            self.filler.slow_down("a session waited for a batch (BACKFILL_YIELD_TO_WAITERS)")

    def _show(self) -> None:
        if self.meter.is_due():
            visited, filled = store.totals(self.connection, self.progress)
            self.session.report.tell(self.meter.reading(self.step, visited, filled, self.progress.estimate))

    # With the second connection.

    def _may_be_helped(self) -> bool:
        return (
            self.alone
            and self.hours.until is None
            and conf.backfill_second_connection()
            and self.step.function is None  # Python computes one at a time, and needn't expect another thread
            and self.progress.estimate >= second_connection.ROWS
            and not self.connection.in_atomic_block
        )

    def _help(self, connection: BaseDatabaseWrapper) -> bool:
        """What the second connection does, in its own thread."""
        assert self.worker.second
        return SecondWork(self, self.worker.second, connection).help()

    def _heed_second(self) -> None:
        """Tell what the second connection has to tell, and raise what it met."""
        if self.worker.second is None:
            return
        for event in self.worker.second.news():
            self.news.tell_again(event)
        if (error := self.worker.second.error) and not is_lost(error):
            raise error
        if error:
            self.news.tell(f"one connection: the second was lost ({first_line(error)})", every=math.inf)


class SecondWork(Work):
    """The work of the second connection while it may work; all decisions are the first connection's."""

    is_second = True

    def __init__(self, first: Work, second: Second, connection: BaseDatabaseWrapper) -> None:
        session = Session(connection, Relay(second))
        super().__init__(session, first.step, first.progress, only_in_window=first.hours.only_in_window)
        self.second = self.worker.second = second
        self.filler.pace.size, self.rests.watch = first.filler.pace.size, first.rests.watch

    @property
    def is_over(self) -> bool:
        return not (self.second.may_work and self.filler.pace.rate is None) or super().is_over

    def help(self) -> bool:
        """Fill sections; return whether something may be left, so that it may come back.

        That it was sent away is no answer: by now the server may be idle again.
        """
        with suppress(Stopped):  # the first finds the same
            try:
                self._fill_sections()
            finally:
                self.worker.let_go()
        return not self.is_through

    def _heed_second(self) -> None: ...

    def _heed_waiters(self) -> None: ...
