"""Looks on at a walk (tests/walk.py): nothing is drift in any state of any change.

A run knows which tables it touched: at its end verify finds nothing there, and of the others the catalog says what it
said before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection

from safemigrations.contracts import queue
from safemigrations.inspecting.drift.inspection import Inspection
from safemigrations.inspecting.drift.touched import by_migrations, by_steps, tables_of_models
from safemigrations.inspecting.drift.verify import Drift, find
from safemigrations.inspecting.drift.wanted import wanted
from safemigrations.plans.steps import Step
from safemigrations.postgres.names import Name
from safemigrations.running.run import Run

from .cases import LABEL
from .snapshot import Snapshot, difference
from .walk import Moment, Observer, Release

OF_INDEX = re.compile(r" ON (?:ONLY )?(\S+|\".+?\") USING ")


class Verified(Observer):
    """Each place that an act leads to, once."""

    def __init__(self, release: Release) -> None:
        super().__init__(release)
        self.seen: set[tuple[str, ...]] = set()
        self.before: Snapshot | None = None
        self.steps: list[Step] = []  # of the contract that comes

    def look(self, moment: Moment) -> None:
        act = moment.acts[-1:]
        if act not in self.seen:
            self.seen.add(act)
            self.expect(moment, "is drift", drift(find(Inspection(connection))))
            self.expect(moment, "is drift at the end", self._at_the_end(act, moment.schema))
        self.before = moment.schema
        self.steps = [step for row in queue.open_rows(connection) for step in row.steps]

    def _at_the_end(self, act: tuple[str, ...], schema: Snapshot) -> list[str]:
        if act == ("contract",):
            return drift(by_steps(connection, self.steps))
        return self._of_run(self.release.run, schema) if act in (("expand",), ("back",)) else []

    def _of_run(self, run: Run, schema: Snapshot) -> list[str]:
        """With the tables that it changed without knowing it."""
        assert run.state
        assert self.before
        models = wanted("default", run.state, {LABEL})
        known = {table.raw for table in tables_of_models(models, run.touched)}
        missed = changed(self.before, schema) & {name.raw for name in models} - known
        return [*drift(by_migrations(connection, run.state, run.touched)), *sorted(missed)]


def drift(found: Drift) -> list[str]:
    # Alone, RenameField leaves the old name in Meta.indexes: a state of which nobody can make a model.
    notes = [note for note in found.notes if "has no field named" not in note]
    return [*notes, *(f"{line.place}: {line.text}" for line, _ in found.lines)]


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """Tables of which the catalog says something else, raw."""
    return {Name(table).raw for key, sides in difference(before, after).items() for table in _tables_of(key, sides)}


def _tables_of(key: str, sides: Sequence[Any]) -> Iterator[str]:
    kind, _, name = key.partition(" ")
    if kind == "indexes":
        yield from (found[1] for side in sides if side and (found := OF_INDEX.search(side[0])))
    elif kind in ("tables", "columns"):
        yield name.rpartition(".")[0] or name
    elif kind == "constraints" and not (all(sides) and sides[0][0] == "f"):  # only its parent is called otherwise
        yield name.rpartition(".")[0]
