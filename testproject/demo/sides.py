"""The three ways in which the demo brings the same change to users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testproject.demo.edits import edit_carefully, edit_safe, edit_stock


@dataclass(frozen=True)
class Side:
    name: str
    title: str
    settings: str
    edit: Callable[[Path], None]
    why_edited: str
    promises_no_error: bool
    first: tuple[str, ...] = ("migrate",)  # before the rollout
    last: tuple[str, ...] = ()  # when the old release has gone
    releases: int = 1  # that the team deploys until the change is done


SIDES = [
    Side(
        name="stock",
        title="Django alone",
        settings="testproject.settings_stock",
        edit=edit_stock,
        why_edited="as Django's documentation says for unique fields, and adds 0003_fill and 0004_unique",
        promises_no_error=False,
    ),
    Side(
        name="careful",
        title="Django with care",
        settings="testproject.settings_careful",
        edit=edit_carefully,
        why_edited="into four migrations for this release and two for the next",
        promises_no_error=False,
        first=("migrate", "shop", "0005_unique"),
        last=("migrate",),
        releases=2,
    ),
    Side(
        name="safe",
        title="with safemigrations",
        settings="testproject.settings",
        edit=edit_safe,
        why_edited="to say how the total is computed",
        promises_no_error=True,
        last=("migrate", "--contract"),
    ),
]
