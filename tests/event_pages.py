"""docs/events.md and safemigrations/events.schema.json from the events themselves.

    DJANGO_SETTINGS_MODULE=tests.settings python -m tests.event_pages

writes them anew; tests/test_event_pages.py says when that is needed.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import django

import safemigrations
from safemigrations.running.events import vocabulary
from safemigrations.running.events.event import Event, Place
from safemigrations.running.locking.blockers import Blocker

SCHEMA = Path(safemigrations.__file__).parent / "events.schema.json"
PAGE = SCHEMA.parents[1] / "docs" / "events.md"
BASES = {"Event", "OfStep", "OfRow", "OfBackfill", "Decided"}

ENVELOPE = {
    "event": "its name",
    "at": "when it happened, in UTC, as ISO 8601 writes it",
    "run": "an id that all events of one command, or task, share; empty outside of one",
    "database": "the alias of the database",
    "migration": "such as `shop.0007_total`; empty where it is about none",
    "direction": "`forwards`, `backwards`, `contract` or `backfill`; empty outside of all",
    "row": "the number of a row of the contract queue, as `status` prints it",
    "backfill": "the number of a backfill, as `backfill status` prints it",
    "schema": "with django-tenants, the schema in which it happened; empty without it",
    "parent": "the `run` that has started this one as a worker, by `backfill run --workers`; empty for all others",
}
MEANINGS = {
    "action": "`pause`, `resume`, `cancel` or `pace`",
    "before": "the migration whose row it was, such as `shop.0007_total`",
    "behind": "the session that it waits for",
    "blockers": "the sessions that hold the lock",
    "command": "`migrate`, `migrate --contract`, `migrate --to-release`, `backfill run` or `task`",
    "count": "how many they are",
    "detail": "what else there is to tell, in words",
    "error": "the whole message",
    "estimate": "about how many rows the table has",
    "fake": "is it only recorded?",
    "filled": "rows that were changed",
    "fraction": "how far that statement is, 0 to 1, where PostgreSQL knows",
    "label": "what it is for, in words",
    "ongoing": "is it told again and again, while one statement runs?",
    "outcome": "`done`, `failed`, `not_now` or `interrupted`",
    "reason": "what was given as a reason",
    "releases": "the marks of releases that were there",
    "rows": "the first of them: part, key and error",
    "rows_per_second": "that were changed, since this worker began",
    "said": "what, in words",
    "seconds": "how long it took, or has waited",
    "seconds_left": "how long it will take, as far as anybody knows",
    "sessions": "those that need what would go",
    "step": "the kind of the step, such as `BuildIndex`",
    "table": "the table that it works on; empty where it works on none",
    "until": "the moment, as ISO 8601 writes it",
    "user": "who asked for it on a page of the admin; empty for who typed a command",
    "visited": "rows that were looked at",
    "waited": "seconds of these that it waited for locks",
    "why": "what the gate found, in words",
}
TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
SESSION = {
    "pid": WHOLE,
    "application": TEXT,
    "role": TEXT,
    "address": TEXT,
    "release": TEXT,
    "state": TEXT,
    "connected_seconds": {"type": ["number", "null"]},
}
REJECTED = {"part": TEXT, "key": {"type": "array"}, "error": TEXT}
BLOCKER = {
    "pid": {"type": ["integer", "null"]},
    "application": TEXT,
    "backend": TEXT,
    "state": TEXT,
    "seconds": NUMBER,
    "query": TEXT,
}
OWN: dict[str, dict[str, Any]] = {
    "step": TEXT,
    "label": TEXT,
    "table": TEXT,
    "sessions": {"type": "array", "items": {"$ref": "#/$defs/session"}},
    "rows": {"type": "array", "items": {"$ref": "#/$defs/rejected"}},
}


BACKFILL = {
    "number": WHOLE,
    "app": TEXT,
    "migration": TEXT,
    "label": TEXT,
    "status": TEXT,
    "share": {"type": ["number", "null"]},
    "rows": WHOLE,
    "last_error": TEXT,
}
ROW = {
    "number": WHOLE,
    "app": TEXT,
    "migration": TEXT,
    "label": TEXT,
    "status": TEXT,
    "until": {"type": ["string", "null"]},
    "since": TEXT,
    "age_seconds": WHOLE,
    "attempts": WHOLE,
    "last_error": TEXT,
    "waits_for": TEXT,
    "acts": {"type": "array", "items": {"type": "object"}},
}
HALF_WAY = {"app": TEXT, "migration": TEXT}
NOW: dict[str, dict[str, Any]] = {
    "status": {
        "half_way_back": {"type": "array", "items": {"$ref": "#/$defs/half_way"}},
        "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}},
        "backfills": {"type": "array", "items": {"$ref": "#/$defs/backfill"}},
    },
    "backfill_status": BACKFILL,
}


WITH_ALL = {"finished": {"type": "array", "items": {"type": "object"}}}


def events() -> list[type[Event]]:
    """In the order of the module."""
    classes = [one for one in vars(vocabulary).values() if inspect.isclass(one) and issubclass(one, Event)]
    return [one for one in classes if one.__name__ not in BASES]


DEFINITIONS: dict[str, dict[str, Any]] = {
    "blocker": BLOCKER,
    "session": SESSION,
    "rejected": REJECTED,
    "row": ROW,
    "backfill": BACKFILL,
    "half_way": HALF_WAY,
}


def _types(event: type[Event]) -> dict[str, dict[str, Any]]:
    hints = get_type_hints(event, vars(vocabulary))
    return {name: OWN.get(name) or _schema(hints[name]) for name in event.carries()}


def _schema(hint: Any) -> dict[str, Any]:
    """The JSON that an annotation stands for."""
    if get_origin(hint) is UnionType:
        kinds = [_schema(one) for one in get_args(hint)]
        if any("$ref" in kind for kind in kinds):
            return {"anyOf": kinds}
        return {"type": [kind["type"] for kind in kinds]}
    if get_origin(hint) is Sequence:
        return {"type": "array", "items": _schema(get_args(hint)[0])}
    if hint is Blocker:
        return {"$ref": "#/$defs/blocker"}
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}[hint]}


def _object(properties: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Nothing else stands in it: a name that is added is added here."""
    shape = {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}
    return {**others, **shape}


def schema() -> str:
    place = {name: _schema(hint) for name, hint in get_type_hints(Place).items()}
    return json.dumps(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "A line of --format json, and the arguments of a signal",
            "description": "Of this version. A later one may have more events and names; none is renamed.",
            "oneOf": [*(_of_event(event, place) for event in events()), *map(_of_now, NOW)],
            "$defs": {name: _object(properties) for name, properties in DEFINITIONS.items()},
        },
        indent=2,
    )


def _of_event(event: type[Event], place: dict[str, Any]) -> dict[str, Any]:
    name = {"event": {"const": event.name()}, "at": {"type": "string", "format": "date-time"}}
    return _object({**name, **place, **_types(event)}, title=event.name(), description=event.__doc__)


def _of_now(name: str) -> dict[str, Any]:
    found = _object({"event": {"const": name}, "database": TEXT, **NOW[name]}, title=name)
    return {**found, "properties": {**found["properties"], **(WITH_ALL if name == "status" else {})}}


def _shown(kind: dict[str, Any]) -> str:
    if "anyOf" in kind:
        return " or ".join(_shown(one) for one in kind["anyOf"])
    if "$ref" in kind:
        return str(kind["$ref"]).rpartition("/")[2]
    if kind["type"] == "array":
        return f"list of {_shown(kind['items'])}s"
    kinds = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
    return " or ".join(kinds)


def page() -> str:
    """What stands there by hand, and the events."""
    by_hand = PAGE.read_text().partition("## Every event\n")[0]
    parts = ["## Every event\n", "All of them carry:\n", "| argument | is |\n|---|---|"]
    parts += [f"| `{name}` | {meaning} |" for name, meaning in ENVELOPE.items()]
    for event in events():
        parts.append(f"\n### {event.name()}\n\n{event.__doc__}\n")
        own = {name: kind for name, kind in _types(event).items() if name not in ENVELOPE}
        if own:
            parts.append("| argument | type | is |\n|---|---|---|")
        parts += [f"| `{name}` | {_shown(kind)} | {MEANINGS[name]} |" for name, kind in own.items()]
    parts.append(
        "\n### Sessions\n\nA *blocker* has " + _listed(BLOCKER) + ". A *session* has " + _listed(SESSION) + "."
    )
    parts.append("A *rejected* row has " + _listed(REJECTED) + ".")
    return by_hand + "\n".join(parts) + "\n"


def _listed(names: dict[str, Any]) -> str:
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} and {last}"


def main() -> None:
    django.setup()
    SCHEMA.write_text(schema() + "\n")
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
