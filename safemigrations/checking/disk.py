"""The apps that are checked, and the files of their migrations, found without importing any of these."""

from __future__ import annotations

import importlib.util
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from .. import conf


def known_labels() -> set[str]:
    return {config.label for config in apps.get_app_configs()}


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


def files(label: str) -> Iterator[Path]:
    """The files in the app's package of migrations."""
    if label not in known_labels():
        return
    name, _ = MigrationLoader.migrations_module(label)
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError):
        return
    for folder in (spec.submodule_search_locations if spec else None) or ():
        yield from Path(folder).glob("*.py")


def names_on_disk(label: str) -> set[str]:
    return {path.stem for path in files(label) if path.stem[0] not in "_~"}


def is_replaced(label: str, name: str) -> bool:
    """Does a squashed migration replace this one, whose file is gone?"""
    replaced = re.compile(rf"""\(\s*["']{re.escape(label)}["'],\s*["']{re.escape(name)}["']""")
    return any("replaces" in text and replaced.search(text) for path in files(label) for text in (path.read_text(),))
