"""Finds the migration of this code that a row belongs to, after its own was squashed and its file deleted."""

from __future__ import annotations

import re

from .releases import names_known

RANGE = re.compile(r"(\d+)_squashed_(\d+)")


def heir(app_label: str, migration: str) -> str | None:
    """The squash whose numbers span this migration; else the last migration whose number isn't higher."""
    names = sorted(name for label, name in names_known() if label == app_label)
    number = _number(migration)
    spanning = [name for name in names if (span := RANGE.match(name)) and int(span[1]) <= number <= int(span[2])]
    before = [name for name in names if _number(name) <= number]
    found = (spanning or before or names)[-1:]
    return f"{app_label}.{found[0]}" if found else None


def _number(name: str) -> int:
    digits = re.match(r"\d+", name)
    return int(digits[0]) if digits else 0
