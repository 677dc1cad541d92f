"""Names: as Django spells them, as they stand in a statement, as the catalog has them; and those that are made up.

A name that is called raw is as the catalog has it. A table is passed around as it stands in a statement, and looked up
by to_regclass: so the search_path decides, exactly as it does for the statement itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Self

from .values import literal

NAME_LENGTH = 63  # bytes; NAMEDATALEN - 1
PREFIX = "safemig_"
COPY = f"{PREFIX}twin_"  # of the indexes that a twin has until the contract
LAST = f"zzz_{PREFIX}"  # of our triggers: it sorts after the names that people give

PART = r'("(?:[^"]|"")+"|[^".]+)'
NAME = re.compile(rf"(?:{PART}\.)?{PART}")


class Name(str):
    """A name as it stands in a statement; that of a table perhaps with its schema.

    It is its own text, and so a step stores it as such.
    """

    __slots__ = ("raw", "schema")

    raw: str  # without its schema
    schema: str  # raw; empty where the search_path finds it

    def __new__(cls, text: str) -> Self:
        """A name as a statement has it: "Order", "library"."Order" or, as format('%I.%I') has it, library.item."""
        spelled, schema, raw = _read(text)
        name = super().__new__(cls, spelled)
        name.schema, name.raw = schema, raw
        return name

    @classmethod
    def of(cls, raw: str, schema: str = "") -> Self:
        """A name from its parts as the catalog has them."""
        return cls(_quoted(schema, raw))

    @classmethod
    def from_django(cls, name: str) -> Self:
        """A name from a db_table, a db_column, the name of an index or of a constraint.

        Django puts quotes around it, unless it has them already, and doubles none: in a db_column `a""b` is the column
        a"b, and a db_table with its schema is `"library"."Order"`.
        """
        return cls(name if name.startswith('"') and name.endswith('"') else f'"{name}"')

    @property
    def in_django(self) -> str:
        """The name as a db_column has it: see from_django()."""
        return self[1:-1]

    @property
    def bare(self) -> Name:
        """The name without its schema."""
        return Name.of(self.raw)

    def beside(self, raw: str) -> Name:
        """The name of an object, such as an index, in the schema of this table."""
        return Name.of(raw, self.schema)


@lru_cache(maxsize=4096)  # plans name the same tables and columns thousands of times
def _read(text: str) -> tuple[str, str, str]:
    """The name as it stands in a statement; its schema and itself, raw."""
    found = NAME.fullmatch(text)
    schema, raw = map(_raw, found.groups("") if found else ("", text))
    return _quoted(schema, raw), schema, raw


def _raw(part: str) -> str:
    has_quotes = part.startswith('"') and part.endswith('"')
    return identifier(part[1:-1].replace('""', '"') if has_quotes else part)


def _quoted(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts if part)


def identifier(name: str) -> str:
    """A raw name as PostgreSQL keeps it: cut, without a word, where it is too long."""
    return _clip(name, NAME_LENGTH)


def regclass(table: str) -> str:
    """The oid of a table, or of an index, as it stands in a statement; NULL where there is none."""
    return f"to_regclass({literal(table)})"


def _clip(text: str, length: int) -> str:
    return text.encode()[:length].decode(errors="ignore")


def temporary_name(*parts: str, prefix: str = PREFIX, between: str = "_") -> str:
    """A name for an object that doesn't outlive the contract, from the names it belongs to."""
    name = prefix + between.join(parts)
    if len(name.encode()) <= NAME_LENGTH:
        return name
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return _clip(name, NAME_LENGTH - 9) + "_" + digest


def name_of_copy(table: str, definition: str) -> str:
    """The name of an index that stands in for another one until the contract: the same definition, the same name."""
    return f"{COPY}{hashlib.sha256(f'{table} {definition}'.encode()).hexdigest()[:16]}"


def scope_of_copies(table: str, columns: Iterable[str]) -> str:
    """What name_of_copy() uses here as the table: an index over two columns may be exchanged for each of them."""
    return " ".join([table, *sorted(columns)])


def copy_of(scope: str, name: str) -> str:
    """name_of_copy() as SQL, of a name that only the catalog knows."""
    return _copy(f"{literal(f'{scope} ')} || {name}")


def copy_over(table: str, column: str, name: str) -> str:
    """name_of_copy() as SQL, of a name that is known, where only the catalog knows the column."""
    return _copy(f"{literal(f'{table} ')} || {column} || {literal(f' {name}')}")


def _copy(text: str) -> str:
    return f"({literal(COPY)} || left(encode(sha256(convert_to({text}, 'UTF8')), 'hex'), 16))"


def numbered(name: str, number: int) -> str:
    """name, name1, name2: as PostgreSQL finds one that is free."""
    return _clip(name, NAME_LENGTH - len(str(number))) + str(number) if number else name


def object_name(table: str, column: str, label: str) -> str:
    """The name that PostgreSQL gives to a constraint that was given none.

    As makeObjectName() in src/backend/commands/indexcmds.c does it: the longer of the two is cut first.
    """
    room = NAME_LENGTH - len(label) - 2
    first, second = len(table.encode()), len(column.encode())
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return f"{_clip(table, first)}_{_clip(column, second)}_{label}"
