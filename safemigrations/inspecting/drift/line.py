"""What people read about drift: a line for each difference, with its repair."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from ...data import Data
from ...plans.steps import Step
from ...postgres.names import Name


class Line(Data):
    """One difference. Its repair is steps, statements, or a comment that says what a person has to do first."""

    kind: str  # such as column_missing, for machines
    table: Name
    name: str  # of the column, index, constraint or trigger, raw; empty for the table itself
    text: str
    repair: tuple[Step | str, ...] = ()
    columns: frozenset[str] = frozenset()  # that it is about, raw
    parents: frozenset[tuple[Name, str]] = frozenset()  # columns of other tables, at which foreign keys point
    command: str = ""  # what repairs it, where that is no statement

    @property
    def is_of_part(self) -> bool:
        """Is it about an index or a constraint?"""
        return self.kind.startswith(("index", "constraint"))

    @property
    def is_gone(self) -> bool:
        """Is something missing that every release needs? No open contract explains that."""
        return self.kind in ("column_missing", "table_missing")

    @property
    def place(self) -> str:
        """The name that --ignore is compared with."""
        return f"{self.label}.{self.name}" if self.name else self.label

    @property
    def label(self) -> str:
        """The table's name for people."""
        return ".".join(filter(None, (self.table.schema, self.table.raw)))

    def is_ignored(self, patterns: list[str]) -> bool:
        """A pattern is of a table with all that belongs to it, or of one part of it; with or without the schema."""
        places = {self.place, f"{self.table.raw}.{self.name}", self.place.removesuffix(f".{self.name}"), self.table.raw}
        return any(fnmatchcase(place, pattern) for place in places for pattern in patterns)

    def as_dict(self, statements: list[str]) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "schema": self.table.schema,
            "table": self.table.raw,
            "name": self.name,
            "text": self.text,
            "repair": statements,
            "command": self.command,
        }
