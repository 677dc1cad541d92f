"""How long a step is expected to take: by what earlier steps took here, or by a sample that is read now."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
TO_BEGIN = 0.1  # seconds that a step takes whatever its size: it looks for locks, and asks

# What a time may differ by from the one that was measured, downwards and upwards: caches, other sessions, checkpoints.
OF_SAME, OF_OTHERS = (1.8, 2.5), (3.0, 3.0)
AGAIN = 4.0  # times less, where the same rows were filled before
FEWER = 3.0  # times less, as fewer rows may be left to fill than the last time
OF_SAMPLE: dict[Work, tuple[float, float]] = {
    Work.READS: (3.0, 3.0),
    Work.COMPARES: (4.0, 3.0),
    Work.BUILDS: (4.0, 3.0),
    Work.REWRITES: (1.0, 12.0),
    Work.FILLS: (1.0, 18.0),
}
AS_READING = {Work.BUILDS: 6.0, Work.COMPARES: 4.0}  # times as long, where nothing closer can be asked
WRITING = {Work.FILLS: 12.0, Work.REWRITES: 6.0}  # times as long as reading
BY_BYTES = (Work.READS,)  # how long others take depends on the rows

EXPRESSIONS = re.compile(r"^(?:USING btree )?\((.*)\)", re.DOTALL)
CLASSES = re.compile(r"\s+\w+_ops\b")


class Sample(Data):
    """A query over a whole table, and the same over some pages."""

    whole: str
    part: str
    times: float = 1.0  # of the whole


class Times:
    """Expects times of steps in one database."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._noted: dict[Work, list[ledger.Noted]] = {}

    def expect(self, work: Work, table: str, size: Size | None, step: Step | None = None) -> Expected | None:
        """None where nothing is known: a Python function that never ran, a table that isn't there."""
        if not (work.grows and size):
            return None
        noted = self._of(work)
        same = [one for one in noted if one.table == Name(table).raw]
        if same:
            expected = self._from(same, work, size, Source.SAME, OF_SAME)
            return _shorter(expected, AGAIN) if step and any(_is_that(one, step) for one in same) else expected
        if work in (Work.FILLS, Work.COMPUTES) and noted:
            return self._from(noted, work, size, Source.OTHERS, OF_OTHERS)
        return self._by_sample(work, table, step)

    # From the ledger.

    def _of(self, work: Work) -> list[ledger.Noted]:
        """What was noted of this kind and took long enough to say something, the last first."""
        if work not in self._noted:
            found = ledger.steps(self.asked.session.connection, work=work, rows__gt=0, bytes__gt=0)
            self._noted[work] = [one for one in found.order_by("-id")[:200] if one.seconds - one.waited >= LEAST]
        return self._noted[work]

    def _from(
        self, noted: Sequence[ledger.Noted], work: Work, size: Size, source: Source, factors: tuple[float, float]
    ) -> Expected:
        by_bytes = work in BY_BYTES
        amount = size.bytes if by_bytes else size.rows
        rates = [(one.seconds - one.waited) / ((one.bytes if by_bytes else one.rows) or 1) for one in noted[:LAST]]
        fewer = FEWER if work in (Work.FILLS, Work.COMPUTES) else 1.0
        return _between(min(rates) * amount / fewer, max(rates) * amount, source, factors)

    # From a sample.

    def _by_sample(self, work: Work, table: str, step: Step | None) -> Expected | None:
        pages = self.asked.pages(table, SAMPLE)
        if work not in OF_SAMPLE or pages is None:
            return None
        writing, source = WRITING.get(work, 1.0), Source.READING if work in WRITING else Source.SAMPLE
        for sample in _samples(work, table, step, pages):
            ratio = self._ratio(sample)
            # The first reads what isn't in the cache perhaps, as the step would.
            if ratio and (found := self.asked.seconds([sample.part] * 3)):
                slow, fast = ratio * max(found) * writing, ratio * min(found) * writing
                fast *= self._quicker(sample) if isinstance(step, Proof) else 1.0
                return _between(fast, slow, source, OF_SAMPLE[work])
        return None

    def _quicker(self, sample: Sample) -> float:
        """What a query that people's indexes, or several processes, may answer costs of what reading costs."""
        plain, whole = self.asked.cost(sample.whole), self.asked.cost(sample.whole, plain=False)
        return min(1.0, whole / plain) if whole and plain else 1.0

    def _ratio(self, sample: Sample) -> float | None:
        """How many times as much the whole is."""
        whole, part = self.asked.cost(sample.whole), self.asked.cost(sample.part)
        return sample.times * whole / part if whole and part else None


def _is_that(noted: ledger.Noted, step: Step) -> bool:
    """Has it filled these rows before, and finds only what was written since?"""
    return isinstance(step, Backfill) and noted.statement == ledger.statement_of(step)


def _shorter(expected: Expected, times: float) -> Expected:
    return Expected(expected.low / times, expected.high / times + TO_BEGIN, expected.source)


def _between(low: float, high: float, source: Source, factors: tuple[float, float]) -> Expected:
    down, up = factors
    return Expected(low / down, high * up + TO_BEGIN, source)


def _samples(work: Work, table: str, step: Step | None, pages: Pages) -> list[Sample]:
    """The queries that come closest to the step first, and at last one that reads the table."""
    count, where = "SELECT count(*) FROM", f"WHERE {pages.condition}"
    plain = Sample(f"{count} {table}", f"{count} {table} {where}", AS_READING.get(work, 1.0))
    match step:
        case BuildIndex() if found := EXPRESSIONS.match(step.definition):
            sort = f"{count} (SELECT FROM {table} {{}} ORDER BY {CLASSES.sub('', found[1])} OFFSET 0) AS sorted"
            # CONCURRENTLY reads the table twice, and writes the index.
            return [Sample(sort.replace("{}", ""), sort.replace("{}", where), 2.0), plain]
        case Online() if step.violators:
            return [Sample(_counted(step.violators), _counted(f"{step.violators} AND {pages.condition}")), plain]
        case Proof() if step.pages_of:
            return [Sample(_counted(step.query), _counted(f"{step.query} AND {pages.condition}")), plain]
        case Proof():
            return [Sample(_counted(step.query), plain.part), plain]
    return [plain]


def _counted(query: str) -> str:
    return f"SELECT count(*) FROM ({query}) AS found"
