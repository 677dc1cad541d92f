"""Objects that don't outlive a contract: our constraints and indexes, and NOT NULL of shared columns."""

from __future__ import annotations

from .names import LAST, PREFIX
from .values import literal

FOREIGN_KEY, CONSTRAINT, INDEX, NOT_NULL = "foreign key", "constraint", "index", "not null"


def _starts(name: str, prefix: str) -> str:
    return f"starts_with({name}, {literal(prefix)})"


def temporary_objects() -> str:
    """Each as its kind, its table, its raw name, and the table that a foreign key points at. Foreign keys come first:
    they need the others.
    """
    on_ours = (
        "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)"
        f" AND {_starts('a.attname', PREFIX)})"
    )
    constraints = (
        f"SELECT CASE k.contype WHEN 'f' THEN {literal(FOREIGN_KEY)} ELSE {literal(CONSTRAINT)} END, k.conrelid,"
        " k.conname, k.confrelid FROM pg_constraint k"
        f" WHERE k.contype IN ('c', 'f', 'u') AND k.conparentid = 0 AND ({_starts('k.conname', PREFIX)} OR {on_ours})"
    )
    indexes = (
        f"SELECT {literal(INDEX)}, i.indrelid, c.relname, 0::oid FROM pg_index i"
        f" JOIN pg_class c ON c.oid = i.indexrelid WHERE {_starts('c.relname', PREFIX)} AND NOT c.relispartition"
        " AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype <> 'f')"
    )
    not_null = (
        f"SELECT {literal(NOT_NULL)}, a.attrelid, a.attname, 0::oid FROM pg_attribute a WHERE a.attnotnull"
        " AND a.attnum > 0 AND NOT a.attisdropped AND EXISTS"
        f" (SELECT FROM pg_trigger t WHERE t.tgrelid = a.attrelid AND {_starts('t.tgname', LAST)})"
    )
    return (
        "SELECT o.kind, format('%I.%I', n.nspname, c.relname), o.name::text, CASE o.parent WHEN 0 THEN '' ELSE"
        " (SELECT format('%I.%I', s.nspname, p.relname) FROM pg_class p JOIN pg_namespace s ON s.oid = p.relnamespace"
        " WHERE p.oid = o.parent) END"
        f" FROM ({constraints} UNION ALL {indexes} UNION ALL {not_null}) AS o (kind, relation, name, parent)"
        " JOIN pg_class c ON c.oid = o.relation JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname NOT LIKE 'pg\\_%' ORDER BY o.kind <> 'foreign key', o.kind = 'not null', o.kind, 2, 3"
    )
