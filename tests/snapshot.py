"""The catalog of a database, as the package reads it, and its rows."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.postgres.snapshot import QUERIES, Snapshot, difference, found, nameless, prepared, snapshot

__all__ = ["Snapshot", "difference", "nameless", "rows", "snapshot"]


def rows(connection: BaseDatabaseWrapper, leaving_out: str = "") -> dict[str, list[Any]]:
    """Every row of every table as JSON, `leaving_out` a column."""
    with prepared(connection) as cursor:
        tables = [name for name, (kind, *_) in found(cursor, QUERIES["tables"]).items() if kind in "rp"]
    with connection.cursor() as cursor:
        return {table: _rows_of(cursor, table, leaving_out) for table in tables}


def _rows_of(cursor: Any, table: str, leaving_out: str) -> list[Any]:
    cursor.execute(f"SELECT to_jsonb(t) - %s FROM {table} t ORDER BY 1", [leaving_out])
    return [row for (row,) in cursor.fetchall()]
