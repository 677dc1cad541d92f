"""Events as spans of OpenTelemetry, where the process uses it: the run, its migrations and rows, and their steps.

A span is current while its work goes on, so spans of the database driver stand below it.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Any

from ...data import Data
from .event import Event

BEGINS = {
    "run_started": "run",
    "migration_expanding": "migration",
    "contract_started": "contract",
    "step_started": "step",
}
ENDS = {
    "run_ended": "run",
    "migration_expanded": "migration",
    "migration_failed": "migration",
    "contract_done": "contract",
    "contract_failed": "contract",
    "step_done": "step",
    "step_failed": "step",
}


class Open(Data):
    """A span that hasn't ended."""

    kind: str
    label: str
    span: Any
    token: Any  # by which the context before it comes back


_open: ContextVar[tuple[Open, ...]] = ContextVar("safemigrations_spans", default=())


def _api(name: str = "trace") -> Any:
    """A module of OpenTelemetry; None where nobody has loaded it, so nobody has said either where spans go."""
    return sys.modules.get(f"opentelemetry.{name}")


def trace(event: Event, data: dict[str, Any]) -> None:
    if _api() is None:
        return
    name = data["event"]
    if name in BEGINS:
        _begin(BEGINS[name], data)
    elif name in ENDS:
        _end(ENDS[name], data)
    elif _open.get():
        _open.get()[-1].span.add_event(f"safemigrations.{name}", _attributes(data))


def _begin(kind: str, data: dict[str, Any]) -> None:
    span = _api().get_tracer("safemigrations").start_span(_name(kind, data), attributes=_attributes(data))
    token = _api("context").attach(_api().set_span_in_context(span))
    _open.set((*_open.get(), Open(kind, _label(data), span, token)))


def _end(kind: str, data: dict[str, Any]) -> None:
    """End it, and those within that nobody has ended, such as a step that was interrupted."""
    there = _open.get()
    of_it = [number for number, one in enumerate(there) if (one.kind, one.label) == (kind, _label(data))]
    if not of_it:
        return
    for one in reversed(there[of_it[-1] :]):
        one.span.set_attributes(_attributes(data) if one is there[of_it[-1]] else {})
        if data.get("error"):
            one.span.set_status(_api().Status(_api().StatusCode.ERROR, data["error"]))
        one.span.end()
        _api("context").detach(one.token)
    _open.set(there[: of_it[-1]])


def _name(kind: str, data: dict[str, Any]) -> str:
    """Few different ones, as for whatever is grouped by it."""
    what = {"run": data.get("command"), "step": data.get("step")}.get(kind, data["migration"])
    return f"{kind} {what}" if kind != "run" else str(what)


def _label(data: dict[str, Any]) -> str:
    return str(data.get("label") or data.get("command") or data["migration"])


def _attributes(data: dict[str, Any]) -> dict[str, Any]:
    """Texts and numbers; of sessions that are in the way only who they are."""
    plain = {name: value for name, value in data.items() if isinstance(value, str | int | float) and value != ""}
    sessions = [*data.get("blockers", ()), *data.get("sessions", ())]
    pids = {"pids": [one["pid"] for one in sessions if one["pid"]]} if sessions else {}
    return {f"safemigrations.{name}": value for name, value in {**plain, **pids}.items()}
