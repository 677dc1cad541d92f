"""Steps that remove the objects which a way back made for itself, if the way back is given up."""

from __future__ import annotations

from collections.abc import Iterable

from ..postgres.lock import Lock
from ..postgres.names import Name
from ..postgres.temporary import FOREIGN_KEY, INDEX, NOT_NULL
from .indexes import DropIndex
from .steps import Plan, Statement, Step

Object = tuple[str, str, str, str]  # as temporary_objects() finds it


def removal(made: Iterable[Object]) -> Plan:
    return tuple(_removed(*each) for each in made)


def _removed(kind: str, table: str, name: str, parent: str) -> Step:
    place, own = Name(table), Name.of(name)
    why = f"{place.raw}: remove the {kind} {name}, which the way back has made for itself"
    if kind == INDEX:
        return DropIndex(why=why, table=place, name=name)
    tables = [parent, table] if kind == FOREIGN_KEY else [table]
    locks: dict[str, Lock] = {Name(one): Lock.ACCESS_EXCLUSIVE for one in tables}
    change = f"ALTER COLUMN {own} DROP NOT NULL" if kind == NOT_NULL else f"DROP CONSTRAINT IF EXISTS {own}"
    return Statement(why=why, sql=f"ALTER TABLE {place} {change}", locks=locks)
