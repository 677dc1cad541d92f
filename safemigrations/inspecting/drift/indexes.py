"""Compares the indexes of a table, and the constraints that are made of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import repairs
from .both import Both
from .line import Line
from .pairs import in_its_place, is_ours, paired
from .repairs import Repair
from .shape import Index


class OfIndexes(Both):
    def lines(self) -> Iterator[Line]:
        expected = [one for one in self.expected.indexes if not self.is_unclear(one.columns)]
        found = [one for one in self.found.indexes if not is_ours(one.name, one.columns)]
        same, wanted, others = paired(expected, found)
        for want, one in same:
            yield from self._same_index(want, one)
        kept = [one for _, one in same]
        for want in wanted:
            other = in_its_place(want, others)
            if other:
                others.remove(other)
                kept.append(other)
                yield self._other_index(want, other)
            elif not self._is_lost_by_django(want):
                yield self.line(
                    "index_missing",
                    want.name,
                    f"{want.noun} {want.name} on {_bare_definition(want)} is missing",
                    tuple(repairs.build(self.table, want)),
                    want.columns,
                )
        yield from self._more_indexes(others, kept)

    def _same_index(self, want: Index, one: Index) -> Iterator[Line]:
        if want.name != one.name and want.name in self.given_names():
            if one.kind:
                repair = repairs.rename_constraint(self.table, one.constraint, want.constraint)
            else:
                repair = repairs.rename_index(self.table, one.name, want.name)
            text = f"{one.noun} {one.name} is called {want.name} in the migrations"
            yield self.line("index_name", one.name, text, repair, one.columns)
        if want.tablespace and want.tablespace != one.tablespace:
            text = f"{one.noun} {one.name} isn't in tablespace {want.tablespace}, where the migrations say it is"
            repair = repairs.move_index(self.table, one, want.tablespace)
            yield self.line("index_tablespace", one.name, text, repair, one.columns)

    def _is_lost_by_django(self, index: Index) -> bool:
        """Is this an index that Django itself drops?

        AlterField of a key drops the index for LIKE of each column that points at it, and never creates it again.
        """
        pointing = [field.column for field in self.model._meta.local_concrete_fields if field.remote_field]
        return index.definition.endswith("_pattern_ops)") and any(index.columns == [column] for column in pointing)

    def _other_index(self, want: Index, one: Index) -> Line:
        columns = [*want.columns, *one.columns]
        if want.kind == "u" and not one.kind and one.unique and want.definition == one.definition:
            text = f"{one.name} is a unique index, where the migrations say a unique constraint"
            repair: Repair = tuple(repairs.adopt(self.table, want, one))
        else:
            text = f"{one.noun} {one.name} is {_shown(one)}, where the migrations say {_shown(want)}"
            repair = repairs.rebuild(self.table, want, one)
        return self.line("index_differs", one.name, text, repair, columns)

    def _more_indexes(self, others: Sequence[Index], kept: list[Index]) -> Iterator[Line]:
        """Lines about unknown indexes. One that only makes queries fast is left alone, unless it exists twice."""
        for one in others:
            twice = next((other for other in kept if other.definition == one.definition and other.valid), None)
            if twice and one.valid and (twice.unique or not one.unique):
                text = f"{one.noun} {one.name} is the same as {twice.noun} {twice.name}: every write pays for both"
                yield self.line("index_duplicate", one.name, text, repairs.drop_index(self.table, one), one.columns)
                continue
            kept.append(one)
            if (one.unique or one.kind) and not self.is_unclear(one.columns):
                text = f"{one.noun} {one.name} on {_bare_definition(one)} is in no migration: inserts may fail"
                yield self.line("index_unknown", one.name, text, repairs.drop_index(self.table, one), one.columns)


def _bare_definition(index: Index) -> str:
    return index.definition.removeprefix("USING ")


def _shown(index: Index) -> str:
    unique = "UNIQUE " if index.unique and index.kind in ("", "u") else ""
    later = repairs.deferrable(index) if index.kind == "u" else ""
    return f"{unique}{_bare_definition(index)}{later}"
