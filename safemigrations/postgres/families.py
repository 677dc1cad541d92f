"""Queries for tables with rows that a session may miss: behind a policy, or in tables that inherit."""

from __future__ import annotations

from .names import regclass

OWN_NAME = "n.nspname::text, c.relname::text, pg_table_is_visible(c.oid)"  # to follow SELECT; the names are raw
TABLES = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"


def tables_with_hidden_rows() -> str:
    """The tables of which a policy hides rows from the current role, and those that they are partitions of.

    A row is a name as OWN_NAME, the table that has the policies, the role, and whether the policies are forced on it as
    the owner. row_security = off makes no difference to that.
    """
    return (
        "WITH RECURSIVE hidden (policies, oid) AS (SELECT oid, oid FROM pg_class WHERE relrowsecurity"
        " AND row_security_active(oid) UNION SELECT hidden.policies, h.inhparent FROM hidden"
        " JOIN pg_inherits h ON h.inhrelid = hidden.oid)"
        f" SELECT {OWN_NAME}, h.policies::regclass::text, current_user::text,"
        " p.relforcerowsecurity AND pg_has_role(p.relowner, 'USAGE')"
        f" {TABLES} JOIN hidden h ON h.oid = c.oid JOIN pg_class p ON p.oid = h.policies ORDER BY c.oid, h.policies"
    )


def tables_that_inherit() -> str:
    """The tables that inherit from others, or from which others do, other than as partitions.

    A row is a name as OWN_NAME, the names of the children as in a statement, those of the parents, and the raw names of
    the columns that come from these.
    """
    family = "SELECT FROM pg_inherits h JOIN pg_class k ON k.oid = h.inhrelid AND NOT k.relispartition"
    other = "ARRAY(SELECT h.{}::regclass::text FROM pg_inherits h JOIN pg_class k ON k.oid = h.inhrelid"
    rest = " AND NOT k.relispartition WHERE h.{} = c.oid ORDER BY 1)"
    return (
        f"SELECT {OWN_NAME}, {(other + rest).format('inhrelid', 'inhparent')},"
        f" {(other + rest).format('inhparent', 'inhrelid')},"
        " ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attinhcount > 0)"
        f" {TABLES} WHERE NOT c.relispartition AND c.relkind IN ('r', 'p', 'f')"
        f" AND EXISTS ({family} WHERE c.oid IN (h.inhparent, h.inhrelid)) ORDER BY c.oid"
    )


def with_descendants(table: str) -> str:
    """The oids, `relid`, of a table, its partitions, the tables that inherit from it, and theirs."""
    return (
        f"WITH RECURSIVE family (relid) AS (SELECT {regclass(table)}::oid"
        " UNION SELECT h.inhrelid FROM family JOIN pg_inherits h ON h.inhparent = relid) SELECT relid FROM family"
    )
