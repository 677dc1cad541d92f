"""Compares the expected shape of a table with its actual shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...postgres.names import Name
from .both import Both
from .columns import OfColumns
from .constraints import OfConstraints
from .indexes import OfIndexes
from .line import Line
from .shape import Table


def compared(
    connection: Any, model: Any, table: Name, expected: Table, found: Table, names: Mapping[int, Name]
) -> Iterator[Line]:
    """Where the two shapes differ. `names` gives the tables at which foreign keys point, by their oids."""
    for kind in (OfColumns, OfIndexes, OfConstraints):
        yield from kind(connection, model, table, expected, found, names).lines()
    if expected.comment and expected.comment != found.comment:
        yield Both(connection, model, table, expected, found, names).comment("", found.comment, expected.comment)
