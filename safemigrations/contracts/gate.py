"""May a row of the contract run now? Values in, verdict out.

Who looks at the database is in `sessions`, `releases` and `quiet`; who prints is in `management/contracting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum

from ..data import Data
from .on_disk import Key
from .releases import Release
from .sessions import Seen
from .table import Status
from .unfinished import Unfinished


class Row(Data):
    """What the gate looks at in a row of the queue."""

    number: int
    key: Key  # app label and migration
    status: str
    since: datetime  # when the expand left it
    until: datetime | None  # of a postponed row; None: until somebody resumes it
    tables: frozenset[str]  # that its plan works on
    needs: frozenset[int]  # the rows that have to run before it, or together with it
    unfilled: tuple[Unfinished, ...] = ()  # unfinished backfills that need what goes

    @property
    def is_postponed(self) -> bool:
        return self.status == Status.POSTPONED


class Others(Data):
    """Who else uses the database."""

    sessions: Sequence[Seen]
    remembered: Mapping[str, datetime]  # mark -> when a process of that release connected last
    releases: Mapping[str, Release]  # mark -> what is known of it
    own: str  # the mark of this code

    def with_sessions(self, sessions: Sequence[Seen]) -> Others:
        return Others(sessions, self.remembered, self.releases, self.own)

    @property
    def any_is_known(self) -> bool:
        """Has another release been noted? If none has, a mark that nobody knows says as little as no mark."""
        return any(mark != self.own for mark in self.releases)

    def needs(self, mark: str, row: Row) -> bool:
        """Does the release of this mark need what the row removes, as far as is known?"""
        if mark == self.own:
            return False
        release = self.releases.get(mark)
        if release is None:
            return self.any_is_known
        return not release.knows(*row.key) and not row.tables.isdisjoint(release.tables)

    def is_judged(self, session: Seen) -> bool:
        """Is the release of the session known?"""
        mark = session.mark
        return mark is not None and (mark == self.own or mark in self.releases or self.any_is_known)


class Rules(Data):
    """What the settings and the command line say."""

    after: timedelta = timedelta(0)
    strict: bool = False
    quiet: timedelta = timedelta(0)
    is_open: bool = False  # nobody else uses this database
    forced: bool = False


class Why(Enum):
    """What keeps a row from running."""

    SKIPPED = "skipped"
    POSTPONED = "postponed"
    UNKNOWN = "its migration is unknown"
    UNFILLED = "a backfill needs what goes"
    YOUNG = "it is too young"
    SESSIONS = "sessions need what goes"
    UNMARKED = "sessions without a mark"
    REMEMBERED = "a release was there"
    NEEDS = "another row waits"

    @property
    def can_be_forced(self) -> bool:
        return self in (Why.YOUNG, Why.SESSIONS, Why.UNMARKED, Why.REMEMBERED)

    @property
    def is_the_gate(self) -> bool:
        """Does the gate itself refuse, rather than a person or another row?"""
        return self.can_be_forced or self in (Why.UNKNOWN, Why.UNFILLED)


class Wait(Data):
    """Why a row waits, and for whom."""

    row: Row
    why: Why
    sessions: tuple[Seen, ...] = ()
    marks: tuple[str, ...] = ()  # of releases that were there
    rows: tuple[int, ...] = ()  # that it needs


class Verdict(Data):
    """The rows that run, the rows that wait, what was forced, and the sessions whose release is unknown."""

    runs: list[Row]
    waits: list[Wait]
    forced: list[Wait]
    unjudged: list[Seen]

    @property
    def says_no(self) -> bool:
        """Does a row wait for another reason than a person's decision?"""
        return any(wait.why.is_the_gate for wait in self.waits)


def decide(rows: Sequence[Row], known: AbstractSet[Key], others: Others, rules: Rules, now: datetime) -> Verdict:
    """Which rows run and which wait.

    `known` are the migrations that this code has. Rows are in their order, and with each row come the rows that it
    needs.
    """
    found = [wait for row in rows if (wait := _wait(row, known, others, rules, now))]
    forced = [wait for wait in found if rules.forced and wait.why.can_be_forced]
    waits = [wait for wait in found if wait not in forced]
    waits += _behind(rows, waits)
    held = {wait.row.number for wait in waits}
    return Verdict(
        runs=[row for row in rows if row.number not in held],
        waits=sorted(waits, key=lambda wait: wait.row.number),
        forced=[wait for wait in forced if wait.row.number not in held],
        unjudged=[session for session in others.sessions if not others.is_judged(session)],
    )


def _wait(row: Row, known: AbstractSet[Key], others: Others, rules: Rules, now: datetime) -> Wait | None:
    """The reason that lasts longest, or None."""
    if row.status == Status.SKIPPED:
        return Wait(row, Why.SKIPPED)
    if row.is_postponed and (row.until is None or row.until > now):
        return Wait(row, Why.POSTPONED)
    if row.key not in known:
        return Wait(row, Why.UNKNOWN)
    if row.unfilled:
        return Wait(row, Why.UNFILLED)
    if rules.is_open:
        return None
    if now - row.since < rules.after:
        return Wait(row, Why.YOUNG)
    return next(_because_of(others, row, rules, now), None)


def _because_of(others: Others, row: Row, rules: Rules, now: datetime) -> Iterator[Wait]:
    needing = tuple(
        one for one in others.sessions if one.mark and others.is_judged(one) and others.needs(one.mark, row)
    )
    if needing:
        yield Wait(row, Why.SESSIONS, sessions=needing)
    unjudged = tuple(one for one in others.sessions if not others.is_judged(one) and not one.is_a_tool)
    if rules.strict and unjudged:
        yield Wait(row, Why.UNMARKED, sessions=unjudged)
    recent = (mark for mark, at in others.remembered.items() if now - at < rules.quiet)
    if marks := tuple(mark for mark in recent if others.needs(mark, row)):
        yield Wait(row, Why.REMEMBERED, marks=marks)


def _behind(rows: Iterable[Row], waits: Iterable[Wait]) -> list[Wait]:
    """The rows that need a waiting row. A skipped row never runs, so no row waits for it."""
    held = {wait.row.number: wait.why for wait in waits}
    found = list[Wait]()
    while True:
        waiting = {number for number, why in held.items() if why is not Why.SKIPPED}
        more = [row for row in rows if row.number not in held and row.needs & waiting]
        if not more:
            return found
        found += [Wait(row, Why.NEEDS, rows=tuple(sorted(row.needs & waiting))) for row in more]
        held.update((row.number, Why.NEEDS) for row in more)
