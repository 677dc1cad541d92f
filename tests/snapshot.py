"""The catalog of a database, as the package reads it, and its rows."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.postgres.snapshot import QUERIES, Snapshot, difference, found, nameless, prepared, snapshot
from safemigrations.postgres.values import literal

__all__ = ["Snapshot", "difference", "nameless", "rows", "snapshot"]


def rows(connection: BaseDatabaseWrapper, leaving_out: str = "") -> dict[str, list[Any]]:
    """Every row of every table as JSON, `leaving_out` a column."""
    with prepared(connection) as cursor:
        tables = [name for name, (kind, *_) in found(cursor, QUERIES["tables"]).items() if kind in "rp"]
    every: dict[str, list[Any]] = {table: [] for table in tables}
    parts = [f"SELECT {literal(table)}, to_jsonb(t) - {literal(leaving_out)} FROM {table} t" for table in tables]
    if parts:
        with connection.cursor() as cursor:
            cursor.execute(f"{' UNION ALL '.join(parts)} ORDER BY 1, 2")
            for table, row in cursor.fetchall():
                every[table].append(row)
    return every
