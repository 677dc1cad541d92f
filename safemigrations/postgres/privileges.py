"""The rights on a table of roles other than its owner."""

from __future__ import annotations

from collections.abc import Iterable

from .families import with_descendants
from .names import Name, regclass
from .values import literal, literals


def others_who_write(table: str) -> str:
    """The roles but the owner that may do more than read the table, or a column of it: `what` and `who`, as in REVOKE.

    Whoever may make a trigger on a table has the rights of whoever writes to it.
    """
    return (
        "SELECT string_agg(DISTINCT a.privilege_type, ', ') AS what, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE"
        " quote_ident(pg_get_userbyid(a.grantee)) END AS who FROM pg_class c, LATERAL (SELECT * FROM"
        " aclexplode(c.relacl) UNION ALL SELECT x.* FROM pg_attribute t, aclexplode(t.attacl) x"
        f" WHERE t.attrelid = c.oid) a WHERE c.oid = {regclass(table)} AND a.grantee <> c.relowner"
        " AND a.privilege_type <> 'SELECT' GROUP BY a.grantee ORDER BY 2"
    )


def foreign_owner(table: str, trusted: str) -> str:
    """The owner of the table, as in a statement, where that is nobody whom the session has to trust anyway.

    That is the session itself, a superuser, and the owner of the other table.
    """
    return (
        "SELECT quote_ident(r.rolname) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner"
        f" WHERE c.oid = {regclass(table)} AND NOT r.rolsuper AND r.rolname <> current_user"
        f" AND c.relowner IS DISTINCT FROM (SELECT relowner FROM pg_class WHERE oid = {regclass(trusted)})"
    )


def functions_of_others(names: Iterable[str], trusted: Iterable[str]) -> str:
    """The functions of these names (raw), in the schema where they are made, and their owners, as in a statement.

    Without those of the session itself, of superusers, and of the owners of the `trusted` tables.
    """
    oids = ", ".join(f"coalesce({regclass(table)}, 0)" for table in trusted)
    return (
        "SELECT p.oid::regprocedure::text, quote_ident(r.rolname) FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner"
        " WHERE p.pronamespace = to_regnamespace(quote_ident(current_schema()))"
        f" AND p.proname IN ({literals(names)}) AND NOT r.rolsuper AND r.rolname <> current_user"
        f" AND p.proowner NOT IN (SELECT relowner FROM pg_class WHERE oid IN ({oids})) ORDER BY 1"
    )


def owners_of_others(table: str) -> str:
    """The table, its partitions and what inherits from it, if the current role isn't a member of the owner.

    A row is its name as in a statement, the current role, and the owner.
    """
    return (
        "SELECT oid::regclass::text, current_user::text, pg_get_userbyid(relowner)::text FROM pg_class"
        f" WHERE oid IN ({with_descendants(table)}) AND relkind IN ('r', 'p') AND NOT pg_has_role(relowner, 'USAGE')"
        " ORDER BY oid"
    )


def privileges_lacking(table: str, needed: Iterable[str]) -> str:
    """The tables on which the role lacks some of these privileges, and which these are. An owner may lack some, too.

    One on a single column counts: nobody knows yet which columns are meant.
    """
    may = (
        "CASE what WHEN 'TRIGGER' THEN has_table_privilege(relid, what) ELSE has_any_column_privilege(relid, what) END"
    )
    return (
        "SELECT relid::regclass::text, current_user::text, string_agg(what, ', ' ORDER BY what)"
        f" FROM ({with_descendants(table)}) AS tables, unnest(ARRAY[{literals(needed)}]) AS what"
        f" WHERE relid IS NOT NULL AND NOT {may} GROUP BY relid ORDER BY relid"
    )


def function_of_another(signature: str) -> str:
    """The function, the current role, and the owner of the function, where the one isn't a member of the other."""
    return (
        "SELECT p.oid::regprocedure::text, current_user::text, pg_get_userbyid(proowner)::text FROM pg_proc p"
        f" WHERE p.oid = to_regprocedure({literal(signature)}) AND NOT pg_has_role(proowner, 'USAGE')"
    )


def closed_schema(name: str) -> str:
    """The current role, and the schema of this name, where the role may create nothing there.

    That is the schema of the table that has the name; else the one that the name says, or the first of the search_path,
    which is meant where there is no name.
    """
    schema = Name(name).schema
    of_table = f"(SELECT relnamespace FROM pg_class WHERE oid = {regclass(name)})" if name else "NULL"
    named = (
        f"to_regnamespace({literal(Name.of(schema))})" if schema else "to_regnamespace(quote_ident(current_schema()))"
    )
    return (
        "SELECT current_user::text, nspname::text FROM pg_namespace"
        f" WHERE oid = coalesce({of_table}, {named}) AND NOT has_schema_privilege(oid, 'CREATE')"
    )


def closed_to_own_tables(tables: Iterable[str], beside: str) -> str:
    """The current role, and the schema of the table `beside`, where these can't be made beside it and aren't there."""
    return (
        "SELECT current_user::text, n.nspname::text FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid"
        f" WHERE c.oid = {regclass(beside)} AND NOT has_schema_privilege(n.oid, 'CREATE') AND EXISTS (SELECT"
        f" FROM unnest(ARRAY[{literals(tables)}]) AS wanted WHERE wanted NOT IN"
        " (SELECT relname FROM pg_class WHERE relnamespace = n.oid))"
    )


def own_tables_of_another(tables: Iterable[str], beside: str) -> str:
    """Those of the tables beside the other one that the current role may not write; the role, and their owner."""
    may = " AND ".join(f"has_table_privilege(c.oid, '{what}')" for what in ("SELECT", "INSERT", "UPDATE", "DELETE"))
    return (
        "SELECT c.relname::text, current_user::text, pg_get_userbyid(c.relowner)::text FROM pg_class c"
        f" WHERE c.relname IN ({literals(tables)}) AND NOT ({may})"
        f" AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = {regclass(beside)})"
    )


def is_all_its_own() -> str:
    """Does the role own every table, and may it create in every schema? Tables of extensions don't count."""
    return (
        "SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE c.relkind IN ('r', 'p') AND {_OF_USERS} AND NOT pg_has_role(c.relowner, 'USAGE')"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"
        f" AND d.deptype = 'e')) AND NOT EXISTS (SELECT FROM pg_namespace n WHERE {_OF_USERS}"
        " AND NOT has_schema_privilege(n.oid, 'CREATE'))"
    )


_OF_USERS = "NOT starts_with(n.nspname, 'pg_') AND n.nspname <> 'information_schema'"
