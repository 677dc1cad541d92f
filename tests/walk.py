"""A walk through a change, there and back, and what looks on at it.

Each act leads to a place: the start, expanded, contracted. At each place the observers look at the schema, and what
they find wrong they say with their own name, so one walk shows what several suites would walk for:

- `ThereAndBack`: a place looks the same whenever the walk comes by, whatever was killed or taken back before;
- `StockEnd`: contracted, it is where Django's stock operations lead, rows included;
- `Locks` (tests/lock_modes.py): each step takes the locks that it declares;
- `Verified` (tests/verified.py): nothing is drift. The default run takes a case of each class of operations along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from safemigrations.contracts import queue
from safemigrations.contracts.table import Contract
from safemigrations.errors import StepFailed
from safemigrations.hooks.kept_triggers import counted_on, lost
from safemigrations.running.run import Report, Run

from .cases import BEFORE, LABEL, Case, base, ours
from .releases import contract, migrate, write
from .snapshot import Snapshot, difference, nameless, rows, snapshot

PLACED = "placed"  # a column that says when a row was made


@dataclass
class Release:
    """A case on a database with rows that the release before it wrote."""

    case: Case
    directory: Path
    package: str
    migrations: list[Migration]
    left: list[dict[str, Any]] = field(default_factory=list)  # what its first migration left for the contract
    run: Run = field(default_factory=Run)  # the last one

    @classmethod
    def written(cls, case: Case, directory: Path) -> Release:
        migrations = ours(case)
        return cls(case, directory, write(directory, [base(), *migrations]), migrations)

    @property
    def first(self) -> Migration:
        return self.migrations[0]

    @property
    def last(self) -> str:
        return self.migrations[-1].name

    def expand(self, report: Report | None = None) -> None:
        self.run = migrate(self.last, report)

    def contract(self, report: Report | None = None) -> None:
        contract(report)

    def back(self, report: Report | None = None) -> None:
        self.run = migrate(BEFORE, report)

    def back_after_contract(self, report: Report | None = None) -> None:
        """Where values are gone for good that the release before must have, going back works on empty tables."""
        if self.case.values_are_lost:
            with pytest.raises(StepFailed, match=r"can't be null in the release that you go back to|is duplicated"):
                self.back()
            empty()
        self.back(report)

    def expand_again(self, report: Report | None = None) -> None:
        """It was killed when all was done and the last of its migrations was not yet recorded."""
        if not self.case.safe:
            self.left = list(queue.rows(connection, migration=self.first.name).values())
            MigrationRecorder(connection).record_unapplied(LABEL, self.last)
            self.expand(report)

    def back_again(self, report: Report | None = None) -> None:
        """The same backwards, where the first is the last. Django records in a transaction that it is taken back."""
        if not self.case.safe and not self.first.atomic:
            MigrationRecorder(connection).record_applied(LABEL, self.first.name)
            for values in self.left:
                Contract._base_manager.create(**values)
            self.back(report)

    def assert_ends(self, schema: Snapshot) -> None:
        """As with the stock operations."""
        assert self.differs_from_end(schema, snapshot(connection)) == {}

    def assert_is(self, there: Snapshot) -> None:
        assert self.differs(there, snapshot(connection)) == {}

    def differs_from_end(self, schema: Snapshot, now: Snapshot) -> dict[str, Any]:
        if self.case.former_names:
            schema, now = nameless(schema), nameless(now)
        return difference(schema, now)

    def differs(self, there: Snapshot, now: Snapshot) -> dict[str, Any]:
        """Django comes back to another name where it alters what CREATE TABLE named."""
        if self.case.named_anew:
            there, now = nameless(there), nameless(now)
        return difference(there, now)


def empty(database: Any = connection) -> None:
    tables = ", ".join(name for name, (kind, *_) in snapshot(database)["tables"].items() if kind in "rp")
    with database.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables}")


WALK = (
    ("expand", "expanded"),
    ("expand_again", "expanded"),
    ("back", "start"),
    ("back_again", "start"),
    ("expand", "expanded"),
    ("contract", "contracted"),
    ("back_after_contract", "start"),
)
# Once more: in the default run those that are killed go there (tests/test_every_change_killed.py).
ONCE_MORE = (("expand", "expanded"), ("contract", "contracted"))


@dataclass
class Moment:
    """Where the walk is, and the acts that led there."""

    place: str
    acts: tuple[str, ...]
    schema: Snapshot

    def __str__(self) -> str:
        return f"{self.place} after {', '.join(self.acts) or 'nothing'}"

    @property
    def contracted(self) -> int:
        """How often."""
        return self.acts.count("contract")


class Observer:
    """Looks on at a walk; `wrong` is what it found."""

    def __init__(self, release: Release) -> None:
        self.release, self.wrong = release, list[str]()

    def look(self, moment: Moment) -> None:
        raise NotImplementedError

    def expect(self, moment: Moment, what: str, found: Any) -> None:
        """Nothing is found, or it is wrong."""
        if found:
            self.wrong.append(f"{moment}: {what}: {found}")


class ThereAndBack(Observer):
    def __init__(self, release: Release) -> None:
        super().__init__(release)
        self.known: dict[str, Snapshot] = {}
        self.rows = rows(connection)

    def look(self, moment: Moment) -> None:
        known = self.known.setdefault(moment.place, moment.schema)
        differs = self.release.differs if "back" in moment.acts else difference
        self.expect(moment, "differs from before", differs(known, moment.schema))
        if moment.acts == ("expand",):
            counted = counted_on(connection, MigrationLoader(connection))
            self.expect(moment, "is missed by the next migrate", [one.text for one in lost(connection, counted)])
        if moment.place == "start" and moment.acts:
            self.expect(moment, "left for the contract", list(queue.rows(connection)))
            if not moment.contracted and not self.release.case.nulls_are_filled:
                self.expect(moment, "rows differ from before", differing(self.rows, rows(connection)))


class StockEnd(Observer):
    """`end` is the schema, and the rows, that the stock operations lead to."""

    def __init__(self, release: Release, end: tuple[Snapshot, Any]) -> None:
        super().__init__(release)
        self.schema, self.rows = end

    def look(self, moment: Moment) -> None:
        if moment.place == "contracted":
            self.expect(moment, "differs from stock", self.release.differs_from_end(self.schema, moment.schema))
            # Going back afterwards, values may be lost.
            if moment.contracted == 1 and not self.release.case.rows_differ:
                now = rows(connection, leaving_out=PLACED)
                self.expect(moment, "rows differ from stock", differing(self.rows, now))


def differing(expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Tables whose rows differ: what they should be, and what they are."""
    return {
        table: (expected.get(table), found.get(table))
        for table in expected.keys() | found.keys()
        if expected.get(table) != found.get(table)
    }


def walk(release: Release, observers: Sequence[Observer], report: Report, *, once_more: bool = True) -> None:
    """`report` is told of the steps until the walk has been everywhere."""
    acts: tuple[str, ...] = ()
    _look(Moment("start", acts, snapshot(connection)), observers)
    for act, place in (*WALK, *ONCE_MORE) if once_more else WALK:
        told = report if "back_after_contract" not in acts and not act.endswith("again") else None
        try:
            getattr(release, act)(told)
        except Exception as error:
            error.add_note(f"It failed in {act} after {', '.join(acts)}.")
            raise
        acts = (*acts, act)
        _look(Moment(place, acts, snapshot(connection)), observers)


def _look(moment: Moment, observers: Sequence[Observer]) -> None:
    for observer in observers:
        observer.look(moment)
