"""Queries for what depends on a table or on a column: one thing in each row, described for people."""

from __future__ import annotations

from collections.abc import Iterable

from .columns import number_of
from .names import regclass
from .tables import is_marked
from .triggers import fires_after_ours, functions_in_order, is_ours
from .values import literal, literals


def users_of_table(table: str, *, also_dropped: Iterable[str] = (), but_on_delete: str = "") -> str:
    """What a DROP TABLE would trip over: views, foreign keys, functions and whatever else is not the table's own.

    What belongs to tables that are dropped with it doesn't count, nor do foreign keys with one of these letters of
    pg_constraint.confdeltype.
    """
    uncounted = literals(but_on_delete or [""])
    ours = ", ".join(f"coalesce({regclass(name)}, 0)" for name in (table, *also_dropped))
    own = (
        "SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass"
        f" AND refobjid = {regclass(table)} AND deptype IN ('a', 'i')"
    )
    return (
        "SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)"
        " ELSE pg_describe_object('pg_class'::regclass, r.ev_class, 0) END"
        " FROM pg_class t JOIN pg_depend d ON d.deptype = 'n' AND ("
        f"d.refclassid = 'pg_class'::regclass AND (d.refobjid = t.oid OR d.refobjid IN ({own}))"
        " OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT oid FROM pg_type WHERE oid = t.reltype"
        " UNION SELECT typarray FROM pg_type WHERE oid = t.reltype))"
        " LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
        " LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
        " LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid"
        " LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid"
        " LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid"
        f" WHERE t.oid = {regclass(table)}"
        f" AND coalesce(r.ev_class, k.conrelid, p.polrelid, g.tgrelid, a.adrelid, 0) NOT IN ({ours})"
        f" AND (k.contype IS DISTINCT FROM 'f' OR k.confdeltype NOT IN ({uncounted}))"
        f" AND (r.oid IS NULL OR NOT {is_marked('r.ev_class')})"
    )


def _depends_on(table: str, column: str) -> str:
    """SQL that follows `FROM pg_depend d JOIN ...`: what depends on this column."""
    return (
        " JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        f" WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {regclass(table)}"
        f" AND a.attname = {literal(column)}"
    )


def watchers_of_column(table: str, column: str) -> str:
    """Objects that react to a write of the column and would miss one under another name."""
    return (
        "SELECT 'trigger ' || t.tgname FROM pg_depend d"
        " JOIN pg_trigger t ON t.oid = d.objid AND d.classid = 'pg_trigger'::regclass"
        f"{_depends_on(table, column)} AND NOT t.tgisinternal AND NOT {is_ours('t')}"
        " UNION SELECT 'rule ' || r.rulename FROM pg_depend d"
        " JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass"
        f"{_depends_on(table, column)} AND r.ev_class = d.refobjid"
        " UNION SELECT 'partition key' FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid"
        f" AND a.attnum = ANY (p.partattrs) WHERE p.partrelid = {regclass(table)} AND a.attname = {literal(column)}"
        f" UNION {fires_after_ours(table)}"
    )


def dependents_of_column(table: str, column: str, *, but: Iterable[tuple[str, str]] = ()) -> str:
    """What keeps a column from being dropped: all that depends on it and doesn't vanish with it, or before it.

    Generated columns and foreign keys of what is in `but` don't count: pairs of a table, as it stands in a statement,
    and a raw column, or no column, which stands for all of the table's. Nor do views of ours.
    """
    going = [f"(g.relation = {regclass(each)} AND {literal(name)} IN ('', a.attname))" for each, name in but]
    return (
        "SELECT regexp_replace(regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid), '^rule _RETURN on ',"
        " ''), '^default value for', 'generated') FROM pg_depend d"
        f"{_depends_on(table, column)} AND d.deptype = 'n' AND NOT EXISTS (SELECT FROM pg_depend o"
        " WHERE (o.classid, o.objid, o.refobjid, o.refobjsubid) = (d.classid, d.objid, d.refobjid, d.refobjsubid)"
        " AND o.deptype = 'a')"
        f" AND NOT EXISTS (SELECT FROM pg_trigger t WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid"
        f" AND {is_ours('t')})"
        f" AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
        f" AND {is_marked('r.ev_class')})"
        " AND NOT EXISTS (SELECT FROM (SELECT oid, adrelid, ARRAY[adnum] FROM pg_attrdef"
        " UNION ALL SELECT oid, conrelid, conkey FROM pg_constraint WHERE contype = 'f') AS g (oid, relation, columns)"
        " JOIN pg_attribute a ON a.attrelid = g.relation AND a.attnum = ANY (g.columns)"
        f" WHERE g.oid = d.objid AND ({' OR '.join(going) or 'FALSE'})) ORDER BY 1"
    )


def stuck_to_column(table: str, column: str, children: Iterable[tuple[str, str]]) -> str:
    """What would stay behind on a column whose name and place another one takes over.

    Its own default, indexes, constraints and sequence are carried over, and so are the foreign keys of `children`, the
    tables and columns that are exchanged with it.
    """
    known = " OR ".join(
        f"(k.conrelid = {regclass(child)} AND k.conkey = ARRAY[{number_of(name, 'k.conrelid')}])"
        for child, name in children
    )
    carried_over = (
        "(k.conrelid = d.refobjid"
        " AND (k.contype IN ('p', 'u', 'c', 'n') OR k.contype = 'f' AND cardinality(k.conkey) = 1)"
        f" OR k.contype = 'f' AND (k.conparentid <> 0 OR {known or 'FALSE'}))"
    )
    return (
        "SELECT regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid), '^rule _RETURN on ', '')"
        " FROM pg_depend d"
        " LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
        " LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid"
        " LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid"
        " LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid"
        f"{_depends_on(table, column)} AND coalesce(c.relkind, 'r') NOT IN ('i', 'I', 'S')"
        f" AND NOT coalesce({carried_over}, FALSE) AND NOT coalesce(f.adnum = a.attnum AND a.attgenerated = '', FALSE)"
        f" AND NOT coalesce({is_ours('t')}, FALSE)"
        " UNION SELECT 'partition key' FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid"
        f" AND a.attnum = ANY (p.partattrs) WHERE p.partrelid = {regclass(table)} AND a.attname = {literal(column)}"
        f" UNION {functions_in_order(table)} UNION {fires_after_ours(table)}"
        f" UNION {_carried_over_by_nobody(table, column)}"
    )


def _carried_over_by_nobody(table: str, column: str) -> str:
    """What Django doesn't know of a column and its indexes, and another column can't be given without a rewrite."""
    of_index = "pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_attribute a ON a.attrelid = i.indrelid"
    its = f"= {regclass(table)} AND a.attname = {literal(column)}"
    return (
        "SELECT 'security label of ' || s.provider FROM pg_seclabel s JOIN pg_attribute a ON a.attrelid = s.objoid"
        f" AND a.attnum = s.objsubid WHERE s.classoid = 'pg_class'::regclass AND a.attrelid {its}"
        f" UNION SELECT format('tablespace of index %s', c.relname) FROM {of_index} AND a.attnum = ANY (i.indkey)"
        f" WHERE c.reltablespace <> 0 AND i.indrelid {its}"
        " UNION SELECT format('DEFERRABLE of primary key %s', k.conname) FROM pg_constraint k JOIN pg_attribute a"
        " ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)"
        f" WHERE k.contype = 'p' AND k.condeferrable AND k.conrelid {its}"
    )
