"""DO blocks: statements about objects that only the catalog knows."""

from __future__ import annotations

from .names import regclass
from .values import dollar_quoted, literal


def for_each(query: str, body: str, *, declare: str = "") -> str:
    """A statement that runs `body` (PL/pgSQL) for each row, `found`, of a query; `declare` is for further variables."""
    loop = f"BEGIN FOR found IN {query} LOOP {body} END LOOP; END"
    return f"DO {dollar_quoted(f' DECLARE found record; {declare}{loop} ')}"


def alter_partitions(table: str, change: str, *, leaves_only: bool = True) -> str:
    """A statement that alters every partition that has rows of its own, or the table and then all of them."""
    which = " WHERE isleaf" if leaves_only else " ORDER BY level"
    parts = f"SELECT relid::regclass::text AS name FROM pg_partition_tree({regclass(table)}){which}"
    return for_each(parts, f"EXECUTE format('ALTER TABLE %s %s', found.name, {literal(change)});")


def alter_leaves_without(table: str, constraint: str, change: str) -> str:
    """PL/pgSQL that alters every partition that has rows of its own, but no constraint of this (raw) name."""
    without = f"NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = relid AND conname = {literal(constraint)})"
    leaves = f"pg_partition_tree({regclass(table)}) WHERE isleaf AND {without}"
    alter = f"SELECT string_agg(format('ALTER TABLE %s %s', relid::regclass, {literal(change)}), '; ') FROM {leaves}"
    return f"EXECUTE coalesce(({alter}), 'SELECT');"


# Bodies of for_each() over the names of constraints of a table, as `conname`.


def drop_found(table: str) -> str:
    return f"EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', {literal(table)}, found.conname);"


def rename_found(table: str, to: str, *, name: str = "found.conname") -> str:
    """`to` and `name` are expressions."""
    return f"EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {literal(table)}, {name}, {to});"
