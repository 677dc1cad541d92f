"""The two ways in which the demo brings the same change to users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testproject.demo.edits import edit_safe, edit_stock


@dataclass(frozen=True)
class Side:
    name: str
    title: str
    settings: str
    edit: Callable[[Path], None]
    why_edited: str
    contract: bool
    promises_no_error: bool


SIDES = [
    Side(
        name="stock",
        title="Django alone",
        settings="testproject.settings_stock",
        edit=edit_stock,
        why_edited="as Django's documentation says for unique fields, and adds 0003_fill and 0004_unique",
        contract=False,
        promises_no_error=False,
    ),
    Side(
        name="safe",
        title="with safemigrations",
        settings="testproject.settings",
        edit=edit_safe,
        why_edited="to say how the total is computed",
        contract=True,
        promises_no_error=True,
    ),
]
