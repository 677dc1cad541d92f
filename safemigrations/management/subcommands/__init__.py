"""Subcommands of `manage.py safemigrations`, one a module: its arguments, and what it prints."""

from __future__ import annotations

from types import ModuleType

from . import baseline, contract, history, lint, preflight, ready, rehearse, status

SUBCOMMANDS: dict[str, ModuleType] = {
    "lint": lint,
    "baseline": baseline,
    "status": status,
    "contract": contract,
    "ready": ready,
    "history": history,
    "rehearse": rehearse,
    "preflight": preflight,
}
