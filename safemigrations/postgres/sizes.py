"""The sizes of tables, as the catalog tells them; no table is read."""

from __future__ import annotations

from .names import regclass

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
