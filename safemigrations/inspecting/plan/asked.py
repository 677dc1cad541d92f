"""Asks the database for a plan: each question in a transaction that is rolled back, and never for long."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any, cast

from django.db import DatabaseError, transaction

from ...data import Data
from ...postgres.names import Name, regclass
from ...postgres.sizes import size_of, width_of
from ...running.lost import raise_lost
from ...running.run import sending
from ...running.session import Session
from .facts import Size

PATIENCE = "1s"  # for one question
QUOTED = re.compile(r'"(?:[^"]|"")+"')
TUPLE = 16  # bytes of an entry of an index beside its columns: header, pointer, alignment
FILL = 0.9  # of a page of a new B-tree
UNKNOWN_WIDTH = 16  # bytes of an expression, and of a column without statistics
# As one reader without an index reads, which is how PostgreSQL validates and builds.
PLAIN = (
    "SELECT set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_indexscan', 'off', true),"
    " set_config('enable_indexonlyscan', 'off', true), set_config('enable_bitmapscan', 'off', true),"
    " set_config('jit', 'off', true), set_config('work_mem', current_setting('maintenance_work_mem'), true)"
)


class Pages(Data):
    """Some pages of a table, and how many it has."""

    first: int
    last: int

    @property
    def condition(self) -> str:
        return f"ctid >= '({self.first},0)' AND ctid < '({self.last},0)'"


class Asked:
    """Asks one database, and remembers what it was told."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._sizes: dict[str, Size | None] = {}

    def rows(self, query: str, before: str = "") -> list[tuple[object, ...]]:
        """The rows; none if the question can't be asked, because its table is missing or the answer takes too long."""
        try:
            with sending(), transaction.atomic(using=self.session.connection.alias):
                self.session.set(f"LOCAL lock_timeout = '{PATIENCE}'; SET LOCAL statement_timeout = '{PATIENCE}'")
                if before:
                    self.session.rows(before)
                return self.session.rows(query)
        except DatabaseError as error:
            raise_lost(error)
            return []

    def size(self, table: str) -> Size | None:
        """The size of a table; None if the table is missing."""
        if table not in self._sizes:
            rows, size = size_of(table)
            found = self.rows(f"SELECT {rows}, {size} WHERE {regclass(table)} IS NOT NULL")
            self._sizes[table] = Size(*found[0]) if found and None not in found[0] else None  # type: ignore[arg-type]
        return self._sizes[table]

    def width(self, table: str, definition: str) -> int:
        """Bytes of the columns that the definition of an index names, in an average row."""
        names = [Name(name).raw for name in QUOTED.findall(definition.partition(" WHERE ")[0])]
        found = self.rows(width_of(table, names, unknown=UNKNOWN_WIDTH))
        return int(str(found[0][0] or UNKNOWN_WIDTH)) if found else UNKNOWN_WIDTH

    def size_of_index(self, table: str, definition: str) -> int | None:
        size = self.size(table)
        return int(size.rows * (self.width(table, definition) + TUPLE) / FILL) if size else None

    def total(self, table: str) -> int:
        """Bytes of a table with its indexes."""
        found = self.rows(f"SELECT pg_total_relation_size({regclass(table)})")
        return int(str(found[0][0] or 0)) if found else 0

    def rows_of(self, query: str) -> int | None:
        """The number of rows that the planner expects; None if it can't say, for example of a missing column."""
        plan = self._explained(query, "")
        return int(plan["Plan Rows"]) if plan else None

    # How fast it is.

    def cost(self, query: str, *, plain: bool = True) -> float | None:
        """The planner's cost of a query; unless `plain`, with indexes and parallel workers."""
        plan = self._explained(query, PLAIN if plain else "")
        return float(plan["Total Cost"]) if plan else None

    def _explained(self, query: str, before: str) -> dict[str, Any] | None:
        found = self.rows(f"EXPLAIN (FORMAT JSON) {query}", before)
        if not found:
            return None
        plan: Any = json.loads(found[0][0]) if isinstance(found[0][0], str) else found[0][0]
        return cast("dict[str, Any]", plan[0]["Plan"])

    def pages(self, table: str, most: int) -> Pages | None:
        """A number of pages from the middle; None for a table without pages of its own, such as a partitioned one."""
        found = self.rows(
            f"SELECT pg_relation_size({regclass(table)}) / current_setting('block_size')::int, relkind IN ('r', 'm')"
            f" FROM pg_class WHERE oid = {regclass(table)}"
        )
        if not found or not found[0][1]:
            return None
        whole = int(str(found[0][0]))
        first = max(0, (whole - most) // 2)
        return Pages(first, min(whole, first + most)) if whole else None

    def seconds(self, queries: Sequence[str]) -> list[float]:
        """The duration of each query, run one after another; empty if one can't be asked."""
        found = []
        for query in queries:
            began = time.monotonic()
            if not self.rows(query, PLAIN):
                return []
            found.append(time.monotonic() - began)
        return found
