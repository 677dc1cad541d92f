"""Subcommands of `manage.py safemigrations`, one a module: its arguments, and what it prints."""

from __future__ import annotations

from types import ModuleType

from . import accept, baseline, contract, eject, history, lint, plan, preflight, ready, rehearse, status, verify

SUBCOMMANDS: dict[str, ModuleType] = {
    "lint": lint,
    "baseline": baseline,
    "status": status,
    "contract": contract,
    "plan": plan,
    "ready": ready,
    "history": history,
    "rehearse": rehearse,
    "preflight": preflight,
    "accept": accept,
    "verify": verify,
    "eject": eject,
}
