"""The statements of a stock operation as steps, made to ask for the rights that they need and never sent."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.db import DatabaseError
from django.db.migrations.operations.base import Operation

from ..operations.base import Situation
from ..plans import claims
from ..plans.steps import Statement
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..running.lost import raise_lost

QUOTED = r'"(?:[^"]|"")+"'
OF_TABLE = rf"\b(?:TABLE|ON)\s+({QUOTED}(?:\.{QUOTED})?)"


def stock_steps(operation: Operation, at: Situation, *, back: bool = False) -> Iterator[Statement]:
    """The statements that Django can tell before they are sent, as `sqlmigrate` does.

    Each comes with the table that it alters.
    """
    for sql in _statements(operation, at, back=back):
        if found := re.search(OF_TABLE, sql):
            table = Name(found[1])
            yield Statement(
                why=operation.describe(),
                sql=sql,
                locks={table: Lock.ACCESS_EXCLUSIVE},
                works_on=(claims.table(table),),
            )


def _statements(operation: Operation, at: Situation, *, back: bool) -> list[str]:
    """None where the names of its constraints can't be looked up yet, as an earlier migration makes them."""
    states = (at.after, at.before) if back else (at.before, at.after)
    act = operation.database_backwards if back else operation.database_forwards
    try:
        with at.connection.schema_editor(collect_sql=True, atomic=False) as editor:
            act(at.app_label, editor, *states)
    except (DatabaseError, ValueError) as error:
        raise_lost(error)
        return []
    return [sql for sql in editor.collected_sql if not sql.startswith("--")]
