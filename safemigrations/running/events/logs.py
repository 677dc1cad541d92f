"""Events in the logs: safemigrations.run, .migration, .step, .contract and .backfill.

Statements of other sessions stand in a record of level DEBUG alone, and there as SHOW_QUERIES says.
"""

from __future__ import annotations

import logging
from typing import Any

from .event import Event

ROOT = logging.getLogger("safemigrations")
ROOT.addHandler(logging.NullHandler())  # without a handler Python prints warnings, which the terminal has already


def write(event: Event, data: dict[str, Any]) -> None:
    logger = logging.getLogger(f"safemigrations.{data['event'].partition('_')[0]}")
    if logger.isEnabledFor(event.level):
        logger.log(event.level, "%s", _line(event, data), extra=without_queries(data))
    if logger.isEnabledFor(logging.DEBUG):
        for session in _sessions(data):
            if session.get("query"):
                logger.debug("pid %s: %s", session["pid"], session["query"], extra=data)


def _line(event: Event, data: dict[str, Any]) -> str:
    where = [data["schema"], data["migration"], event.text()]
    return ": ".join(filter(None, where))


def without_queries(data: dict[str, Any]) -> dict[str, Any]:
    """The data without statements of other sessions."""
    found = dict(data)
    if "blockers" in data:
        found["blockers"] = [_without_query(session) for session in data["blockers"]]
    if data.get("behind"):
        found["behind"] = _without_query(data["behind"])
    return found


def _without_query(session: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in session.items() if name != "query"}


def _sessions(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [*data.get("blockers", ()), *([data["behind"]] if data.get("behind") else ())]
