"""Sets what a session needs while a plan is carried out, whatever its database, its role or its pooler sets.

Values are read and written, names are found and rows are seen in the way that the plan means. Afterwards the session is
as it was: the statements of the project's own migrations run in the session that the project has configured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from django.db import DatabaseError, Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..errors import StepFailed
from ..postgres.values import literal
from .locking.locks import sqlstate

INSUFFICIENT_PRIVILEGE = "42501"

# The schemas that there are, PostgreSQL's own before them, as it is wherever a path doesn't name it, and temporary
# tables after them. Where no schema is left, a table would be made as a temporary one.
PATH = (
    "coalesce((SELECT string_agg(quote_ident(name), ', ' ORDER BY place) FROM unnest(current_schemas(false))"
    " WITH ORDINALITY AS schemas (name, place) WHERE name <> 'pg_catalog' AND NOT starts_with(name, 'pg_temp'))"
    " || ', pg_temp', current_setting('search_path'))"
)
DATES = "'ISO, ' || split_part(current_setting('DateStyle'), ', ', 2)"  # whether a day or a month is first stays

# As expressions. A setting that this server doesn't know is left out.
READABLE = {"DateStyle": DATES, "IntervalStyle": "'postgres'"}  # psycopg can read no other
STEADY: Mapping[str, str] = {
    **READABLE,
    "search_path": PATH,
    "row_security": "'off'",  # a query that a policy would filter is an error: nobody takes some rows for all
    "standard_conforming_strings": "'on'",
    "array_nulls": "'on'",
    "transform_null_equals": "'off'",
    "bytea_output": "'hex'",
    "extra_float_digits": "'1'",
    "xmloption": "'content'",
    "session_replication_role": "'origin'",
    "jit": "'off'",  # it takes a second to compile a question about the catalog that takes a millisecond
    "default_transaction_isolation": "'read committed'",
    "default_transaction_deferrable": "'off'",
    "lock_timeout": "'0'",
    "statement_timeout": "'0'",
    "transaction_timeout": "'0'",
    "idle_in_transaction_session_timeout": "'0'",
    "idle_session_timeout": "'0'",
}


class _Settled:
    """A connection with these settings, and what the session had before."""

    def __init__(self, connection: BaseDatabaseWrapper, wanted: Mapping[str, str], outer: _Settled | None) -> None:
        self.connection, self.wanted, self.outer = connection, wanted, outer
        self.before, self.session = list[tuple[str, str]](), connection.connection
        if self.session is not None:  # else when it connects
            self.change()

    def change(self) -> None:
        try:
            self.before = self._changed()
        except DatabaseError as error:
            if sqlstate(error) != INSUFFICIENT_PRIVILEGE:
                raise
            raise StepFailed(
                "Nothing was changed, because this role may not give its session the settings that are needed: "
                f"{error}. Somebody set it for the role or the database: look with \\drds in psql, and use another "
                "role, or reset it there with ALTER ROLE ... RESET."
            ) from error
        self.session = self.connection.connection

    def _changed(self) -> list[tuple[str, str]]:
        """Change what isn't as wanted, and return what was there before."""
        values = ", ".join(f"({literal(name)}, {value})" for name, value in self.wanted.items())
        with self.connection.cursor() as cursor:
            cursor.execute(
                "WITH wanted AS MATERIALIZED (SELECT name, current_setting(name, true) AS before, value"
                f" FROM (VALUES {values}) AS settings (name, value))"
                " SELECT name, before, set_config(name, value, false) FROM wanted WHERE before <> value"
            )
            return [(name, text) for name, text, _ in cursor.fetchall()]

    def put_back(self) -> None:
        """A session that was lost, or whose transaction is, has nothing to put back.

        What was the default of the session is so again, and pg_settings says of it who has set that.
        """
        if not self.before or self.connection.connection is not self.session:
            return
        values = ", ".join(f"({literal(name)}, {literal(text)})" for name, text in self.before)
        with contextlib.suppress(Error), self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT CASE WHEN set_config(name, NULL, false) <> before THEN set_config(name, before, false) END"
                f" FROM (VALUES {values}) AS settings (name, before)"
            )


_current: ContextVar[_Settled | None] = ContextVar("safemigrations_settled", default=None)


@contextlib.contextmanager
def settled(connection: BaseDatabaseWrapper, wanted: Mapping[str, str] = STEADY) -> Iterator[None]:
    """Let the session have these settings, also one that takes its place meanwhile, and put back what it had."""
    held = _Settled(connection, wanted, outer=_current.get())
    token = _current.set(held)
    try:
        yield
    finally:
        _current.reset(token)
        held.put_back()


def _settle_again(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Set them again on a new connection: whoever closes a connection gets another one with the next statement."""
    held, all_held = _current.get(), list[_Settled]()
    while held:
        all_held.append(held)
        held = held.outer
    for each in reversed(all_held):
        if each.connection is connection:
            each.change()


connection_created.connect(_settle_again)
