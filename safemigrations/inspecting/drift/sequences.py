"""Finds sequences that can't number the next rows: behind the largest key, too small, or owned by no column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...postgres import shapes
from ...postgres.names import Name
from ...postgres.values import literal
from ...running.session import Session
from . import repairs
from .line import Line
from .shape import Column, Table

LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
AT_ONCE = 200  # tables in one query


class Numbered:
    """The columns of some tables that a sequence numbers."""

    def __init__(self, session: Session, tables: Mapping[Name, Table]) -> None:
        self.session = session
        self.columns = {
            sequence: (table, column)
            for table, shape in tables.items()
            for column in shape.columns.values()
            if (sequence := column.owned or column.drawn) and column.is_numbered
        }
        self.rows = session.rows(shapes.sequences(self.columns)) if self.columns else []
        self.unseen: list[Name] = []  # tables of which this role can't read all that is needed

    def lines(self) -> Iterator[Line]:
        for oid, name, type_, largest, _ in self.rows:
            table, column = self.columns[oid]
            if largest < LARGEST.get(column.type, 0):
                yield _too_small(table, column, name, type_)
            if column.drawn and column.owned != column.drawn:
                yield _of_nobody(table, column, name)
        yield from self._behind()

    def _behind(self) -> Iterator[Line]:
        tables = sorted({self.columns[oid][0] for oid, *_ in self.rows})
        readable = {Name(table) for (table,) in self.session.rows(shapes.readable(tables))}
        seen = [oid for oid, *_, is_seen in self.rows if is_seen and self.columns[oid][0] in readable]
        self.unseen = sorted({self.columns[oid][0] for oid, *_ in self.rows if oid not in seen})
        names = {oid: name for oid, name, *_ in self.rows}
        for start in range(0, len(seen), AT_ONCE):
            for oid, most, last in self.session.rows(self._asked(seen[start : start + AT_ONCE])):
                table, column = self.columns[oid]
                yield _late(table, column, names[oid], most, last)

    def _asked(self, oids: Sequence[int]) -> str:
        asked = (
            shapes.behind(table, Name.of(column.name), oid) for oid in oids for table, column in [self.columns[oid]]
        )
        return " UNION ALL ".join(asked)


def _too_small(table: Name, column: Column, name: str, type_: str) -> Line:
    text = f"sequence {name} ends with {type_}, where column {column.name} is {column.type}"
    return _line(table, column, text, repairs.short(f"ALTER SEQUENCE {name} AS {column.type} NO MAXVALUE"))


def _of_nobody(table: Name, column: Column, name: str) -> Line:
    text = f"sequence {name} doesn't belong to column {column.name}: it stays when that goes"
    return _line(table, column, text, repairs.short(f"ALTER SEQUENCE {name} OWNED BY {table}.{Name.of(column.name)}"))


def _late(table: Name, column: Column, name: str, most: int, last: int) -> Line:
    text = f"sequence {name} stands at {last}, behind {column.name} {most}: inserts will fail"
    set_on = f"SELECT setval({literal(name)}, (SELECT max({Name.of(column.name)}) FROM {table}))"
    return _line(table, column, text, set_on)


def _line(table: Name, column: Column, text: str, sql: str) -> Line:
    return Line("sequence", table, column.name, text, (sql,), frozenset([column.name]))
