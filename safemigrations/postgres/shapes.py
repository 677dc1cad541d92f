"""Queries for all that the catalog says about the shape of tables, whose oids they are given: a row for each part."""

from __future__ import annotations

from collections.abc import Iterable

from .values import literals

# The server writes so in a definition for the schema of the session's own temporary tables, since PostgreSQL 15.
SCHEMA = (
    "CASE WHEN {0}.relnamespace = pg_my_temp_schema() AND current_setting('server_version_num')::int >= 150000"
    " THEN 'pg_temp' ELSE {0}.relnamespace::regnamespace::text END"
)
OTHERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"  # schemas that aren't PostgreSQL's own
OF_EXTENSION = (
    "EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{0}'::regclass AND e.objid = {1} AND e.deptype = 'e')"
)


def oids(tables: Iterable[str]) -> str:
    """A query for each of these tables: the name as given, the oid or null, relkind, and the tablespace or ''."""
    return (
        "SELECT name, c.oid, c.relkind::text, coalesce(s.spcname, '')"
        f" FROM unnest(ARRAY[{literals(tables)}]::text[]) AS name"
        " LEFT JOIN pg_class c ON c.oid = to_regclass(name) LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace"
    )


def comments(relations: Iterable[int]) -> str:
    return f"SELECT oid, obj_description(oid, 'pg_class') FROM pg_class WHERE oid = {_any(relations)}"


def columns(relations: Iterable[int]) -> str:
    """The sequence is the one that the column owns or, failing that, draws from."""
    of_sequence = "JOIN pg_class s ON s.relkind = 'S' AND s.oid ="
    in_class = "p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass"
    owned = (
        f"SELECT s.oid FROM pg_depend p {of_sequence} p.objid WHERE {in_class} AND p.deptype IN ('a', 'i')"
        " AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum LIMIT 1"
    )
    drawn = (
        f"SELECT s.oid FROM pg_depend p {of_sequence} p.refobjid WHERE p.classid = 'pg_attrdef'::regclass"
        " AND p.objid = d.oid LIMIT 1"
    )
    return (
        "SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod),"
        " CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text ELSE '' END,"
        " a.attnotnull, coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attidentity::text, a.attgenerated::text,"
        " coalesce(col_description(a.attrelid, a.attnum), ''),"
        f" CASE WHEN d.oid IS NOT NULL AND a.attgenerated = '' THEN ({drawn}) END,"
        f" CASE WHEN a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN ({owned}) END"
        " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        f" WHERE a.attrelid = {_any(relations)} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum"
    )


def indexes(relations: Iterable[int]) -> str:
    """The definition is what comes after the name of the table; of an exclusion constraint, all of the constraint."""
    head = (
        "format('CREATE %sINDEX %I ON %s%s.%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname,"
        f" CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END, {SCHEMA.format('r')}, r.relname)"
    )
    definition = (
        "CASE k.contype WHEN 'x' THEN pg_get_constraintdef(k.oid)"
        f" ELSE substr(pg_get_indexdef(c.oid), length({head}) + 1) END"
    )
    names = (
        "ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = r.oid AND (a.attnum = ANY (i.indkey) OR"
        " EXISTS (SELECT FROM pg_depend p WHERE p.classid = 'pg_class'::regclass AND p.objid = c.oid"
        " AND p.refclassid = 'pg_class'::regclass AND p.refobjid = r.oid AND p.refobjsubid = a.attnum)))"
    )
    keys = (
        "ARRAY(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS u (number, place)"
        " JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = u.number ORDER BY place)"
    )
    return (
        f"SELECT r.oid, c.relname::text, {definition}, i.indisunique, i.indisvalid,"
        " coalesce(s.spcname::text, ''), coalesce(k.contype::text, ''), coalesce(k.conname::text, ''),"
        " coalesce(k.condeferrable, FALSE), coalesce(k.condeferred, FALSE),"
        f" {names}, {keys}, coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, FALSE)"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class r ON r.oid = i.indrelid"
        " LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace"
        " LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')"
        f" WHERE r.oid = {_any(relations)} ORDER BY r.oid, c.oid"
    )


def constraints(relations: Iterable[int]) -> str:
    """Checks and foreign keys; those of a partition that belong to one of its table are left out."""
    return (
        "SELECT k.conrelid, k.conname::text, k.contype::text, coalesce(pg_get_expr(k.conbin, k.conrelid), ''),"
        f" {_names('k.conkey', 'k.conrelid')}, k.confrelid, {_names('k.confkey', 'k.confrelid')},"
        " k.confupdtype::text, k.confdeltype::text, k.confmatchtype::text, k.condeferrable, k.condeferred,"
        " coalesce((to_jsonb(k) ->> 'conenforced')::boolean, TRUE)"
        f" FROM pg_constraint k WHERE k.conrelid = {_any(relations)} AND k.contype IN ('c', 'f')"
        " AND k.conparentid = 0 ORDER BY k.conrelid, k.oid"
    )


def _names(numbers: str, relation: str) -> str:
    return (
        f"ARRAY(SELECT a.attname::text FROM unnest({numbers}) WITH ORDINALITY AS u (number, place)"
        f" JOIN pg_attribute a ON a.attrelid = {relation} AND a.attnum = u.number ORDER BY place)"
    )


def _any(relations: Iterable[int]) -> str:
    return "ANY ('{" + ",".join(map(str, relations)) + "}'::oid[])"


def sequences(relations: Iterable[int]) -> str:
    """Those of these oids: the name as in a statement, type, largest value, whether this role sees where it stands."""
    return (
        "SELECT s.seqrelid, format('%I.%I', n.nspname, c.relname), format_type(s.seqtypid, NULL), s.seqmax,"
        " s.seqincrement > 0 AND NOT s.seqcycle AND has_sequence_privilege(c.oid, 'USAGE, SELECT')"
        " FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE s.seqrelid = {_any(relations)}"
    )


def behind(table: str, column: str, sequence: int) -> str:
    """The largest number in the column, and where its sequence stands, if that is behind.

    The rows are read first: who inserts one meanwhile has taken its number before.
    """
    start = f"(SELECT seqstart - 1 FROM pg_sequence WHERE seqrelid = {sequence})"
    stands = f"coalesce(pg_sequence_last_value({sequence}), {start})"
    return (
        f"SELECT {sequence}::oid, m.largest, {stands}"
        f" FROM (SELECT max({column}) AS largest FROM {table} OFFSET 0) AS m WHERE m.largest > {stands}"
    )


def readable(tables: Iterable[str]) -> str:
    """The tables of these, as they stand in a statement, all of whose rows this role may read."""
    return (
        f"SELECT name FROM unnest(ARRAY[{literals(tables)}]::text[]) AS name WHERE"
        " has_table_privilege(to_regclass(name), 'SELECT') AND NOT row_security_active(to_regclass(name))"
    )


# What is wrong whatever a table is for.


def invalid_indexes() -> str:
    """Table, index, both raw with the schema, and whether it is left from REINDEX CONCURRENTLY or a partition's.

    One that somebody builds at the moment isn't meant.
    """
    return (
        "SELECT n.nspname::text, t.relname::text, c.relname::text, c.relname ~ '_cc(new|old)[0-9]*$', c.relkind = 'I'"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
        f" JOIN pg_namespace n ON n.oid = t.relnamespace WHERE NOT i.indisvalid AND {OTHERS}"
        f" AND NOT {OF_EXTENSION.format('pg_class', 't.oid')} AND NOT EXISTS (SELECT FROM"
        " pg_stat_progress_create_index p WHERE coalesce(p.relid, t.oid) = t.oid) ORDER BY 1, 2, 3"
    )


def not_valid_constraints() -> str:
    """Table and constraint, both raw with the schema, contype, and the raw columns."""
    return (
        f"SELECT n.nspname::text, t.relname::text, k.conname::text, k.contype::text, {_names('k.conkey', 'k.conrelid')}"
        " FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace"
        f" WHERE NOT k.convalidated AND k.conparentid = 0 AND {OTHERS}"
        " AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, TRUE)"
        f" AND NOT {OF_EXTENSION.format('pg_class', 't.oid')} ORDER BY 1, 2, 3"
    )


def may_make_temporary() -> str:
    return (
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool,"
        " has_database_privilege(current_database(), 'TEMPORARY')"
    )
