"""Compares the checks and foreign keys of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from . import repairs
from .both import Both
from .line import Line
from .pairs import in_its_place, is_ours, paired
from .repairs import Repair
from .shape import Constraint


class OfConstraints(Both):
    def lines(self) -> Iterator[Line]:
        expected = [one for one in self.expected.constraints if not self.is_unclear(one.columns)]
        found = [one for one in self.found.constraints if not is_ours(one.name, one.columns)]
        same, wanted, others = paired(expected, found)
        for want, one in same:
            if want.name != one.name and want.name in self.given_names():
                text = f"{one.noun} {one.name} is called {want.name} in the migrations"
                repair = repairs.rename_constraint(self.table, one.name, want.name)
                yield self._of("constraint_name", text, repair, one)
        for want in wanted:
            yield self._without(want, others)
        for one in others:
            if not self.is_unclear(one.columns):
                text = f"{one.noun} {one.name} ({self._shown(one)}) is in no migration: writes may fail"
                yield self._of("constraint_unknown", text, repairs.drop_constraint(self.table, one.name), one)

    def _without(self, want: Constraint, others: list[Constraint]) -> Line:
        other = in_its_place(want, others)
        if not other:
            text = f"{want.noun} {want.name} ({self._shown(want)}) is missing"
            repair = repairs.add_constraint(self.table, want, self.parent(want))
            return self._of("constraint_missing", text, repair, want)
        others.remove(other)
        text = f"{other.noun} {other.name} is {self._shown(other)}, where the migrations say {self._shown(want)}"
        repair = repairs.exchange_constraint(self.table, want, other, self.parent(want))
        return self._of("constraint_differs", text, repair, want, other)

    def _of(self, kind: str, text: str, repair: Repair, *constraints: Constraint) -> Line:
        """A line about a check or a foreign key, which is named like the last argument of its text."""
        name = constraints[-1].name
        columns = [column for one in constraints for column in one.columns]
        parents = ((self.parent(one), column) for one in constraints for column in one.parent_columns)
        line = self.line(kind, name, text, repair, columns)
        return replace(line, parents=frozenset((parent, column) for parent, column in parents if parent))

    def _shown(self, constraint: Constraint) -> str:
        text = repairs.definition(constraint, self.parent(constraint))
        return text if constraint.enforced else f"{text} NOT ENFORCED"
