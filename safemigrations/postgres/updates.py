"""Queries for tables whose rows can't be updated: a rule does something else, or it would be an error."""

from __future__ import annotations

from functools import partial

from .families import OWN_NAME, TABLES

IS_PARTITION = " JOIN pg_class k ON k.oid = h.inhrelid AND k.relispartition"


def tables_with_rules() -> str:
    """The tables with a rule that puts something else in the place of an UPDATE, and those they are partitions of.

    A row is a name as OWN_NAME, the table that has the rules, and these, both as in a statement. Rules of a table that
    inherits from another aren't asked where the other one is updated.
    https://www.postgresql.org/docs/current/rules-update.html
    """
    ruled = "ev_type = '2' AND is_instead AND ev_enabled IN ('O', 'A')"
    rules = f"ARRAY(SELECT quote_ident(rulename) FROM pg_rewrite WHERE ev_class = m.member AND {ruled} ORDER BY 1)"
    return (
        f"{_and_above(f'SELECT ev_class FROM pg_rewrite WHERE {ruled}', IS_PARTITION)}"
        f" SELECT {OWN_NAME}, m.member::regclass::text, {rules}"
        f" {TABLES} JOIN members m ON m.oid = c.oid WHERE c.relkind IN ('r', 'p') ORDER BY c.oid, m.member"
    )


def tables_without_identity(*, of_schemas: bool) -> str:
    """The tables whose updates are published, while nothing says which row was updated; and those above them.

    `of_schemas`: can a publication be of all tables of a schema (PostgreSQL 15)?

    A row is a name as OWN_NAME, the table that lacks a replica identity, as in a statement, the publications, and
    whether its primary key can be the identity.
    https://www.postgresql.org/docs/current/logical-replication-publication.html#LOGICAL-REPLICATION-PUBLICATION-REPLICA-IDENTITY
    """
    published = partial(_publications, of_schemas=of_schemas)
    lacking = (
        "SELECT c.oid FROM pg_class c WHERE c.relkind = 'r' AND c.relpersistence = 'p'"
        f" AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT {_has_index('indisprimary')}"
        f" OR c.relreplident = 'i' AND NOT {_has_index('indisreplident')}) AND EXISTS ({published('c.oid')})"
    )
    return (
        f"{_and_above(lacking)} SELECT {OWN_NAME}, m.member::regclass::text,"
        f" ARRAY({published('m.member')} ORDER BY 1), {_has_index('indisprimary', 'm.member')}"
        f" {TABLES} JOIN members m ON m.oid = c.oid ORDER BY c.oid, m.member"
    )


def tables_published_in_part() -> str:
    """The tables that are published by a filter, or with columns, that don't fit the replica identity; those above.

    PostgreSQL 14 knows neither filters nor lists of columns, and not the query.

    A row is a name as OWN_NAME, the table and the publication, as in a statement, the columns that the filter reads
    and the replica identity lacks, and the columns that this has and the publication leaves out.
    https://www.postgresql.org/docs/current/logical-replication-row-filter.html#LOGICAL-REPLICATION-ROW-FILTER-RESTRICTIONS
    https://www.postgresql.org/docs/current/logical-replication-col-lists.html
    """
    index = "CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END"
    keys = f"SELECT unnest(i.indkey) FROM pg_index i WHERE i.indrelid = c.oid AND {index}"
    identity = _columns("c.oid", f"(c.relreplident = 'f' OR attnum IN ({keys}))")
    read = _columns("r.prrelid", "r.prqual::text ~ format(':varattno %s ', attnum)")
    published = _columns("r.prrelid", "(r.prattrs IS NULL OR attnum = ANY (r.prattrs))")
    tables = "SELECT r.prrelid UNION SELECT relid FROM pg_partition_tree(r.prrelid) WHERE p.pubviaroot"
    found = (
        f"SELECT c.oid, p.pubname, ARRAY({read} EXCEPT {identity}) AS read,"
        f" ARRAY({identity} EXCEPT {published}) AS missing"
        " FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid AND p.pubupdate"
        f" JOIN LATERAL ({tables}) AS t (oid) ON TRUE JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'r'"
        " WHERE r.prqual IS NOT NULL OR r.prattrs IS NOT NULL"
    )
    return (
        f"{_and_above(f'SELECT oid FROM ({found}) AS published')} SELECT {OWN_NAME}, f.oid::regclass::text,"
        f" quote_ident(f.pubname), f.read, f.missing {TABLES} JOIN members m ON m.oid = c.oid"
        f" JOIN ({found}) AS f ON f.oid = m.member WHERE f.read || f.missing <> '{{}}' ORDER BY c.oid, m.member"
    )


def foreign_tables() -> str:
    """The tables whose rows another server has, and those above them: a name as OWN_NAME, and the foreign table."""
    foreign = "SELECT oid FROM pg_class WHERE relkind = 'f'"
    return (
        f"{_and_above(foreign)} SELECT {OWN_NAME}, m.member::regclass::text"
        f" {TABLES} JOIN members m ON m.oid = c.oid ORDER BY c.oid, m.member"
    )


def typed_tables() -> str:
    """The tables that have their columns from a type (CREATE TABLE OF): a name as OWN_NAME, the table, and the type."""
    return (
        f"SELECT {OWN_NAME}, c.oid::regclass::text, format_type(c.reloftype, NULL) {TABLES} WHERE c.reloftype <> 0"
        " ORDER BY c.oid"
    )


def _and_above(members: str, only: str = "") -> str:
    """WITH: these tables, `member`, and each with itself and what it is a part of, `oid`."""
    return (
        f"WITH RECURSIVE members (member, oid) AS (SELECT oid, oid FROM ({members}) AS found (oid)"
        f" UNION SELECT members.member, h.inhparent FROM members JOIN pg_inherits h ON h.inhrelid = members.oid{only})"
    )


def _has_index(which: str, table: str = "c.oid") -> str:
    return (
        f"EXISTS (SELECT FROM pg_index i WHERE i.indrelid = {table} AND i.{which} AND i.indimmediate AND i.indisvalid)"
    )


def _columns(table: str, which: str) -> str:
    return (
        "SELECT quote_ident(attname) FROM pg_attribute"
        f" WHERE attrelid = {table} AND attnum > 0 AND NOT attisdropped AND {which}"
    )


def _publications(table: str, *, of_schemas: bool) -> str:
    """The names of those that publish the updates of a table: by itself, its schema, or what it is a partition of."""
    above = f"SELECT {table} UNION SELECT relid FROM pg_partition_ancestors({table})"
    by_schema = (
        " OR EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_class k ON k.relnamespace = s.pnnspid"
        f" WHERE s.pnpubid = p.oid AND k.oid IN ({above}))"
    )
    return (
        "SELECT p.pubname::text FROM pg_publication p WHERE p.pubupdate AND (p.puballtables"
        f" OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid IN ({above}))"
        f"{by_schema if of_schemas else ''})"
    )
