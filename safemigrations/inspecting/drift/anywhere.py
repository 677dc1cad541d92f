"""Faults of any table, whoever owns it: INVALID indexes, and constraints that are NOT VALID."""

from __future__ import annotations

from collections.abc import Iterator

from ...plans.steps import Online
from ...postgres import shapes
from ...postgres.names import Name
from ...running.of_tenant import is_here
from ...running.session import Session
from . import repairs
from .line import Line

NOUNS = {"c": "check", "f": "foreign key", "n": "not-null constraint"}


def invalid_indexes(session: Session) -> Iterator[Line]:
    for schema, table, name, is_left, is_of_partitions in session.rows(shapes.invalid_indexes()):
        place = Name.of(table, schema)
        if not is_here(session.connection, place):
            continue
        index = place.beside(name)
        if is_left:
            text = f"index {name} is INVALID: a REINDEX that was stopped has left it"
            sql = f"DROP INDEX CONCURRENTLY {index}"
        elif is_of_partitions:
            text = f"index {name} is INVALID: a partition has none that belongs to it"
            yield Line("index_invalid", place, name, text, command="run the migration again that builds it")
            continue
        else:
            text = f"index {name} is INVALID: every write pays for it and no query uses it"
            sql = f"REINDEX INDEX CONCURRENTLY {index}"
        yield Line("index_invalid", place, name, text, (Online(why="repair", sql=sql, locks={}),))


def not_valid_constraints(session: Session) -> Iterator[Line]:
    for schema, table, name, kind, columns in session.rows(shapes.not_valid_constraints()):
        place = Name.of(table, schema)
        if not is_here(session.connection, place):
            continue
        text = f"{NOUNS.get(kind, 'constraint')} {name} is NOT VALID: rows from before may break it"
        yield Line("constraint_not_valid", place, name, text, repairs.validate(place, name), frozenset(columns))
