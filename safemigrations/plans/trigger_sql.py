"""SQL for a trigger and its function, compiled by django-pgtrigger.

A module of its own, as django-pgtrigger can't be imported where libpq is missing: on a laptop with SQLite, migrations
are written and applied all the same.
"""

from __future__ import annotations

from pgtrigger.compiler import UpsertTriggerSql


class FunctionSql(UpsertTriggerSql):
    """The function alone; it finds what its author found, whatever the search_path of the session that fires it."""

    def get_template(self) -> str:
        return (
            "CREATE OR REPLACE FUNCTION {execute} RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT"
            " AS {func}"
        )


class TriggerSql(UpsertTriggerSql):
    """The trigger alone; pgtrigger's own template drops it first, which needs a stronger lock."""

    def get_template(self) -> str:
        return (
            "CREATE OR REPLACE TRIGGER {pgid} {when} {operation} ON {table} FOR EACH ROW"
            " WHEN ({condition}) EXECUTE FUNCTION {execute}"
        )
