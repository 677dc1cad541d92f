"""One table as the migrations say it is, and as it is: what the lines about its parts have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...postgres.names import Name
from . import repairs
from .line import Line
from .repairs import Repair
from .shape import Column, Constraint, Table


class Both:
    """The two shapes of one table. `names` gives the tables at which foreign keys point, by their oids."""

    def __init__(
        self, connection: Any, model: Any, table: Name, expected: Table, found: Table, names: Mapping[int, Name]
    ) -> None:
        self.connection, self.model, self.table = connection, model, table
        self.expected, self.found, self.names = expected, found, names
        self.missing = [name for name in expected.columns if name not in found.columns]
        # Until these columns are fixed, nothing can be said about their indexes and constraints.
        self.unclear = {name for name, column in expected.columns.items() if self.is_other(column)}

    def is_other(self, column: Column) -> bool:
        found = self.found.columns.get(column.name)
        if not found:
            return True
        return (found.type, found.collation, found.generated) != (column.type, column.collation, column.generated)

    def is_unclear(self, columns: Sequence[str]) -> bool:
        return not self.unclear.isdisjoint(columns)

    def line(self, kind: str, name: str, text: str, repair: Repair, columns: Sequence[str] = ()) -> Line:
        return Line(kind, self.table, name, text, repair, frozenset(columns or [name]))

    def comment(self, name: str, found: str, expected: str) -> Line:
        what = f"column {name}" if name else "the table"
        now = f"the comment {found!r}" if found else "no comment"
        text = f"{what} has {now}, where the migrations say {expected!r}"
        return self.line("comment", name, text, repairs.comment(self.table, expected, name))

    def given_names(self) -> set[str]:
        """The names that people gave, by which later migrations look for the objects."""
        options = self.model._meta
        return {Name.from_django(one.name).raw for one in (*options.indexes, *options.constraints)}

    def parent(self, constraint: Constraint) -> Name | None:
        return self.names.get(constraint.parent)
