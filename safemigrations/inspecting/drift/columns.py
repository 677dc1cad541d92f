"""Compares the columns of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ...postgres.names import PREFIX
from . import repairs
from .both import Both
from .line import Line
from .repairs import Repair
from .shape import Column


class OfColumns(Both):
    def lines(self) -> Iterator[Line]:
        for name in self.missing:
            yield self._missing(self.expected.columns[name])
        for name, column in self.expected.columns.items():
            if name in self.found.columns:
                yield from self._of_column(column, self.found.columns[name])
        for name, column in self.found.columns.items():
            if name not in self.expected.columns and _stops_inserts(column):
                yield self.line(
                    "column_unknown",
                    name,
                    f"column {name} is in no migration, can't be null and has no default: inserts fail",
                    repairs.alter_column(self.table, name, "DROP NOT NULL"),
                )

    def _missing(self, column: Column) -> Line:
        planned = repairs.planned(self.connection, self.model, column.name)
        repair: Repair = repairs.add_column(planned, column.plain_default)
        for index in self.expected.indexes:
            if _waits_for(index, column.name, self.missing):
                repair += tuple(repairs.build(self.table, index))
        for constraint in self.expected.constraints:
            if _waits_for(constraint, column.name, self.missing):
                repair += repairs.add_constraint(self.table, constraint, self.parent(constraint))
        return self.line("column_missing", column.name, f"column {column.name} is missing", repair)

    def _of_column(self, expected: Column, found: Column) -> Iterator[Line]:
        name = expected.name
        if found.generated != expected.generated or found.expression != expected.expression:
            yield self._generated(expected, found)
        elif found.type != expected.type:
            text = f"column {name} is {found.type}, where the migrations say {expected.type}"
            yield self.line("column_type", name, text, repairs.retype(self.table, expected))
        elif found.collation != expected.collation:
            text = f"column {name} has {_collation(found)}, where the migrations say {_collation(expected)}"
            yield self.line("column_collation", name, text, repairs.retype(self.table, expected))
        if found.not_null != expected.not_null:
            yield self._nullability(expected)
        if (
            name not in self.unclear
            and not same_default(found.plain_default, expected.plain_default)
            and not found.drawn
        ):
            yield self._default(expected, found)
        yield from self._identity(expected, found)
        if expected.comment and expected.comment != found.comment:
            yield self.comment(name, found.comment, expected.comment)

    def _generated(self, expected: Column, found: Column) -> Line:
        now = f"is generated as {found.default}" if found.generated else "isn't generated"
        then = f"generated as {expected.default}" if expected.generated else "a plain column"
        text = f"column {expected.name} {now}, where the migrations say {then}"
        repair = repairs.generate(self.table, expected, found, self.connection.pg_version)
        return self.line("column_generated", expected.name, text, repair)

    def _nullability(self, expected: Column) -> Line:
        name = expected.name
        if expected.not_null:
            text = f"column {name} may be null, where the migrations say NOT NULL"
            return self.line("column_null", name, text, repairs.forbid_null(self.connection, self.model, name))
        text = f"column {name} can't be null, where the migrations say it may"
        return self.line("column_null", name, text, repairs.alter_column(self.table, name, "DROP NOT NULL"))

    def _default(self, expected: Column, found: Column) -> Line:
        now, then = (f"default {one.plain_default}" if one.plain_default else "no default" for one in (found, expected))
        change = f"SET DEFAULT {expected.default}" if expected.plain_default else "DROP DEFAULT"
        text = f"column {expected.name} has {now}, where the migrations say {then}"
        return self.line("column_default", expected.name, text, repairs.alter_column(self.table, expected.name, change))

    def _identity(self, expected: Column, found: Column) -> Iterator[Line]:
        """A column of type serial, from an older Django, numbers rows as well as an identity column does."""
        name = expected.name
        if expected.is_numbered and not found.is_numbered:
            text = f"nothing numbers column {name}: inserts fail"
            yield self.line("column_identity", name, text, repairs.number(self.table, name))
        elif expected.identity == "d" and found.identity == "a":
            text = (
                f"column {name} is GENERATED ALWAYS, where the migrations say BY DEFAULT: rows with a key are refused"
            )
            repair = repairs.alter_column(self.table, name, "SET GENERATED BY DEFAULT")
            yield self.line("column_identity", name, text, repair)
        elif found.identity and not expected.is_numbered:
            text = f"column {name} is an identity column, where the migrations say a plain one"
            yield self.line("column_identity", name, text, repairs.alter_column(self.table, name, "DROP IDENTITY"))


def _waits_for(part: Any, name: str, missing: Sequence[str]) -> bool:
    """Is this column the last one whose return brings the object back?"""
    return name == next((each for each in reversed(missing) if each in part.columns), None)


CAST = re.compile(r"""::("[^"]+"|[\w. ])+(\([\d,]+\))?(\[\])*$""")


def same_default(one: str, other: str) -> bool:
    """ALTER COLUMN TYPE leaves a constant with a cast that a new column doesn't have."""
    return one == other or bool(one and other and _bare(one) == _bare(other))


def _bare(default: str) -> str:
    """A default without the casts and parentheses around it, and without the quotes of a number."""
    before = ""
    while default != before:
        before = default
        default = CAST.sub("", default)
        if re.fullmatch(r"\([^()]*\)", default):
            default = default[1:-1]
    return default.strip("'") if re.fullmatch(r"'-?[\d.]+'", default) else default


def _stops_inserts(column: Column) -> bool:
    free = column.default or column.identity or column.generated
    return column.not_null and not free and not column.name.startswith(PREFIX)


def _collation(column: Column) -> str:
    return f"collation {column.collation}" if column.collation else "the collation of its type"
