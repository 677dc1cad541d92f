"""One batch: rows that are filled in one short transaction, tried again until it succeeds."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, transaction

from ... import conf
from ...errors import LockNotAcquired
from ..locking import locks
from ..lost import first_line
from .failures import TooManyLocked, is_rejection
from .filler import Filler
from .progress import Section
from .sections import condition_of, next_fence, shared_batch
from .table import Key, Part, condition, is_gone
from .worker import Worker

UNDEFINED_TABLE = "42P01"


class Batch:
    """The rows that a condition selects.

    A lock timeout or a deadlock costs only this batch, which is tried again, smaller. A row that the database rejects
    is left for the end; so is one that somebody holds, where `leaving` is set.
    """

    def __init__(self, filler: Filler, part: str, where: str = "", *, leaving: bool) -> None:
        self.filler, self.part, self.condition, self.leaving = filler, part, where, leaving
        self.deadline = time.monotonic() + conf.lock_retry_for()
        self.failures = 0
        self.is_rejected = False  # in one piece; so it is filled row by row
        self.filled = 0

    def fill(self) -> bool:
        """Try until the batch is filled; return False if another worker has taken it over."""
        while True:
            try:
                return self._try()
            except (TooManyLocked, DatabaseError) as error:
                if isinstance(error, TooManyLocked) or locks.is_retried(error):
                    if self._leaves_it_to_another(error):
                        return False
                elif self.is_rejected or not is_rejection(error):
                    raise
                else:
                    self.is_rejected = True

    def _try(self) -> bool:
        with self._hold() as is_ours:
            if not is_ours:
                return False
            where = self._where()
            if self.is_rejected:
                filled = self.filler.fill_one_by_one(self.part, where)
            else:
                filled = self.filler.fill(self.part, where, unlocked=self.leaving and self.failures > 1)
            self._then(filled)
        self.filled = filled
        return True

    def _leaves_it_to_another(self, error: Exception) -> bool:
        """Make the next try smaller, and rest before it; return True where this worker leaves the batch to another."""
        self.failures += 1
        if self._steps_aside():
            return True
        self.filler.slow_down(first_line(error))
        if time.monotonic() > self.deadline:
            raise LockNotAcquired(
                f"Rows stayed locked by another transaction for {conf.lock_retry_for():.0f} s. What was filled "
                "stays filled. End that transaction and run the same command again."
            ) from error
        time.sleep(random.uniform(0.05, 0.5))
        return False

    # What kinds of batches do in their own way.

    @contextmanager
    def _hold(self) -> Iterator[bool]:
        """A transaction for one try; yields whether the batch is still this worker's."""
        with self.filler.transaction():
            yield True

    def _where(self) -> str:
        """Which rows the next try fills; asked inside its transaction."""
        return self.condition

    def _then(self, filled: int) -> None:
        """Called with the number of filled rows, to commit something together with them."""

    def _steps_aside(self) -> bool:
        """Does this worker leave the batch to another after a lock wasn't free?"""
        return False


class OwnedBatch(Batch):
    """Rows of a section that the worker holds."""

    def __init__(self, worker: Worker, section: Section, part: str, where: str = "", *, leaving: bool) -> None:
        super().__init__(worker.filler, part, where, leaving=leaving)
        self.worker, self.section = worker, section

    @contextmanager
    def _hold(self) -> Iterator[bool]:
        with self.worker.hold(self.section) as is_ours:
            yield is_ours

    def _steps_aside(self) -> bool:
        return self.worker.steps_aside()


class BatchOfKeys(OwnedBatch):
    """Rows that a worker comes back to, while it holds the section that ends the backfill."""

    def __init__(self, worker: Worker, section: Section, part: str, keys: list[Key]) -> None:
        super().__init__(worker, section, part, condition(worker.step.key, keys), leaving=False)
        self.before = section.filled

    def _then(self, filled: int) -> None:
        self.section.filled = self.before + filled
        self.worker.move(self.section, {"filled": self.section.filled})


class BatchOfMissed(BatchOfKeys):
    """Rows that meet the guard, and perhaps were filled all the same: only those are filled that don't meet it then."""

    def __init__(self, worker: Worker, section: Section, part: str, keys: list[Key]) -> None:
        super().__init__(worker, section, part, keys)
        self.keys = keys

    def _where(self) -> str:
        filled = {tuple(key) for key in self._filled(self.keys)}
        missed = [key for key in self.keys if tuple(key) not in filled]
        return condition(self.filler.step.key, missed) if missed else "FALSE"

    def _filled(self, keys: list[Key]) -> list[Key]:
        """Those that still meet the guard after they were filled once more, which is rolled back."""
        alias, where = self.filler.connection.alias, condition(self.filler.step.key, keys)
        try:
            with transaction.atomic(using=alias):
                self.filler.rows.fill(self.part, where)
                still = self.filler.rows.keys(self.part, where)
                transaction.set_rollback(True, using=alias)
        except DatabaseError as error:
            if not is_rejection(error):
                raise
            middle = len(keys) // 2
            # A row that is rejected was rejected when its turn came, and is known.
            still = [*self._filled(keys[:middle]), *self._filled(keys[middle:])] if middle else keys
        return still


class BatchOfSection(OwnedBatch):
    """The next rows of a section. Its end is decided when it begins, as the size of batches may have changed."""

    def __init__(self, worker: Worker, section: Section, part: Part) -> None:
        super().__init__(worker, section, part.name, leaving=True)
        self.whole = part
        self.upto, self.began, self.took = section.at, 0.0, 0.0
        self.moved: dict[str, Any] = {}

    def fill(self) -> bool:
        try:
            if not super().fill():
                return False
        except DatabaseError as error:
            if locks.sqlstate(error) != UNDEFINED_TABLE:
                raise
            if not is_gone(self.filler.connection, self.filler.step, self.part):
                raise
            self.moved = {"number": self.section.passes}  # nobody needs these rows any more
            self.worker.move(self.section, self.moved)
        self.took = time.monotonic() - self.began
        for name, value in self.moved.items():  # only what is committed
            setattr(self.section, name, value)
        return True

    def _where(self) -> str:
        most = shared_batch(self.section) if self.worker.is_shared else math.inf
        self.upto = next_fence(self.section, min(self.filler.pace.rows, most))
        self.began = time.monotonic()
        return condition_of(self.filler.step, self.whole, self.section, self.upto)

    def _then(self, filled: int) -> None:
        section, pace = self.section, self.filler.pace
        visited = (self.upto - section.at) * section.rows / section.passes
        pace.took(time.monotonic() - self.began, visited)
        pass_is_done = self.upto == len(section.fences) - 1
        self.moved = {
            "number": section.number + pass_is_done,
            "at": 0 if pass_is_done else self.upto,
            "visited": section.visited + visited,
            "filled": section.filled + filled,
            "size": pace.size,
        }
        self.worker.move(section, self.moved)
