"""Plans as JSON: what the contract queue and backfills keep, also for a later version of this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..data import Data
from ..errors import StepFailed
from ..postgres.lock import Lock
from ..postgres.probe import Probe
from . import claims
from .claims import PARTS_OF_A_TABLE, Claim, Claims
from .copies import BuildCounterparts, CopyIndexes, MoveAdditions, TryTypes
from .indexes import AddUnique, BuildIndex, DropIndex, EachPartition
from .steps import (
    Backfill,
    Instead,
    Nothing,
    Online,
    Plan,
    Proof,
    RowFunction,
    Statement,
    Step,
    Together,
    Trial,
    tables_read,
)

STEPS = (
    AddUnique,
    Backfill,
    BuildCounterparts,
    BuildIndex,
    CopyIndexes,
    DropIndex,
    EachPartition,
    MoveAdditions,
    Nothing,
    Online,
    Proof,
    Statement,
    Together,
    Trial,
    TryTypes,
)
PARTS = (Instead, RowFunction)  # what steps are made of
PROBES = {"done", "when", "only_where", "lost"}  # fields that are stored as the text of a probe
STORED: tuple[type[Data], ...] = (*STEPS, *PARTS)
TYPES = {kind.__name__: kind for kind in STORED}


def to_json(plan: Plan) -> list[dict[str, Any]]:
    return [_encode(step) for step in plan]


def from_json(data: Any) -> Plan:
    """The plan again; fields that this version doesn't know are left out, new ones get their default.

    Raises StepFailed for what isn't a plan of this version or an earlier one.
    """
    with readable("A stored plan"):
        around = tuple(dict.fromkeys(_tables_in(data)))
        return tuple(_decode_step(step, around) for step in data)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise StepFailed where what is stored has another form than this version, or an earlier one, gives it."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StepFailed(
            f"{what} can't be read ({type(error).__name__}: {error}): a newer version of safemigrations has written "
            f"it, or a person. {WITH_THAT_VERSION}"
        ) from error


WITH_THAT_VERSION = "Nothing was changed. Run the same command with that version, or a later one."


def _decode_step(value: Any, around: tuple[str, ...]) -> Step:
    step = _decode(value, around)
    if not isinstance(step, Step):
        raise TypeError(f"{value!r:.40} is no step")
    return step


def _encode(value: Any) -> Any:
    if isinstance(value, Claim):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Step):
            del fields["works_on"]
            fields |= _encode_what_it_works_on(value)
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        # Pairs, because jsonb doesn't keep the order of keys, and the order of locks matters.
        return {"kind": "locks", "pairs": [[table, str(lock)] for table, lock in value.items()]}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any, around: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, around) for item in value)
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "locks":
        return {table: Lock(lock) for table, lock in value["pairs"]}
    if (name := value.get("kind")) not in TYPES:
        raise StepFailed(
            f"A stored plan has a step of a kind that this version of safemigrations doesn't know ({name}): a newer "
            f"version has left it. {WITH_THAT_VERSION}"
        )
    kind = TYPES[value["kind"]]
    known = {*kind.field_names()} - {"takes", "frees", "works_on"}
    values = {name: _decode(item, around) for name, item in value.items() if name in known}
    made = kind(**{name: Probe(item) if name in PROBES and item is not None else item for name, item in values.items()})
    return _with_claims(made, value, around) if isinstance(made, Step) else made


# Claims are kept as their texts. What makes a step pointless when it goes is kept apart from what it works on besides.


def _encode_what_it_works_on(step: Step) -> dict[str, Any]:
    texts = [str(claim) for claim in step.works_on]
    if texts and step.works_on[0].kind in PARTS_OF_A_TABLE:
        return {"about": texts[0], "uses": texts[1:]}
    return {"about": "", "uses": texts}


def _with_claims(step: Step, value: dict[str, Any], around: tuple[str, ...]) -> Step:
    # Its own tables before those that other steps name, and the parents of its foreign keys after it.
    tables = (*reversed(tables_read(step)), *around)

    def read(texts: Iterable[str]) -> Claims:
        return tuple(claims.read(text, tables) for text in texts)

    return dataclasses.replace(
        step,
        takes=read(value.get("takes", ())),
        frees=read(value.get("frees", ())),
        works_on=read([*filter(None, [value.get("about")]), *value.get("uses", ())]),
    )


def _tables_in(value: Any) -> Iterator[str]:
    """Every table that a plan names, as JSON holds it."""
    if isinstance(value, list):
        yield from (table for item in value for table in _tables_in(item))
    elif isinstance(value, dict):
        yield from (value[name] for name in ("table", "pages_of") if value.get(name))
        yield from (table for table, _ in value.get("pairs", ()))
        yield from (table for item in value.values() for table in _tables_in(item))
