"""Everything that the catalog says about a database's own objects, in a form that can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

from django.db.backends.base.base import BaseDatabaseWrapper

Snapshot = dict[str, dict[str, Any]]

# Objects by what they are called, not by number: a column that comes again stands last. Tables that Django and this
# package keep for themselves are left out.
RELATIONS = """
    (SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname !~ '^(pg_|information_schema)' AND c.relname !~ '^(django_migrations|safemigrations_)')
"""
QUERIES: dict[str, LiteralString] = {
    "tables": f"""
        SELECT oid::regclass::text, relkind::text, relpersistence::text, reloptions, relacl::text,
            relhastriggers AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal),
            obj_description(oid, 'pg_class'), pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity,
            relreplident::text
        FROM {RELATIONS} c WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
    """,
    "columns": f"""
        SELECT c.oid::regclass::text || '.' || a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text, a.attstorage::text,
            a.attcompression::text, nullif(a.attstattarget, -1), a.attoptions, a.attacl::text,
            CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
            col_description(c.oid, a.attnum)
        FROM {RELATIONS} c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
    """,
    # An index of a partition is called as PostgreSQL pleases: by the index it belongs to.
    "indexes": f"""
        SELECT coalesce(h.inhparent::regclass::text || ' on ' || i.indrelid::regclass::text, c.oid::regclass::text),
            CASE WHEN h.inhparent IS NULL THEN pg_get_indexdef(c.oid)
                ELSE substring(pg_get_indexdef(c.oid) FROM ' USING .*') END,
            i.indisvalid, i.indisready, i.indislive, i.indisprimary, i.indimmediate, i.indisreplident, i.indisclustered,
            obj_description(c.oid, 'pg_class')
        FROM {RELATIONS} c JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_inherits h ON h.inhrelid = c.oid
    """,
    "constraints": f"""
        SELECT c.oid::regclass::text || '.' || k.conname, k.contype::text, pg_get_constraintdef(k.oid),
            k.convalidated, k.condeferrable, k.condeferred, k.conindid::regclass::text,
            obj_description(k.oid, 'pg_constraint')
        FROM {RELATIONS} c JOIN pg_constraint k ON k.conrelid = c.oid
    """,
    "triggers": f"""
        SELECT c.oid::regclass::text || '.' || t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text
        FROM {RELATIONS} c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
    """,
    "sequences": f"""
        SELECT c.oid::regclass::text, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmax, s.seqmin,
            s.seqcache, s.seqcycle, d.refobjid::regclass::text || '.' || a.attname, d.deptype::text
        FROM {RELATIONS} c JOIN pg_sequence s ON s.seqrelid = c.oid
        LEFT JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.refobjsubid > 0
        LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    """,
    "views": f"SELECT c.oid::regclass::text, pg_get_viewdef(c.oid) FROM {RELATIONS} c WHERE c.relkind IN ('v', 'm')",
    "rules": f"""
        SELECT c.oid::regclass::text || '.' || r.rulename, pg_get_ruledef(r.oid)
        FROM {RELATIONS} c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE c.relkind IN ('r', 'p')
    """,
    "policies": f"""
        SELECT c.oid::regclass::text || '.' || p.polname, p.polcmd::text, p.polpermissive, p.polroles::regrole[]::text,
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
        FROM {RELATIONS} c JOIN pg_policy p ON p.polrelid = c.oid
    """,
    "statistics": f"""
        SELECT s.stxnamespace::regnamespace::text || '.' || s.stxname, pg_get_statisticsobjdef(s.oid)
        FROM {RELATIONS} c JOIN pg_statistic_ext s ON s.stxrelid = c.oid
    """,
    # PostgreSQL 14 has no lists of columns.
    "publications": f"""
        SELECT p.pubname || '.' || c.oid::regclass::text,
            (SELECT array_agg(attname ORDER BY attname) FROM pg_attribute
             WHERE attrelid = c.oid AND attnum::text IN
                (SELECT found[1] FROM regexp_matches(to_jsonb(r) ->> 'prattrs', '[0-9]+', 'g') AS found))
        FROM {RELATIONS} c JOIN pg_publication_rel r ON r.prrelid = c.oid JOIN pg_publication p ON p.oid = r.prpubid
    """,
    "functions": """
        SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid),
            nullif(p.proacl, acldefault('f', p.proowner))::text, obj_description(p.oid, 'pg_proc') FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname !~ '^(pg_|information_schema)'
    """,
    "types": """
        SELECT t.oid::regtype::text, t.typtype::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        LEFT JOIN pg_type e ON e.oid = t.typelem
        WHERE n.nspname !~ '^(pg_|information_schema)' AND t.typrelid = 0 AND coalesce(e.typrelid, 0) = 0
    """,
    "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'",
    "extensions": "SELECT extname, extversion FROM pg_extension",
}


def snapshot(connection: BaseDatabaseWrapper) -> Snapshot:
    """Kind -> name -> description from the catalog."""
    with prepared(connection) as cursor:
        return {kind: found(cursor, query) for kind, query in QUERIES.items()}


@contextmanager
def prepared(connection: Any) -> Iterator[Any]:
    """A cursor whose statements are planned once in a session: planning takes longer than reading the catalog."""
    connection.ensure_connection()
    session = connection.connection
    before, session.prepare_threshold = session.prepare_threshold, 0
    try:
        with connection.Database.Cursor(session) as cursor:  # psycopg's own
            yield cursor
    finally:
        session.prepare_threshold = before


def found(cursor: Any, query: LiteralString) -> dict[str, Any]:
    cursor.execute(query)
    return {name: details for name, *details in cursor.fetchall()}


def difference(before: Snapshot, after: Snapshot) -> dict[str, tuple[Any, Any]]:
    """The objects that only one snapshot has, or that differ: "kind name" -> both descriptions."""
    return {
        f"{kind} {name}": (before[kind].get(name), after[kind].get(name))
        for kind in before
        for name in before[kind].keys() | after[kind].keys()
        if before[kind].get(name) != after[kind].get(name)
    }


def nameless(before: Snapshot) -> Snapshot:
    """The snapshot with constraints and indexes named by what they are."""
    indexes = {re.sub(r" INDEX .* ON ", " ON ", details[0]): details[1:] for details in before["indexes"].values()}
    constraints = {
        f"{name.partition('.')[0]} {details[1]}": [*details[:5], *details[6:]]
        for name, details in before["constraints"].items()
    }
    return {**before, "indexes": indexes, "constraints": constraints}
