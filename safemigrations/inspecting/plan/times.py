"""The expected time of a step, computed from earlier steps in this database or from a sample that is read now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ...data import Data
from ...plans.indexes import BuildIndex
from ...plans.steps import Backfill, Online, Proof, Step
from ...plans.work import Work
from ...postgres.names import Name
from ...running import ledger
from .asked import Asked, Pages
from .facts import Expected, Size, Source

LAST = 5  # of the steps of a kind that count
LEAST = 0.1  # seconds; a step that took less says more about its round trips than about its rows
SAMPLE = 4000  # pages
TO_BEGIN = 0.05  # seconds that a step takes whatever its size: it looks for locks, and asks
LOOKED_AT = 0.06  # of the time of a row that is filled, for a row that is only looked at

# What a time may differ by from the one that was measured, downwards and upwards: caches, other sessions, checkpoints.
# `python -m tests.bench_plan` says how these fit.
OF_SAME, OF_OTHERS = (2.0, 2.2), (2.5, 2.5)
OF_SAMPLE: dict[Work, tuple[float, float]] = {
    Work.READS: (1.4, 4.4),
    Work.COMPARES: (4.0, 3.0),
    Work.BUILDS: (2.8, 2.8),
    Work.REWRITES: (1.0, 12.0),
    Work.FILLS: (2.8, 2.8),
}
AS_READING = {Work.BUILDS: 8.0, Work.COMPARES: 4.0, Work.REWRITES: 6.0}  # times as long, where nothing closer is asked
AS_SORTING = 1.5  # times as long as sorting once is building an index, which is read twice and written
AND_READING = 5.0  # and so many times as long as counting the rows, which forming the entries takes
FILLING = 190.0  # times as long as counting a row is filling it
WRITING = (Work.FILLS, Work.REWRITES)

EXPRESSIONS = re.compile(r"^(?:USING btree )?\((.*)\)", re.DOTALL)
CLASSES = re.compile(r"\s+\w+_ops\b")


class Sample(Data):
    """A query over a whole table, and the same over some pages."""

    whole: str
    part: str


class Amount(Data):
    """What a step has to do."""

    rows: int
    bytes: int
    built: int | None = None  # bytes of the index
    filled: int | None = None  # of the rows; None: all

    def of(self, work: Work) -> float:
        """The amount in units that take about the same time each."""
        match work:
            case Work.FILLS | Work.COMPUTES:
                return LOOKED_AT * self.rows + (self.rows if self.filled is None else self.filled)
            case Work.BUILDS:
                return float(self.built or self.rows)
            case Work.READS:
                return float(self.bytes)
        return float(self.rows)


class Times:
    """Expects times of steps in one database."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._noted: dict[Work, list[ledger.Noted]] = {}

    def expect(
        self, work: Work, table: str, size: Size | None, step: Step | None = None, built: int | None = None
    ) -> Expected | None:
        """The expected time; None if nothing is known, as of a Python function that never ran, or a missing table."""
        if not (work.grows and size):
            return None
        if not size.bytes:
            return Expected(0.0, TO_BEGIN, Source.SAMPLE)
        noted = self._of(work)
        same = [one for one in noted if one.table == Name(table).raw]
        amount = Amount(size.rows, size.bytes, built, self._to_fill(step, same))
        if same:
            return _from(same, work, amount, Source.SAME, OF_SAME)
        if work in (Work.FILLS, Work.COMPUTES) and noted:
            return _from(noted, work, amount, Source.OTHERS, OF_OTHERS)
        return self._by_sample(work, table, step, amount)

    def _to_fill(self, step: Step | None, noted: Sequence[ledger.Noted]) -> int | None:
        """How many rows: what was filled before finds only those that were written since."""
        if not isinstance(step, Backfill):
            return None
        if any(one.statement == ledger.statement_of(step) for one in noted):
            return 0
        return self.asked.rows_of(f"SELECT FROM {step.table} WHERE {step.guard}")

    # From the ledger.

    def _of(self, work: Work) -> list[ledger.Noted]:
        """Notes about this kind of work that took long enough to be significant, the latest first."""
        if work not in self._noted:
            found = ledger.steps(self.asked.session.connection, work=work, rows__gt=0, bytes__gt=0)
            self._noted[work] = [one for one in found.order_by("-id")[:200] if one.seconds - one.waited >= LEAST]
        return self._noted[work]

    # From a sample.

    def _by_sample(self, work: Work, table: str, step: Step | None, amount: Amount) -> Expected | None:
        pages = self.asked.pages(table, SAMPLE)
        if work not in OF_SAMPLE or pages is None:
            return None
        source = Source.READING if work in WRITING else Source.SAMPLE
        reading = _reading(table, pages)
        if work is Work.FILLS:
            times = FILLING * amount.of(work) / max(1, amount.rows)
            return _between(self._seconds(reading, times), source, OF_SAMPLE[work])
        for sample in _samples(table, step, pages):
            if found := self._seconds(sample, AS_SORTING if isinstance(step, BuildIndex) else 1.0):
                if isinstance(step, BuildIndex):
                    more = self._seconds(reading, AND_READING) or (0.0, 0.0)
                    found = found[0] + more[0], found[1] + more[1]
                if isinstance(step, Proof):
                    found = found[0] * self._quicker(sample), found[1]
                return _between(found, source, OF_SAMPLE[work])
        return _between(self._seconds(reading, AS_READING.get(work, 1.0)), source, OF_SAMPLE[work])

    def _seconds(self, sample: Sample, times: float) -> tuple[float, float] | None:
        """The least and the most that the whole takes. The first try reads what isn't in the cache, as a step would."""
        ratio = self._ratio(sample)
        found = self.asked.seconds([sample.part] * 3) if ratio else []
        return (ratio * min(found) * times, ratio * max(found) * times) if ratio and found else None

    def _quicker(self, sample: Sample) -> float:
        """What a query that people's indexes, or several processes, may answer costs of what reading costs."""
        plain, whole = self.asked.cost(sample.whole), self.asked.cost(sample.whole, plain=False)
        return min(1.0, whole / plain) if whole and plain else 1.0

    def _ratio(self, sample: Sample) -> float | None:
        """The size of the whole table relative to the sample."""
        whole, part = self.asked.cost(sample.whole), self.asked.cost(sample.part)
        return whole / part if whole and part else None


def _from(
    noted: Sequence[ledger.Noted], work: Work, amount: Amount, source: Source, factors: tuple[float, float]
) -> Expected | None:
    """The time to expect from what the last of the noted steps took together.

    The size of an index counts where it is known of all of them.
    """
    last = noted[:LAST]
    amounts = [Amount(one.rows or 0, one.bytes or 0, one.built, one.filled) for one in last]
    if not all(each.built for each in (amount, *amounts)):
        amount, *amounts = (replace(each, built=None) for each in (amount, *amounts))
    seconds = sum(one.seconds - one.waited for one in last)
    expected = amount.of(work) * seconds / sum(each.of(work) for each in amounts)
    return _between((expected, expected), source, factors)


def _between(seconds: tuple[float, float] | None, source: Source, factors: tuple[float, float]) -> Expected | None:
    if seconds is None:
        return None
    (low, high), (down, up) = seconds, factors
    return Expected(low / down, high * up + TO_BEGIN, source)


def _reading(table: str, pages: Pages) -> Sample:
    count = f"SELECT count(*) FROM {table}"
    return Sample(count, f"{count} WHERE {pages.condition}")


def _samples(table: str, step: Step | None, pages: Pages) -> list[Sample]:
    """The queries that come closest to the step; elsewhere reading the table has to do."""
    match step:
        case BuildIndex() if found := EXPRESSIONS.match(step.definition):
            sort = f"(SELECT FROM {table} {{}} ORDER BY {CLASSES.sub('', found[1])} OFFSET 0) AS sorted"
            whole, part = sort.replace("{}", ""), sort.replace("{}", f"WHERE {pages.condition}")
            return [Sample(f"SELECT count(*) FROM {whole}", f"SELECT count(*) FROM {part}")]
        case Online() if step.violators:
            return [Sample(_counted(step.violators), _counted(f"{step.violators} AND {pages.condition}"))]
        case Proof() if step.pages_of:
            return [Sample(_counted(step.query), _counted(f"{step.query} AND {pages.condition}"))]
        case Proof():
            return [Sample(_counted(step.query), _reading(table, pages).part)]
    return []


def _counted(query: str) -> str:
    return f"SELECT count(*) FROM ({query}) AS found"
