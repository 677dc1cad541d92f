"""Compares the expected shape of a table with its actual shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ...postgres.names import PREFIX, Name
from . import repairs
from .line import Line
from .repairs import Repair
from .shape import Column, Constraint, Index, Table

Part = TypeVar("Part", Index, Constraint)


class Comparison:
    """Compares one table. `names` gives the tables at which foreign keys point, by their oids."""

    def __init__(
        self, connection: Any, model: Any, table: Name, expected: Table, found: Table, names: Mapping[int, Name]
    ) -> None:
        self.connection, self.model, self.table = connection, model, table
        self.expected, self.found, self.names = expected, found, names
        self.missing = [name for name in expected.columns if name not in found.columns]
        # Until these columns are fixed, nothing can be said about their indexes and constraints.
        self.unclear = {name for name, column in expected.columns.items() if self._is_other(column)}

    def _is_other(self, column: Column) -> bool:
        found = self.found.columns.get(column.name)
        if not found:
            return True
        return (found.type, found.collation, found.generated) != (column.type, column.collation, column.generated)

    def lines(self) -> Iterator[Line]:
        yield from self._of_columns()
        yield from self._of_indexes()
        yield from self._of_constraints()
        if self.expected.comment and self.expected.comment != self.found.comment:
            yield self._comment("", self.found.comment, self.expected.comment)

    def _line(self, kind: str, name: str, text: str, repair: Repair, columns: Sequence[str] = ()) -> Line:
        return Line(kind, self.table, name, text, repair, frozenset(columns or [name]))

    def _of(self, kind: str, text: str, repair: Repair, *constraints: Constraint) -> Line:
        """A line about a check or a foreign key, which is named like the last argument of its text."""
        name = constraints[-1].name
        columns = [column for one in constraints for column in one.columns]
        parents = ((self._parent(one), column) for one in constraints for column in one.parent_columns)
        line = self._line(kind, name, text, repair, columns)
        return replace(line, parents=frozenset((parent, column) for parent, column in parents if parent))

    # Columns.

    def _of_columns(self) -> Iterator[Line]:
        for name in self.missing:
            yield self._missing(self.expected.columns[name])
        for name, column in self.expected.columns.items():
            if name in self.found.columns:
                yield from self._of_column(column, self.found.columns[name])
        for name, column in self.found.columns.items():
            if name not in self.expected.columns and _stops_inserts(column):
                yield self._line(
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
                repair += repairs.add_constraint(self.table, constraint, self._parent(constraint))
        return self._line("column_missing", column.name, f"column {column.name} is missing", repair)

    def _of_column(self, expected: Column, found: Column) -> Iterator[Line]:
        name = expected.name
        if found.generated != expected.generated or found.expression != expected.expression:
            yield self._generated(expected, found)
        elif found.type != expected.type:
            text = f"column {name} is {found.type}, where the migrations say {expected.type}"
            yield self._line("column_type", name, text, repairs.retype(self.table, expected))
        elif found.collation != expected.collation:
            text = f"column {name} has {_collation(found)}, where the migrations say {_collation(expected)}"
            yield self._line("column_collation", name, text, repairs.retype(self.table, expected))
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
            yield self._comment(name, found.comment, expected.comment)

    def _generated(self, expected: Column, found: Column) -> Line:
        now = f"is generated as {found.default}" if found.generated else "isn't generated"
        then = f"generated as {expected.default}" if expected.generated else "a plain column"
        text = f"column {expected.name} {now}, where the migrations say {then}"
        repair = repairs.generate(self.table, expected, found, self.connection.pg_version)
        return self._line("column_generated", expected.name, text, repair)

    def _nullability(self, expected: Column) -> Line:
        name = expected.name
        if expected.not_null:
            text = f"column {name} may be null, where the migrations say NOT NULL"
            return self._line("column_null", name, text, repairs.forbid_null(self.connection, self.model, name))
        text = f"column {name} can't be null, where the migrations say it may"
        return self._line("column_null", name, text, repairs.alter_column(self.table, name, "DROP NOT NULL"))

    def _default(self, expected: Column, found: Column) -> Line:
        now, then = (f"default {one.plain_default}" if one.plain_default else "no default" for one in (found, expected))
        change = f"SET DEFAULT {expected.default}" if expected.plain_default else "DROP DEFAULT"
        text = f"column {expected.name} has {now}, where the migrations say {then}"
        return self._line(
            "column_default", expected.name, text, repairs.alter_column(self.table, expected.name, change)
        )

    def _identity(self, expected: Column, found: Column) -> Iterator[Line]:
        """A column of type serial, from an older Django, numbers rows as well as an identity column does."""
        name = expected.name
        if expected.is_numbered and not found.is_numbered:
            text = f"nothing numbers column {name}: inserts fail"
            yield self._line("column_identity", name, text, repairs.number(self.table, name))
        elif expected.identity == "d" and found.identity == "a":
            text = (
                f"column {name} is GENERATED ALWAYS, where the migrations say BY DEFAULT: rows with a key are refused"
            )
            repair = repairs.alter_column(self.table, name, "SET GENERATED BY DEFAULT")
            yield self._line("column_identity", name, text, repair)
        elif found.identity and not expected.is_numbered:
            text = f"column {name} is an identity column, where the migrations say a plain one"
            yield self._line("column_identity", name, text, repairs.alter_column(self.table, name, "DROP IDENTITY"))

    def _comment(self, name: str, found: str, expected: str) -> Line:
        what = f"column {name}" if name else "the table"
        now = f"the comment {found!r}" if found else "no comment"
        text = f"{what} has {now}, where the migrations say {expected!r}"
        return self._line("comment", name, text, repairs.comment(self.table, expected, name))

    # Indexes, and the constraints that are made of one.

    def _of_indexes(self) -> Iterator[Line]:
        expected = [one for one in self.expected.indexes if not self._is_unclear(one.columns)]
        found = [one for one in self.found.indexes if not _is_ours(one.name, one.columns)]
        same, wanted, others = paired(expected, found)
        for want, one in same:
            yield from self._same_index(want, one)
        kept = [one for _, one in same]
        for want in wanted:
            other = _counterpart(want, others)
            if other:
                others.remove(other)
                kept.append(other)
                yield self._other_index(want, other)
            elif not self._is_lost_by_django(want):
                yield self._line(
                    "index_missing",
                    want.name,
                    f"{want.noun} {want.name} on {_bare_definition(want)} is missing",
                    tuple(repairs.build(self.table, want)),
                    want.columns,
                )
        yield from self._more_indexes(others, kept)

    def _is_unclear(self, columns: Sequence[str]) -> bool:
        return not self.unclear.isdisjoint(columns)

    def _same_index(self, want: Index, one: Index) -> Iterator[Line]:
        if want.name != one.name and want.name in self._given_names():
            if one.kind:
                repair = repairs.rename_constraint(self.table, one.constraint, want.constraint)
            else:
                repair = repairs.rename_index(self.table, one.name, want.name)
            text = f"{one.noun} {one.name} is called {want.name} in the migrations"
            yield self._line("index_name", one.name, text, repair, one.columns)
        if want.tablespace and want.tablespace != one.tablespace:
            text = f"{one.noun} {one.name} isn't in tablespace {want.tablespace}, where the migrations say it is"
            repair = repairs.move_index(self.table, one, want.tablespace)
            yield self._line("index_tablespace", one.name, text, repair, one.columns)

    def _is_lost_by_django(self, index: Index) -> bool:
        """Is this an index that Django itself drops?

        AlterField of a key drops the index for LIKE of each column that points at it, and never creates it again.
        """
        pointing = [field.column for field in self.model._meta.local_concrete_fields if field.remote_field]
        return index.definition.endswith("_pattern_ops)") and any(index.columns == [column] for column in pointing)

    def _given_names(self) -> set[str]:
        """The names that people gave, by which later migrations look for the objects."""
        options = self.model._meta
        return {Name.from_django(one.name).raw for one in (*options.indexes, *options.constraints)}

    def _other_index(self, want: Index, one: Index) -> Line:
        columns = [*want.columns, *one.columns]
        if want.kind == "u" and not one.kind and one.unique and want.definition == one.definition:
            text = f"{one.name} is a unique index, where the migrations say a unique constraint"
            repair: Repair = tuple(repairs.adopt(self.table, want, one))
        else:
            text = f"{one.noun} {one.name} is {_shown(one)}, where the migrations say {_shown(want)}"
            repair = repairs.rebuild(self.table, want, one)
        return self._line("index_differs", one.name, text, repair, columns)

    def _more_indexes(self, others: Sequence[Index], kept: list[Index]) -> Iterator[Line]:
        """Lines about unknown indexes. One that only makes queries fast is left alone, unless it exists twice."""
        for one in others:
            twice = next((other for other in kept if other.definition == one.definition and other.valid), None)
            if twice and one.valid and (twice.unique or not one.unique):
                text = f"{one.noun} {one.name} is the same as {twice.noun} {twice.name}: every write pays for both"
                yield self._line("index_duplicate", one.name, text, repairs.drop_index(self.table, one), one.columns)
                continue
            kept.append(one)
            if (one.unique or one.kind) and not self._is_unclear(one.columns):
                text = f"{one.noun} {one.name} on {_bare_definition(one)} is in no migration: inserts may fail"
                yield self._line("index_unknown", one.name, text, repairs.drop_index(self.table, one), one.columns)

    # Checks and foreign keys.

    def _of_constraints(self) -> Iterator[Line]:
        expected = [one for one in self.expected.constraints if not self._is_unclear(one.columns)]
        found = [one for one in self.found.constraints if not _is_ours(one.name, one.columns)]
        same, wanted, others = paired(expected, found)
        for want, one in same:
            if want.name != one.name and want.name in self._given_names():
                text = f"{one.noun} {one.name} is called {want.name} in the migrations"
                repair = repairs.rename_constraint(self.table, one.name, want.name)
                yield self._of("constraint_name", text, repair, one)
        for want in wanted:
            yield self._without(want, others)
        for one in others:
            if not self._is_unclear(one.columns):
                text = f"{one.noun} {one.name} ({self._shown(one)}) is in no migration: writes may fail"
                yield self._of("constraint_unknown", text, repairs.drop_constraint(self.table, one.name), one)

    def _without(self, want: Constraint, others: list[Constraint]) -> Line:
        other = _counterpart(want, others)
        if not other:
            text = f"{want.noun} {want.name} ({self._shown(want)}) is missing"
            repair = repairs.add_constraint(self.table, want, self._parent(want))
            return self._of("constraint_missing", text, repair, want)
        others.remove(other)
        text = f"{other.noun} {other.name} is {self._shown(other)}, where the migrations say {self._shown(want)}"
        repair = repairs.exchange_constraint(self.table, want, other, self._parent(want))
        return self._of("constraint_differs", text, repair, want, other)

    def _parent(self, constraint: Constraint) -> Name | None:
        return self.names.get(constraint.parent)

    def _shown(self, constraint: Constraint) -> str:
        text = repairs.definition(constraint, self._parent(constraint))
        return text if constraint.enforced else f"{text} NOT ENFORCED"


def paired(expected: Sequence[Part], found: Sequence[Part]) -> tuple[list[tuple[Part, Part]], list[Part], list[Part]]:
    """The same objects in pairs, matched by name first; the expected ones that are missing; the unexpected ones."""
    same, left = list[tuple[Part, Part]](), list(found)
    wanted = list(expected)
    by_name: Callable[[Part, Part], bool] = lambda want, one: want.name == one.name and want.what == one.what  # noqa: E731
    by_what: Callable[[Part, Part], bool] = lambda want, one: want.what == one.what  # noqa: E731
    for is_same in (by_name, by_what, same_but_for_nulls):
        for want in list(wanted):
            one = next((one for one in left if is_same(want, one)), None)
            if one:
                left.remove(one)
                wanted.remove(want)
                same.append((want, one))
    return same, wanted, left


OF_NULLS = re.compile(r' AND \(?("(?:[^"]|"")+"|\w+) IS NOT NULL\)?')


def same_but_for_nulls(want: Part, one: Part) -> bool:
    """Django writes IS NOT NULL beside the negation of a field that may be null, and nothing anew when that changes."""
    texts = want.text, one.text
    said = [bool(OF_NULLS.search(text)) for text in texts]
    bare = [re.sub("[()]", "", OF_NULLS.sub("", text)) for text in texts]
    return want.name == one.name and said[0] != said[1] and bare[0] == bare[1] and want.rest == one.rest


def _counterpart(want: Part, others: Sequence[Part]) -> Part | None:
    """The object in its place: one with its name, or one over the same columns."""
    named = (one for one in others if one.name == want.name)
    alike = (one for one in others if _alike(want, one))
    return next(named, None) or next(alike, None)


def _alike(want: Any, one: Any) -> bool:
    if isinstance(want, Constraint):
        return bool(want.kind == one.kind == "f" and want.columns == one.columns)
    return bool(want.unique and one.unique) and bool(want.definition == one.definition)


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


def _is_ours(name: str, columns: Sequence[str]) -> bool:
    return any(each.startswith(PREFIX) for each in (name, *columns))


def _collation(column: Column) -> str:
    return f"collation {column.collation}" if column.collation else "the collation of its type"


def _bare_definition(index: Index) -> str:
    return index.definition.removeprefix("USING ")


def _shown(index: Index) -> str:
    unique = "UNIQUE " if index.unique and index.kind in ("", "u") else ""
    later = repairs.deferrable(index) if index.kind == "u" else ""
    return f"{unique}{_bare_definition(index)}{later}"
