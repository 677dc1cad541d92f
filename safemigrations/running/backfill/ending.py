"""The end of a backfill: rows that moved, and rows that were left.

A backfill is done when its guard finds no row any more that it would have filled. Such a row may stand on another page,
in another partition, or behind another key than when its turn came.
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.timezone import now

from ...errors import StepFailed
from ..events.vocabulary import BackfillDone, BackfillRejected
from ..run import Report
from . import progress as store
from .batch import BatchOfKeys, BatchOfMissed
from .left import LeftRow, as_data, rejected
from .progress import Section, Status
from .table import Key, leaves, refuse_without_table, row_of
from .worker import Worker

CHUNK = 500  # keys that are filled together
MOST_IN_VAIN = 20  # times so many keys of rows that still meet the guard when they are filled: so do all others
SWEPT = 100_000  # keys of rows that moved while their pages were gone over, remembered at a time


class Ending:
    """What the worker does that got the section which ends the backfill."""

    def __init__(self, worker: Worker, section: Section, report: Report) -> None:
        self.worker, self.section, self.report = worker, section, report
        self.filler, self.step, self.progress = worker.filler, worker.step, worker.progress
        self.in_vain = 0  # how often in a row nothing was filled

    def run(self) -> None:
        """Fill the rows that moved, then those that were left. Raises StepFailed where some are rejected."""
        connection = self.filler.connection
        refuse_without_table(connection, self.step)
        parts = leaves(connection, self.step)
        if not all(self._sweep(part) for part in parts):
            return
        refused = self._come_back(self._left_of(set(parts)))
        if refused is None or not self._store(refused):
            return
        if refused:
            self.report.tell(BackfillRejected(self.step, len(refused), as_data(refused)))
            raise StepFailed(rejected(self.step, refused))
        _, filled = store.totals(connection, self.progress)
        self.report.tell(BackfillDone(self.step, filled))

    def _store(self, refused: list[LeftRow]) -> bool:
        return self.worker.end(
            self.section,
            status=Status.FAILED if refused else Status.DONE,
            left=[list(one) for one in refused],
            ending=not refused,  # the next run begins with the end again
            finished_at=None if refused else now(),
            last_error=rejected(self.step, refused) if refused else "",
        )

    # Rows that moved.

    def _sweep(self, part: str) -> bool:
        """Fill what the guard still finds; return False where the section isn't ours any more.

        Where a row that is filled may still meet the guard, a look at some of the rows tells whether all of them do.
        """
        if self.step.clears:
            return self._fill_all(part, self._fill)
        return self.step.guard == "TRUE" or self._fill_all(part, self._fill_missed)

    def _fill_all(self, part: str, fill: Callable[[str, list[Key]], bool]) -> bool:
        """One look finds all rows. If they are too many to remember, they are taken in the order of the key."""
        keys = self._unfilled(part, "TRUE", ordered=False)
        if keys is not None and len(keys) == SWEPT:
            keys = self._unfilled(part, "TRUE", ordered=True)
        while keys and self.in_vain < MOST_IN_VAIN:
            for at in range(0, len(keys), CHUNK):
                if not fill(part, keys[at : at + CHUNK]):
                    return False
            if len(keys) < SWEPT:
                return True
            after = f"({', '.join(self.step.key)}) > {row_of(keys[-1])}"
            keys = self._unfilled(part, after, ordered=True)
        return keys is not None

    def _unfilled(self, part: str, where: str, *, ordered: bool) -> list[Key] | None:
        """Keys of rows that aren't filled; None: the section isn't ours any more. Nobody takes it over meanwhile."""
        with self.worker.hold(self.section) as is_ours:
            return self.filler.rows.keys(part, where, limit=SWEPT, ordered=ordered) if is_ours else None

    def _fill(self, part: str, keys: list[Key]) -> bool:
        return BatchOfKeys(self.worker, self.section, part, keys).fill()

    def _fill_missed(self, part: str, keys: list[Key]) -> bool:
        """Fill those of the rows that don't meet the guard any more when they are filled."""
        if self.in_vain >= MOST_IN_VAIN:
            return True
        batch = BatchOfMissed(self.worker, self.section, part, keys)
        if not batch.fill():
            return False
        self.in_vain = 0 if batch.filled else self.in_vain + 1
        return True

    # Rows that were left.

    def _left_of(self, parts: set[str]) -> list[LeftRow]:
        """The rows that were left in these parts, each once."""
        rows = [row for row in self.filler.left.rows if row[0] in parts]
        return list({(part, tuple(key)): (part, key, error) for part, key, error in rows}.values())

    def _come_back(self, left: list[LeftRow]) -> list[LeftRow] | None:
        """Fill each row on its own and return those that are rejected again; None: the section isn't ours any more."""
        known = len(self.filler.left.rows)
        for part, key, _ in left:
            if not self._fill(part, [key]):
                return None
        return self.filler.left.rows[known:]
