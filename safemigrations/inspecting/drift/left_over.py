"""Our own objects that nothing needs any more: no open or skipped contract, and no unfinished backfill."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ...plans.steps import Step, Together
from ...plans.temporary import removal
from ...postgres import left_over
from ...postgres.lock import Lock
from ...postgres.names import PREFIX, Name
from ...postgres.temporary import NOT_NULL, temporary_objects
from ...running.of_tenant import is_here
from ...running.session import Session
from .explained import Explained
from .line import Line


def left_overs(session: Session, explained: Explained) -> Iterator[Line]:
    others = {schema for (schema,) in session.rows(left_over.other_queues())}
    for kind, place, name, function in session.rows(left_over.objects()):
        table = Name(place.partition("(")[0])
        if _is_of_this_queue(session, table, others) and not explained.mentions(table, name):
            yield _line(table, name, kind, (_drop(kind, place, name, function),))
    for found in session.rows(temporary_objects()):
        kind, table, name, _ = found
        place = Name(table)
        is_ours = kind != NOT_NULL and name.startswith(PREFIX) and _is_of_this_queue(session, place, others)
        if is_ours and not explained.mentions(place, name):
            yield _line(place, name, kind, removal([found]))


def _is_of_this_queue(session: Session, table: Name, others: Collection[str]) -> bool:
    return is_here(session.connection, table) and table.schema not in others


def _line(table: Name, name: str, kind: str, repair: tuple[Step, ...]) -> Line:
    return Line("left_over", table, name, f"{kind} {name} is left over: nothing needs it any more", repair)


def _drop(kind: str, place: str, name: str, function: str) -> Step:
    sql: tuple[str, ...] = {
        "column": (f"ALTER TABLE {place} DROP COLUMN {Name.of(name)}",),
        "trigger": (f"DROP TRIGGER {Name.of(name)} ON {place}", f"DROP FUNCTION {function}"),
        "function": (f"DROP FUNCTION {place}",),
        "view": (f"DROP VIEW {place}",),
        "table": (f"DROP TABLE {place}",),
    }[kind]
    return Together(why="repair", sql=sql, locks={place: Lock.ACCESS_EXCLUSIVE})
