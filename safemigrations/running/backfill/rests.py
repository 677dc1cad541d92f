"""The rests of a worker between two batches, and its waits while the server can't keep up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .pace import SLOW
from .watch import Watch
from .worker import Worker

NAP = 1.0  # seconds of a long rest after which the worker looks whether somebody changed the pace, or stopped it


class Rests:
    """`is_over` says whether the worker is to stop and leave the rest."""

    def __init__(self, worker: Worker, is_over: Callable[[], bool]) -> None:
        self.worker, self.is_over = worker, is_over
        self.pace, self.news = worker.pace, worker.filler.news
        self.watch: Watch | None = None

    def before_batch(self) -> bool:
        """Wait while replicas, slots or the archiver can't keep up; return False where the work is to stop here."""
        assert self.watch
        while (reason := self.watch.stop()) and not self.is_over():
            self.news.wait(reason)
            time.sleep(NAP)
            if not self.worker.goes_on():
                return False
        if reason := self.watch.slowly():
            self.news.tell(f"slower: {reason}")
        return not self.is_over()

    def after_batch(self, took: float, filled: int) -> None:
        """Rest in proportion to the batch; a long rest ends when somebody changes the pace, or stops the work."""
        began = time.monotonic()
        while not self.is_over():
            share = self._share()
            left = self.pace.rest_after(took, filled, share=share) - (time.monotonic() - began)
            if left <= 0:
                return
            if left > took * share:
                self.news.tell(f"slower: {self.pace.rate:,.0f} rows/s at most (BACKFILL_RATE)", every=math.inf)
            time.sleep(min(left, NAP))
            if left > NAP and not self.worker.goes_on():
                return

    def _share(self) -> float:
        """Seconds of rest for a second of work: none while nobody else is there."""
        if self.watch is None or self.watch.is_alone:
            return 0
        return max(self.pace.rest, SLOW) if self.watch.slowly() else self.pace.rest
