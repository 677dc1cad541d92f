"""Who may do what with a table, besides its owner."""

from __future__ import annotations

from .names import regclass


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
