"""Claims: what a step takes, frees or works on, as values. Plans are compared by them, and messages name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from ..data import Data
from ..postgres.names import Name


class Kind(StrEnum):
    TABLE = "table"
    VIEW = "view"  # the one that has a table's old name until the contract
    INDEX = "index"
    COLUMN = "column"
    TWIN = "twin"  # a column that holds the same data as another until the contract
    CONSTRAINT = "constraint"
    KEY = "key"  # a column, as the one that foreign keys point at


PARTS_OF_A_TABLE = (Kind.COLUMN, Kind.TWIN, Kind.CONSTRAINT)  # and gone when it is
NAMED_WITH_TABLE = (*PARTS_OF_A_TABLE, Kind.KEY)


class Claim(Data):
    """Something that a step takes, frees or works on. Names are raw."""

    kind: Kind
    table: str = ""  # empty for an index, which its name tells from all others of the schema
    name: str = ""  # empty for a table and a view
    schema: str = ""  # empty where the model leaves it to the search_path

    def __hash__(self) -> int:  # type: ignore[override]
        return hash((self.kind, self.table, self.name, self.schema))

    def __str__(self) -> str:
        if self.kind in NAMED_WITH_TABLE:
            return f"{self.kind} {self.name} of {self.table}"
        return f"view of {self.table}" if self.kind is Kind.VIEW else f"{self.kind} {self.table or self.name}"

    def meets(self, other: Claim) -> bool:
        """Do both mean the same thing? A name without a schema may be in any schema."""
        same = (self.kind, self.table, self.name) == (other.kind, other.table, other.name)
        return same and (self.schema == other.schema or not (self.schema and other.schema))

    def is_in(self, others: Iterable[Claim]) -> bool:
        return any(self.meets(other) for other in others)

    def goes_with(self, gone: Iterable[Claim]) -> bool:
        """Is it gone when these are gone: itself, or the table that contains it?"""
        whole = Claim(Kind.TABLE, table=self.table, schema=self.schema)
        return any(self.meets(each) or (self.kind in PARTS_OF_A_TABLE and whole.meets(each)) for each in gone)

    @property
    def quoted_table(self) -> Name:
        return Name.of(self.table, self.schema)

    @property
    def twin(self) -> Claim:
        """The column as a twin."""
        return Claim(Kind.TWIN, self.table, self.name, self.schema)


Claims = tuple[Claim, ...]


# Tables are given as they stand in a statement, perhaps with their schema. Other names are given raw.


def table(table: str) -> Claim:
    return _of(Kind.TABLE, Name(table))


def view_of(table: str) -> Claim:
    return _of(Kind.VIEW, Name(table))


def index(table: str, name: str) -> Claim:
    return Claim(Kind.INDEX, name=name, schema=Name(table).schema if table else "")


def column(table: str, name: str) -> Claim:
    return _of(Kind.COLUMN, Name(table), name)


def constraint(table: str, name: str) -> Claim:
    return _of(Kind.CONSTRAINT, Name(table), name)


def key(table: str, name: str) -> Claim:
    return _of(Kind.KEY, Name(table), name)


def _of(kind: Kind, table: Name, name: str = "") -> Claim:
    return Claim(kind, table.raw, name, table.schema)


def read(text: str, tables: Sequence[str]) -> Claim:
    """The claim whose str() is this text.

    `tables` are the possible tables, the likeliest first: they give the schema, which the text leaves out, and tell
    which " of " stands before the table, as names may contain one, too.
    """
    word, _, rest = text.partition(" ")
    kind = Kind(word)
    if kind is Kind.INDEX:
        return Claim(kind, name=rest, schema=Name(tables[0]).schema if tables else "")
    if kind in NAMED_WITH_TABLE:
        table = _table_at_the_end(rest, tables)
        return Claim(kind, table, rest.removesuffix(f" of {table}"), _schema(table, tables))
    table = rest.removeprefix("of ") if kind is Kind.VIEW else rest
    return Claim(kind, table, schema=_schema(table, tables))


def _table_at_the_end(text: str, tables: Sequence[str]) -> str:
    named = (name.raw for name in map(Name, tables) if text.endswith(f" of {name.raw}"))
    return next(named, text.rpartition(" of ")[2])


def _schema(name: str, tables: Iterable[str]) -> str:
    return next((table.schema for table in map(Name, tables) if table.raw == name), "")
