"""What the catalog knows about a table before it is filled."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ...data import Data
from ...errors import StepFailed, to_type
from ...plans.steps import Backfill
from ...postgres.columns import types_of
from ...postgres.indexes import index_on
from ...postgres.names import Name
from ...postgres.sizes import counts_of
from ...postgres.tables import is_table, partitions_with_rows
from ...postgres.values import literals

Key = list[str]  # of one row: each column's value as PostgreSQL writes it; casting it back is PostgreSQL's business

INTEGERS = {"int2", "int4", "int8"}
HASHED = {"text", "varchar", "bpchar", "uuid", "numeric", "date", "timestamp", "timestamptz", "bytea", *INTEGERS}
PASSES = 10


class Part(Data):
    """A table, or a partition that has no partitions of its own.

    `by_key`: it is filled in the order of its key, otherwise in the order of its pages.
    """

    name: str  # quoted, perhaps qualified
    by_key: bool
    last: Key  # the largest key at the beginning, or the number of pages; empty: there was no row
    rows: int  # estimated
    rows_per_page: int
    residue: str  # an expression that divides the rows into PASSES classes; empty: there is none

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def fetch(connection: BaseDatabaseWrapper, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def from_jsonb(value: Any) -> Any:
    """What a jsonb column holds: Django has psycopg leave it as text for its own fields."""
    return json.loads(value) if isinstance(value, str) else value


def columns_set(step: Backfill) -> list[str]:
    """The raw names of the columns that a backfill changes, as far as the step tells."""
    computed = step.function.column if step.function else ""
    columns = step.sets or ((computed,) if computed else re.findall(r'^\s*("(?:[^"]|"")+")\s*=', step.assign))
    return [Name(column).raw for column in columns]


def parts_of(connection: BaseDatabaseWrapper, step: Backfill) -> list[Part]:
    """The table itself, or its partitions as they are now; a backfill fills no partition that comes later."""
    return [_part(connection, step, name) for name in leaves(connection, step)]


def leaves(connection: BaseDatabaseWrapper, step: Backfill) -> list[str]:
    if Name(step.table).schema:  # partitions get the table's name as their alias, and an alias can't be qualified
        return [step.table]
    return [name for (name,) in fetch(connection, partitions_with_rows(step.table))] or [step.table]


class Estimated(Data):
    """How large a table is, as far as the catalog knows."""

    is_partitioned: bool
    pages: int
    rows: int
    density: float  # rows in a page


def estimated(connection: BaseDatabaseWrapper, name: str) -> Estimated:
    ((partitioned, tuples, counted, pages),) = fetch(connection, counts_of(name))
    # The planner estimates so, too: the count may be old, but a page holds as many rows as it did then.
    density = tuples / counted if tuples > 0 and counted else 50.0
    rows = max(0, int(tuples)) if partitioned else int(pages * density)
    return Estimated(is_partitioned=partitioned, pages=pages, rows=rows, density=density)


def _part(connection: BaseDatabaseWrapper, step: Backfill, name: str) -> Part:
    found = estimated(connection, name)
    # To read pages costs two thirds of reading an index. But a row that was filled may move to a page that is still to
    # come, and would be filled twice where the guard can't tell. A key stays where it is.
    by_key = found.is_partitioned or not step.clears
    return Part(
        name=name,
        by_key=by_key,
        last=_last_key(connection, name, step.key) if by_key else [str(found.pages)] if found.pages else [],
        rows=found.rows,
        rows_per_page=max(1, round(found.density)),
        residue=_residue(connection, step, name, by_key=by_key),
    )


def is_gone(connection: BaseDatabaseWrapper, step: Backfill, part: str) -> bool:
    """Was this partition dropped since? Raises StepFailed if it is the table itself."""
    if fetch(connection, is_table(part)):
        return False
    refuse_without_table(connection, step)
    return True


def refuse_without_table(connection: BaseDatabaseWrapper, step: Backfill) -> None:
    """Rows that can't be found aren't filled: they may be in the table under another name."""
    if not fetch(connection, is_table(step.table)):
        raise StepFailed(
            f"{step.why}: {step.table} is no table here. Rows that are filled stay filled. If it was renamed, give it "
            "this name again and run the same command again. If nobody needs the rows any more: "
            f"{to_type('safemigrations backfill cancel', connection.alias)}"
        )


def _last_key(connection: BaseDatabaseWrapper, name: str, key: tuple[str, ...]) -> Key:
    order = ", ".join(f"{column} DESC" for column in key)
    rows = fetch(connection, f"SELECT {texts(key)} FROM {name} ORDER BY {order} LIMIT 1")
    return list(rows[0]) if rows else []


def texts(key: tuple[str, ...]) -> str:
    """The columns of the key as text, under new names: ORDER BY would take a text of the same name for the column."""
    return ", ".join(f"{column}::text AS text{number}" for number, column in enumerate(key))


def _residue(connection: BaseDatabaseWrapper, step: Backfill, name: str, *, by_key: bool) -> str:
    types = _types_of(connection, name, step.key)
    if len(types) == 1 and types[0] in INTEGERS:
        plain = f"abs({step.key[0]} % {PASSES})"
        sample = f"SELECT {plain} AS class FROM {name} LIMIT 1000"
        # Keys of a sharded table may all leave the same remainder.
        if fetch(connection, f"SELECT count(DISTINCT class) FROM ({sample}) AS sample")[0][0] == PASSES:
            return plain
    if not by_key:
        return f"abs(hashtid(ctid) % {PASSES})"  # a row that moves unfilled gets another class; the end finds it
    if not set(types) <= HASHED:
        return ""
    return f"abs(hash_record(ROW({', '.join(step.key)})) % {PASSES})"


def _types_of(connection: BaseDatabaseWrapper, table: str, key: tuple[str, ...]) -> list[str]:
    columns = [Name(column).raw for column in key]
    types = dict(fetch(connection, types_of(table, columns)))
    return [types.get(column, "") for column in columns]


def is_indexed(connection: BaseDatabaseWrapper, name: str, columns: list[str]) -> bool:
    """Does an index have one of these columns? Then no update of it is HOT."""
    return bool(fetch(connection, index_on(name, columns)))


def condition(key: tuple[str, ...], keys: list[Key]) -> str:
    """A condition that selects the rows with these keys."""
    columns = ", ".join(key)
    values = ", ".join(row_of(one) for one in keys)
    return f"({columns}) IN ({values})"


def row_of(key: Key) -> str:
    return f"({literals(key)})"
