"""Probes and queries on indexes; their names, and those of columns, are raw."""

from __future__ import annotations

from collections.abc import Iterable

from .columns import number_of
from .constraints import made_up
from .names import Name, identifier, regclass
from .probe import Probe
from .values import literal, literals


def index_exists(table: str, name: str, *, valid: bool = False) -> Probe:
    return Probe(
        "SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        f" WHERE i.indrelid = {regclass(table)} AND c.relname = {literal(identifier(name))}"
        f"{' AND i.indisvalid' if valid else ''}"
    )


def unique_index_on(table: str, column: str) -> Probe:
    """Does a unique index contain this column, alone or with others, in its key, an expression or its condition?"""
    return Probe(
        "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        f" WHERE i.indrelid = {regclass(table)} AND i.indisunique AND a.attname = {literal(column)}"
        " AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_depend d WHERE d.objid = i.indexrelid"
        " AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))"
    )


def index_on(table: str, columns: Iterable[str]) -> Probe:
    """Does an index have one of these columns in its key, an expression or its condition?"""
    names = literals(columns) or "NULL"
    return Probe(
        "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        f" WHERE i.indrelid = {regclass(table)} AND a.attname IN ({names})"
        " AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_depend d WHERE d.objid = i.indexrelid"
        " AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))"
    )


def index_of_field(table: str, column: str, *, name: str) -> str:
    """The b-tree index over this column alone, not unique, that isn't one of Meta.indexes; for LIKE if so named."""
    like = name.endswith("_like")
    found = (
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree' JOIN pg_opclass o ON o.oid = i.indclass[0]"
        f" WHERE i.indrelid = {regclass(table)} AND NOT i.indisunique AND i.indnatts = 1 AND i.indpred IS NULL"
        f" AND i.indkey[0] = {number_of(column, 'i.indrelid')}"
        f" AND (o.opcname LIKE '%pattern_ops') = {str(like).upper()}"
    )
    return made_up(found, [name], "_[0-9a-f]{8}_like$" if like else "_[0-9a-f]{8}$")


def one_null_indexes(table: str, column: str) -> str:
    """The unique indexes over a column in which null stands once, as people read them."""
    return (
        "SELECT format('NULLS NOT DISTINCT of index %s', c.relname) FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_attribute a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY (i.indkey) WHERE i.indisunique"
        " AND (to_jsonb(i) ->> 'indnullsnotdistinct')::boolean"  # PostgreSQL 14 has no such column
        f" AND i.indrelid = {regclass(table)} AND a.attname = {literal(column)}"
    )


def indexes_of_columns(table: str, *columns: str) -> str:
    """The valid indexes that have one of the columns in their key, an expression or their condition, oldest first.

    A row is the index's name, whether it refuses duplicates at once, as ON CONFLICT wants it, whether it has an
    expression, and what comes in its definition after the name of the table.
    """
    head = (
        "format('CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname,"
        " CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END, n.nspname, t.relname)"
    )
    return (
        "SELECT c.relname, i.indisunique AND i.indimmediate AND NOT i.indisexclusion, i.indexprs IS NOT NULL,"
        f" substr(pg_get_indexdef(c.oid), length({head}) + 1)"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = t.relnamespace"
        f" WHERE t.oid = {regclass(table)} AND i.indisvalid AND {is_over(columns)} ORDER BY c.oid"
    )


def is_over(columns: Iterable[str]) -> str:
    """Has the index `i`, a row of pg_index, one of the columns in its key, an expression or its condition?"""
    return (
        f"EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname IN ({literals(columns)})"
        " AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
        " AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))"
    )


def index_state(table: str, name: str) -> str:
    """The state of the index of this name, in one row, which there is if the table is there.

    The index as it stands in a statement, whether it is valid, and the pid of the backend that is building it right
    now. CREATE INDEX CONCURRENTLY holds a lock on the table, and gives it back just before it commits that the index is
    valid. From then on it is known by its transaction, which has written the index's row of pg_index. A role that may
    not see what another one does is only told that the other one builds some index.
    """
    database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    builds = (
        "SELECT l.pid FROM pg_locks l JOIN pg_stat_progress_create_index p ON p.pid = l.pid"
        f" WHERE l.locktype = 'relation' AND l.database = {database} AND l.relation = t.oid AND l.granted"
        " AND l.mode = 'ShareUpdateExclusiveLock' AND coalesce(p.index_relid, i.indexrelid) = i.indexrelid"
    )
    commits = "SELECT pid FROM pg_locks WHERE locktype = 'transactionid' AND transactionid = i.xmax AND granted"
    return (
        "SELECT i.indexrelid::regclass::text, i.indisvalid,"
        f" CASE WHEN NOT i.indisvalid THEN (SELECT pid FROM ({builds} UNION ALL {commits}) AS builders"
        " WHERE pid <> pg_backend_pid() LIMIT 1) END"
        " FROM pg_class t LEFT JOIN (pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        f" AND c.relname = {literal(identifier(name))}) ON i.indrelid = t.oid WHERE t.oid = {regclass(table)}"
    )


def index_attached(parent: str, child: str) -> Probe:
    """Is one index attached to the other as its partition? Both are given as they stand in a statement."""
    return Probe(f"SELECT 1 FROM pg_inherits WHERE inhparent = {regclass(parent)} AND inhrelid = {regclass(child)}")


def index_of_partition(parent: str, partition: str) -> Probe:
    """Does a partition have an index that is attached to this one? Both are given as they stand in a statement."""
    return Probe(
        "SELECT 1 FROM pg_inherits h JOIN pg_index i ON i.indexrelid = h.inhrelid"
        f" WHERE h.inhparent = {regclass(parent)} AND i.indrelid = {regclass(partition)}"
    )


def other_of_this_name(name: str, schema: str) -> Probe:
    """Does the search_path find something of this name in another schema?"""
    return Probe(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE c.oid = {regclass(Name.of(name))} AND n.nspname <> {literal(schema)}"
    )


def name_taken(schema: str, name: str, partition: str) -> Probe:
    """Does something have this name that isn't an index of the partition which still lacks its parent?"""
    return Probe(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE n.nspname = {literal(schema)} AND c.relname = {literal(name)} AND NOT EXISTS (SELECT FROM pg_index i"
        f" WHERE i.indexrelid = c.oid AND i.indrelid = {regclass(partition)} AND NOT c.relispartition)"
    )
