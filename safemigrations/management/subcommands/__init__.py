"""Subcommands of `manage.py safemigrations`, one a module: its arguments, and what it prints."""

from __future__ import annotations

from types import ModuleType

from . import contract, ready, status

SUBCOMMANDS: dict[str, ModuleType] = {"status": status, "contract": contract, "ready": ready}
