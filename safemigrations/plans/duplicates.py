"""Finds the duplicates that would stop a unique index of any definition before it is built."""

from __future__ import annotations

from ..postgres.names import Name
from .copies import SHAPE
from .indexes import BuildIndex
from .steps import Database

INDEX = Name.of(f"{SHAPE.raw}_0")


def duplicates(database: Database, step: BuildIndex) -> str:
    """A query for the keys that several rows have. PostgreSQL tells the keys from an index without rows."""
    made = (
        f"CREATE TABLE {SHAPE} (LIKE {step.table})",
        f"CREATE UNIQUE INDEX {INDEX} ON {SHAPE} {step.definition}",
    )
    ((keys, condition, definition),) = database.rows_after(
        made,
        "SELECT ARRAY(SELECT pg_get_indexdef(indexrelid, n, TRUE) FROM generate_series(1, indnkeyatts::int) n),"
        " pg_get_expr(indpred, indrelid), pg_get_indexdef(indexrelid) FROM pg_index"
        f" WHERE indrelid = '{SHAPE}'::regclass",
    )
    where = [f"({condition})"] if condition else []
    if "NULLS NOT DISTINCT" not in definition:
        where += [f"({key}) IS NOT NULL" for key in keys]
    numbers = ", ".join(str(number) for number in range(1, len(keys) + 1))
    return (
        f"SELECT {', '.join(keys)} FROM {Name(step.table)} AS {SHAPE}{' WHERE ' if where else ''}{' AND '.join(where)}"
        f" GROUP BY {numbers} HAVING count(*) > 1"
    )
