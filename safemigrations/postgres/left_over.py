"""Columns, triggers, functions, views and tables of ours, in any schema."""

from __future__ import annotations

from .names import LAST, PREFIX, regclass
from .tables import is_marked
from .triggers import is_ours
from .values import literal


def other_queues() -> str:
    """The schemas (raw) with another django_migrations, and so a queue that knows what is needed there.

    Such as the public one while a tenant is migrated, or that of another project.
    """
    return (
        "SELECT s.nspname::text FROM pg_class m JOIN pg_namespace s ON s.oid = m.relnamespace"
        " WHERE m.relname = 'django_migrations'"
        f" AND m.relkind IN ('r', 'p') AND m.oid <> {regclass('django_migrations')}"
    )


def triggers() -> str:
    """Those of ours: schema, raw table, whether that is visible, raw name, function, and the columns that this uses."""
    columns = (
        "ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0"
        " AND NOT a.attisdropped AND strpos(p.prosrc, 'NEW.\"' || replace(a.attname, '\"', '\"\"') || '\"') > 0"
        " ORDER BY a.attnum)"
    )
    return (
        "SELECT n.nspname::text, c.relname::text, pg_table_is_visible(c.oid), t.tgname::text,"
        f" p.oid::regprocedure::text, {columns} FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid"
        f" WHERE {is_ours('t')} AND NOT t.tgisinternal AND t.tgparentid = 0"
        f" AND n.nspname::text NOT IN ({other_queues()}) ORDER BY 1, 2, 4"
    )


def objects() -> str:
    """Each as its kind, its table as in a statement, its raw name, and the function that goes with a trigger.

    Functions, views and tables are their own place.
    """
    place = "format('%I.%I', n.nspname, c.relname)"
    in_schema = "JOIN pg_namespace n ON n.oid ="
    others = "n.nspname !~ '^pg_'"
    prefix = literal(PREFIX)
    return (
        f"SELECT 'column', {place}, a.attname::text, '' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        f" {in_schema} c.relnamespace WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT a.attisdropped"
        f" AND starts_with(a.attname, {prefix}) AND {others}"
        f" UNION ALL SELECT 'trigger', {place}, t.tgname::text, t.tgfoid::regprocedure::text"
        f" FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        f" {in_schema} c.relnamespace WHERE {is_ours('t')} AND NOT t.tgisinternal AND t.tgparentid = 0 AND {others}"
        f" UNION ALL SELECT 'view', {place}, c.relname::text, '' FROM pg_class c {in_schema} c.relnamespace"
        f" WHERE c.relkind = 'v' AND {others} AND {is_marked('c.oid')}"
        f" UNION ALL SELECT 'table', {place}, c.relname::text, '' FROM pg_class c {in_schema} c.relnamespace"
        f" WHERE c.relkind IN ('r', 'p') AND starts_with(c.relname, {prefix}) AND {others}"
        " UNION ALL SELECT 'function', format('%I.%I(%s)', n.nspname, p.proname,"
        " pg_get_function_identity_arguments(p.oid)), p.proname::text, ''"
        f" FROM pg_proc p {in_schema} p.pronamespace WHERE {others}"
        f" AND (starts_with(p.proname, {prefix}) OR starts_with(p.proname, {literal(LAST)}))"
        " AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid) ORDER BY 1, 2, 3"
    )
