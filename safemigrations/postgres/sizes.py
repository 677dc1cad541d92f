"""The sizes of tables, as the catalog tells them; no table is read."""

from __future__ import annotations

from collections.abc import Iterable

from .names import regclass
from .values import literal, literals

# The planner estimates so, too: the count may be old, but a page holds as many rows as it did then.
ROWS = (
    "CASE WHEN c.reltuples > 0 AND c.relpages > 0"
    " THEN c.reltuples / c.relpages * pg_relation_size(c.oid) / current_setting('block_size')::int"
    " ELSE greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0) END"
)


def size_of(table: str) -> tuple[str, str]:
    """Two expressions: about how many rows a table has, and the bytes of its main part; partitions count with it."""
    family = (
        f"FROM (SELECT {regclass(table)}::oid UNION SELECT relid FROM pg_partition_tree({regclass(table)})) t (oid)"
        " JOIN pg_class c ON c.oid = t.oid AND c.relkind IN ('r', 'm')"
    )
    return f"(SELECT sum({ROWS})::bigint {family})", f"(SELECT sum(pg_relation_size(c.oid))::bigint {family})"


def rows_and_size(table: str, column: str = "") -> str:
    """About how many rows a table has, and the size of it, or of this column, for people.

    One row, or none where it isn't there, or is a view. A partitioned table counts with its partitions.
    """
    rows = "sum(CASE WHEN c.reltuples < 0 THEN pg_stat_get_live_tuples(c.oid) ELSE c.reltuples END)"
    size = "pg_size_pretty(sum(pg_total_relation_size(c.oid)))"
    there = ""
    if column:
        name = literal(column)
        there = f" JOIN pg_attribute a ON attrelid = c.oid AND attname = {name} AND NOT attisdropped"
        width = (
            "SELECT max(avg_width * (1 - null_frac)) FROM pg_stats s"
            f" WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND attname = {name}"
        )
        size = f"pg_size_pretty(sum((greatest(c.reltuples, 0) * ({width}))::bigint))"
    whole = regclass(table)
    return (
        f"SELECT {rows}, {size} FROM (SELECT {whole}::oid UNION SELECT relid FROM pg_partition_tree({whole})) t (oid)"
        f" JOIN pg_class c ON c.oid = t.oid AND relkind = 'r' JOIN pg_namespace n ON n.oid = relnamespace{there}"
        " HAVING count(*) > 0"
    )


def width_of(table: str, columns: Iterable[str], *, unknown: int) -> str:
    """The bytes of these columns in an average row; `unknown` are those of a column without statistics."""
    return (
        f"SELECT sum(coalesce(avg_width, {unknown})) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
        " JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_stats s ON s.schemaname = n.nspname"
        " AND s.tablename = c.relname AND s.attname = a.attname"
        f" WHERE attrelid = {regclass(table)} AND a.attname IN ({literals(columns) or 'NULL'})"
    )


def counts_of(table: str) -> str:
    """Is it partitioned, how many rows and pages had it when they were counted, and how many pages has it now?"""
    return (
        "SELECT relkind = 'p', reltuples::float, relpages, pg_relation_size(oid) / current_setting('block_size')::int"
        f" FROM pg_class WHERE oid = {regclass(table)}"
    )
