"""The facts about the steps of our plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from django.db import DatabaseError, transaction

from ...plans.indexes import BuildIndex
from ...plans.steps import Backfill, Plan, Proof, Question, Step, Together
from ...plans.work import Work, locks_of, table_of, work_of
from ...running.lost import raise_lost
from ...running.preview import preview
from ...running.run import sending
from .asked import QUOTED, Asked
from .facts import LATER, Size, StepFacts
from .times import Times

NOT_THERE = "its table isn't there yet"


class OfSteps:
    """Looks at plans in the order in which they will run; `sent` are the statements before them."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.times = asked, Times(asked)
        self.sent: list[str] = []
        self.indexed = defaultdict[str, set[str]](set)  # table -> columns, quoted, that get an index before

    def facts(self, plan: Plan, *, may_be_done: bool = False) -> list[StepFacts]:
        """`may_be_done`: a run that was stopped may have begun it."""
        found = []
        # What the statements before will have changed may look like the end of a step.
        done = set(map(id, self._done(plan))) if may_be_done and not self.sent else set()
        for step in plan:
            for each in preview(self.asked.session, (step,), after=self.sent):
                found.append(self._of(each, is_done=id(step) in done))
                self.sent += [f"{sql};" for sql in each.statements if id(step) not in done]
        return found

    def _done(self, plan: Iterable[Step]) -> Iterator[Step]:
        """The steps that are done, up to the first one that isn't.

        Whether a later step is done can't be told before its turn.
        """
        for step in plan:
            if not step.done:
                continue
            try:
                with sending(), transaction.atomic(using=self.asked.session.connection.alias):
                    if not self.asked.session.rows(step.done):
                        return
            except DatabaseError as error:
                raise_lost(error)
                return
            yield step

    def _of(self, step: Step, *, is_done: bool) -> StepFacts:
        table, work, locks = table_of(step), work_of(step), locks_of(step)
        asks = isinstance(step, Proof) and work is Work.INSTANT
        kind = type(step).__name__
        facts = StepFacts(step.why, step.statements, locks, work, table, is_done=is_done, kind=kind, is_asked=asks)
        if isinstance(step, Together):
            facts = replace(facts, for_newer_snapshots=step.for_newer_snapshots)
        if isinstance(step, Question):
            return replace(facts, work=Work.UNKNOWN, note=LATER)
        if not work.grows or is_done:
            return facts
        size = self.asked.size(table)
        if size is None:
            return replace(facts, note=NOT_THERE)
        built = self._built(step)
        time = self.times.expect(work, table, size, step, built)
        if isinstance(step, BuildIndex):
            self.indexed[table] |= set(QUOTED.findall(step.definition))
        elif time and isinstance(step, Proof) and self.indexed[table] & set(QUOTED.findall(step.query)):
            time = replace(time, low=0.0)  # the index may answer it at once
        fires = step.fires(self.asked.session) if isinstance(step, Backfill) else ""
        note = "; ".join(filter(None, ["" if time else "how long it takes isn't known", fires]))
        return replace(facts, size=size, built=built, disk=_disk(work, size, built), time=time, note=note)

    def _built(self, step: Step) -> int | None:
        return self.asked.size_of_index(step.table, step.definition) if isinstance(step, BuildIndex) else None


def _disk(work: Work, size: Size, built: int | None) -> int | None:
    """Bytes at most: an index is sorted on disk before it is written, and every row that is filled leaves its old
    version.
    """
    if built is not None:
        return 2 * built
    return size.bytes if work in (Work.FILLS, Work.COMPUTES) else None
