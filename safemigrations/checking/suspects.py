"""The apps whose migrations may hold something unsafe, found by the text of their files.

For an app whose migrations after the baseline don't even mention an operation that a rule could find unsafe, nothing is
imported or computed. Reading the text of a few files costs a `manage.py check` nothing that one notices.
"""

from __future__ import annotations

import importlib.util
import re
import sysconfig
from pathlib import Path

from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from .. import conf
from . import rules

# What a rule could find unsafe, and decisions of a person; our own operations don't match.
NAMES = sorted(set().union(*(rule.stock for rule in rules.RULES)))
SUSPECTS = re.compile(rf"\b({'|'.join(NAMES)})\(|allow_unsafe")
OURS_IN_A_TRANSACTION = re.compile(r"(?s)(?!.*atomic = False).*\bsafemigrations\.operations\b")


def labels() -> list[str]:
    """The apps that are checked: CHECK_APPS, or those that aren't installed packages."""
    chosen = conf.check_apps()
    if chosen is not None:
        return chosen
    packages = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    return [
        config.label
        for config in apps.get_app_configs()
        if not any(Path(config.path).resolve().is_relative_to(folder) for folder in packages)
        and config.name != "safemigrations"
    ]


def is_suspected(label: str) -> bool:
    name, _ = MigrationLoader.migrations_module(label)
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError):
        return False
    baseline = conf.baseline().get(label, "")
    return any(
        SUSPECTS.search(text) or OURS_IN_A_TRANSACTION.match(text)
        for folder in (spec.submodule_search_locations if spec else None) or ()
        for path in Path(folder).glob("*.py")
        if path.stem > baseline
        for text in (path.read_text(errors="ignore"),)
    )
