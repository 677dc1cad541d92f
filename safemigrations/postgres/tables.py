"""Probes and queries on tables as a whole, and on the server."""

from __future__ import annotations

from collections.abc import Iterable

from .names import Name, regclass
from .probe import Probe
from .values import literal

# A view of ours has a comment, for people, and an alias, which a backup without comments has, too.
VIEW_MARK = "safemigrations: the old name of a table, until migrate --contract"
VIEW_ALIAS = "safemig_old_name"


def table_exists(table: str) -> Probe:
    return Probe(f"SELECT 1 WHERE {regclass(table)} IS NOT NULL")


def table_missing(table: str) -> Probe:
    return Probe(f"SELECT 1 WHERE {regclass(table)} IS NULL")


def of_another_schema(names: Iterable[str], schema: str) -> str:
    """Those of these tables or views, raw, that the search_path finds in another schema than this one."""
    tables = ", ".join(f"({literal(name)}, {regclass(Name.of(name))})" for name in names)
    return (
        f"SELECT tables.name FROM (VALUES {tables}) AS tables (name, oid) JOIN pg_class c ON c.oid = tables.oid"
        f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname <> {literal(schema)}"
    )


def is_table(table: str) -> Probe:
    return Probe(f"SELECT 1 FROM pg_class WHERE oid = {regclass(table)} AND relkind IN ('r', 'p')")


def is_marked_view(view: str) -> Probe:
    """Is it one of ours, which the contract drops?"""
    return Probe(f"SELECT 1 FROM pg_class WHERE oid = {regclass(view)} AND relkind = 'v' AND {is_marked('oid')}")


def is_marked(oid: str) -> str:
    """A condition: is this relation a view of ours?"""
    has_comment = f"coalesce(obj_description({oid}, 'pg_class') = {literal(VIEW_MARK)}, FALSE)"
    return f"({has_comment} OR coalesce(strpos(pg_get_viewdef({oid}), {literal(f' {VIEW_ALIAS}')}) > 0, FALSE))"


def is_server(version: int) -> Probe:
    """Is this PostgreSQL of the major version, or a later one?"""
    return Probe(f"SELECT 1 WHERE {_is_at_least(version)}")


def _is_at_least(version: int) -> str:
    return f"current_setting('server_version_num')::int >= {version * 10_000}"


def is_partitioned(table: str, *, before: int) -> Probe:
    """Is this a partitioned table, on a PostgreSQL before the major version?"""
    return Probe(
        f"SELECT 1 FROM pg_class WHERE oid = {regclass(table)} AND relkind = 'p'"
        f" AND current_setting('server_version_num')::int < {before * 10_000}"
    )


def place_of_table(table: str) -> str:
    """What kind of relation it is (relkind), and its schema, raw."""
    return (
        "SELECT c.relkind::text, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE c.oid = {regclass(table)}"
    )


def partitions(table: str) -> str:
    """The direct partitions of a table: name as in a statement, bare name, relkind, schema; the last three raw."""
    return (
        "SELECT format('%I.%I', n.nspname, c.relname), c.relname, c.relkind::text, n.nspname"
        " FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE h.inhparent = {regclass(table)} AND c.relispartition ORDER BY c.oid"
    )


def partitions_with_rows(table: str) -> str:
    """The partitions of a table, of every level, that have rows of their own: names as in a statement."""
    return (
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_partition_tree("
        f"{regclass(table)}) t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE t.isleaf AND c.relkind = 'r' AND t.level > 0 ORDER BY c.oid"
    )


# A view that stands where a table stood.


def grants_on_columns(table: str) -> Probe:
    """Does anybody have a privilege on a single column?"""
    return Probe(f"SELECT 1 FROM pg_attribute WHERE attrelid = {regclass(table)} AND attacl IS NOT NULL")


def may_be_asked_by_invoker(table: str) -> Probe:
    """Can a view use the rights of its reader (PostgreSQL 15)? Not if there are privileges on single columns."""
    return Probe(f"SELECT 1 WHERE {_is_at_least(15)} AND NOT EXISTS ({grants_on_columns(table)})")


def row_security_lost_behind_a_view(table: str) -> str:
    """Why a view of a table with row-level security can't use the rights of its reader."""
    reason = f"CASE WHEN {_is_at_least(15)} THEN 'grants on columns' ELSE 'a server before PostgreSQL 15' END"
    return (
        f"SELECT {reason} FROM pg_class WHERE oid = {regclass(table)} AND relkind <> 'v' AND relrowsecurity"
        f" AND NOT EXISTS ({may_be_asked_by_invoker(table)})"
    )


def owner_to_carry_over(table: str, view: str) -> str:
    """The owner of the table, as `name`, where the view has another one."""
    return (
        f"SELECT pg_get_userbyid(relowner) AS name FROM pg_class WHERE oid = {regclass(table)}"
        f" AND relowner <> (SELECT relowner FROM pg_class WHERE oid = {regclass(view)})"
    )


def grants_to_carry_over(table: str, view: str) -> str:
    """The privileges on the table and on its columns: `what`, `who` and `further`, as they stand in GRANT."""
    return (
        "SELECT g.privilege_type || g.columns AS what, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE"
        " quote_ident(pg_get_userbyid(g.grantee)) END AS who, CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE"
        " '' END AS further FROM (SELECT a.*, '' AS columns FROM pg_class c, aclexplode(c.relacl) a"
        f" WHERE c.oid = {regclass(table)} UNION ALL SELECT a.*, format(' (%I)', v.attname) FROM pg_attribute t"
        f" JOIN pg_attribute v ON v.attrelid = {regclass(view)} AND v.attname = t.attname, aclexplode(t.attacl) a"
        f" WHERE t.attrelid = {regclass(table)} AND t.attnum > 0) AS g"
    )
