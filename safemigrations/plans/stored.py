"""Plans as JSON: what the contract queue and backfills keep, also for a later version of this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..postgres.lock import Lock
from .copies import BuildCounterparts, CopyIndexes, MoveAdditions, TryTypes
from .indexes import AddUnique, BuildIndex, DropIndex
from .steps import Backfill, Instead, Online, Plan, Proof, RowFunction, Statement, Together

STEPS = (
    AddUnique,
    Backfill,
    BuildCounterparts,
    BuildIndex,
    CopyIndexes,
    DropIndex,
    MoveAdditions,
    Online,
    Proof,
    Statement,
    Together,
    TryTypes,
)
PARTS = (Instead, RowFunction)  # what steps are made of
TYPES: dict[str, type] = {type_.__name__: type_ for type_ in (*STEPS, *PARTS)}


def to_json(plan: Plan) -> list[dict[str, Any]]:
    return [_encode(step) for step in plan]


def from_json(data: list[dict[str, Any]]) -> Plan:
    """The plan again; fields that this version doesn't know are left out, new ones get their default."""
    return tuple(_decode(step) for step in data)


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        # Pairs, because jsonb doesn't keep the order of keys, and the order of locks matters.
        return {"kind": "locks", "pairs": [[table, str(lock)] for table, lock in value.items()]}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if value["kind"] == "locks":
        return {table: Lock(lock) for table, lock in value["pairs"]}
    kind = TYPES[value["kind"]]
    known = {f.name for f in dataclasses.fields(kind)}
    return kind(**{name: _decode(item) for name, item in value.items() if name in known})
