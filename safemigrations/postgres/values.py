"""Values as SQL: constants, and how two values are compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterable


def literal(text: str) -> str:
    """A string constant, the same whatever standard_conforming_strings says.

    https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS-ESCAPE
    """
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in doubled else f"'{doubled}'"


def literals(texts: Iterable[str]) -> str:
    """Constants for IN (...), ARRAY[...] or a row."""
    return ", ".join(map(literal, texts))


def dollar_quoted(body: str) -> str:
    """The body of a function or of DO, as a constant that nothing in the body can end."""
    tags = itertools.chain(["safemig"], (f"safemig{number}" for number in itertools.count(1)))
    tag = next(tag for tag in tags if f"${tag}$" not in f"{body}$")
    return f"${tag}${body}${tag}$"


def pattern(text: str) -> str:
    """A text for a pattern of format() or RAISE."""
    return text.replace("%", "%%")


def differ(first: str, second: str) -> str:
    """Do two values differ in a single bit? For any type, also where `=` is missing or takes unequal values for equal.

    It is the function behind `*<>`, because pg_dump writes the operator in a trigger's WHEN without the casts that it
    needs, and what it wrote can't be restored.
    https://www.postgresql.org/docs/current/functions-comparisons.html#COMPOSITE-TYPE-COMPARISON
    """
    return f"pg_catalog.record_image_ne(ROW({first}), ROW({second}))"


def differ_in_0_1_0(first: str, second: str) -> str:
    """differ() in the words of version 0.1.0, by which the backfills that it began are found."""
    return f"ROW({first})::record OPERATOR(pg_catalog.*<>) ROW({second})::record"
