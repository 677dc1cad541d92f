"""Checks the server and the session before a run begins, and says in a sentence what is wrong."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import NOTHING_WAS_CHANGED, StepFailed
from ..postgres.driver import INSTALL_PSYCOPG, ONLY_PSYCOPG2, driver_of
from ..postgres.names import Name


def refuse_unusable(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed for a session that can't write, or that psycopg 3 doesn't read."""
    if connection.vendor != "postgresql":
        return
    if driver_of(connection) == "psycopg2":  # which gives other answers where several statements are sent at once
        raise StepFailed(f"{ONLY_PSYCOPG2} {NOTHING_WAS_CHANGED} {INSTALL_PSYCOPG}")
    refuse_unwritable(connection)


def refuse_schemaless(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed where the session finds no table by its name: every question would find nothing."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMALESS)
        found = cursor.fetchone()
    if found:
        role, path, closed = found
        what = f"The role {role} may not use the schema {closed}" if closed else "No schema is there"
        do = (
            f"Let somebody type: GRANT USAGE ON SCHEMA {closed} TO {Name.of(role)}"
            if closed
            else "Make that schema, or set search_path to the one that has the tables of the project."
        )
        raise StepFailed(f"{what} of the search_path ({path}), so no table is found. {NOTHING_WAS_CHANGED} {do}")


def refuse_unwritable(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed for a session that can't write, or not what every migrate writes."""
    refuse_schemaless(connection)
    with connection.cursor() as cursor:
        cursor.execute(_STATE)
        is_standby, is_read_only, missing, role = cursor.fetchone()
    if is_standby:
        raise StepFailed(f"{_a_standby(connection)} Migrate the primary.")
    if is_read_only:
        raise StepFailed(
            f"Sessions of database {connection.alias!r} are read-only (default_transaction_read_only is on). Nothing "
            "was changed. Somebody may have frozen it for a move to another server. If nobody has, type: ALTER "
            "DATABASE ... RESET default_transaction_read_only; or set it to off for the role that migrates."
        )
    if missing:
        raise StepFailed(
            f"The role {role} may not use the table django_migrations. Nothing was changed. Use the role that migrated "
            f"here before, or let an administrator type: GRANT {missing} ON django_migrations TO {Name.of(role)}"
        )


def refuse_standby(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed where nobody can decide anything, because nothing can be written."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        if cursor.fetchone()[0]:
            raise StepFailed(f"{_a_standby(connection)} Type the same for the primary.")


def _a_standby(connection: BaseDatabaseWrapper) -> str:
    return f"The server of database {connection.alias!r} is a standby, which takes no writes. Nothing was changed."


def refuse_unreadable(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed for a role that can't read the tables which commands that only print need."""
    if connection.vendor != "postgresql":
        return
    refuse_schemaless(connection)
    with connection.cursor() as cursor:
        cursor.execute(_UNREADABLE)
        tables, role = cursor.fetchone()
    if tables:
        raise StepFailed(
            f"The role {role} may not read {tables}. {NOTHING_WAS_CHANGED} Let an administrator type: "
            f"GRANT SELECT ON {tables} TO {Name.of(role)}"
        )


_SCHEMALESS = r"""
    SELECT current_user::text, path, closed FROM current_setting('search_path') AS path, LATERAL (
        SELECT string_agg(quote_ident(nspname), ', ') AS closed FROM pg_namespace
        WHERE nspname = ANY (regexp_split_to_array(replace(replace(path, '"', ''), '$user', current_user), '\s*,\s*'))
            AND NOT has_schema_privilege(oid, 'USAGE')
            AND (cardinality(current_schemas(false)) = 0 OR EXISTS (
                SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relname = 'django_migrations'
            ))
    ) AS of_path
    WHERE to_regclass('django_migrations') IS NULL AND (closed IS NOT NULL OR cardinality(current_schemas(false)) = 0)
"""
_UNREADABLE = """
    SELECT string_agg(oid::regclass::text, ', ' ORDER BY relname), current_user::text FROM pg_class
    WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('django_migrations'))
        AND relkind = 'r' AND (relname = 'django_migrations' OR starts_with(relname, 'safemigrations_'))
        AND NOT has_table_privilege(oid, 'SELECT')
"""
_STATE = """
    SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool,
        (SELECT string_agg(what, ', ') FROM unnest(ARRAY['SELECT', 'INSERT', 'DELETE']) AS what
         WHERE NOT has_table_privilege(to_regclass('django_migrations'), what)), current_user::text
"""
