"""The names of the migrations that this code has on disk, read without importing one of them.

Importing 1,200 migrations takes a second, listing their files 1 ms. The names that a squash replaces stand inside its
file. Reading every file would take 30 ms, so at the start of a process only those are read that look like a squash.
"""

from __future__ import annotations

import os
import pkgutil
import re
import sys
from collections import Counter
from functools import cache
from importlib.machinery import ModuleSpec, all_suffixes
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from ..data import Data

Key = tuple[str, str]  # app label, name of a migration

SUFFIXES = tuple(all_suffixes())
REPLACES = r"(?m)^[ \t]+replaces\b[^=\n]*=(?P<literal>\s*\[(?P<pairs>[^\]]*)\])?"
PAIR = r"""\(\s*['"](\w+)['"]\s*,\s*['"]([^'"]+)['"]\s*,?\s*\)"""
COMMENT = r"#.*"


class OnDisk(Data):
    """What this code has on disk."""

    names: frozenset[Key]  # also those that a squash replaces
    unread: tuple[str, ...]  # modules that look like a squash, and whose `replaces` can't be read without an import


@cache
def on_disk() -> OnDisk:
    """The migrations on disk when this process first asked; migrations written later belong to another release."""
    return read(thorough=False)


def read(*, thorough: bool) -> OnDisk:
    """`thorough`: look for `replaces` in every file, also in those that don't look like a squash."""
    names, unread = set[Key](), list[str]()
    for config in apps.get_app_configs():
        package, _ = MigrationLoader.migrations_module(config.label)
        for folder, found in _listed(package) if package else ():
            names.update((config.label, name) for name in found)
            for name in found if thorough else _like_a_squash(found):
                replaced = _replaced_by(folder, name)
                names |= replaced or set()
                unread += [f"{package}.{name}"] if replaced is None else []
    return OnDisk(frozenset(names), tuple(unread))


def _listed(package: str) -> list[tuple[str, list[str]]]:
    """The folder of a package, and the names of the modules in it."""
    around, _, name = package.rpartition(".")
    beside = getattr(sys.modules.get(around), "__path__", ())
    listed = [(folder, _modules(folder)) for folder in (f"{path}/{name}" for path in beside)]
    if not any(found for _, found in listed):  # elsewhere, or not imported yet
        spec = _found(package)
        listed = [(folder, _modules(folder)) for folder in (spec.submodule_search_locations if spec else None) or ()]
    return [(folder, found) for folder, found in listed if found]


def _found(module: str) -> ModuleSpec | None:
    """What importlib.util.find_spec finds, without an import of the packages around the module."""
    around, _, _ = module.rpartition(".")
    if around in sys.modules:
        path = getattr(sys.modules[around], "__path__", None)
    else:
        spec = _found(around) if around else None
        path = spec.submodule_search_locations if spec else None
    if around and path is None:
        return None
    specs = (finder.find_spec(module, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec), None)


def _modules(folder: str) -> list[str]:
    """The names that Django's loader finds, in order: none in a folder without __init__.py."""
    try:
        with os.scandir(folder) as files:
            names = {file.name.partition(".")[0] for file in files if file.name.endswith(SUFFIXES)}
    except FileNotFoundError:
        return []
    except NotADirectoryError:  # a zip file
        names = {module.name for module in pkgutil.iter_modules([folder]) if not module.ispkg} | {"__init__"}
    return sorted(name for name in names if name[0] not in "_~") if "__init__" in names else []


def _like_a_squash(names: list[str]) -> list[str]:
    """The names that look like a squash: by their name, or because numbers around them are missing or double."""
    numbers = [name.partition("_")[0] for name in names]
    known = Counter(number for number in numbers if number.isdecimal())
    if len(names) > 1 and _are_in_a_row(known, len(names)):
        return [name for name in names if "squash" in name]
    alone = {number for number, count in known.items() if count == 1 and f"{int(number) + 1:04}" in known}
    return [name for name, number in zip(names, numbers, strict=True) if number not in alone or "squash" in name]


def _are_in_a_row(numbers: Counter[str], count: int) -> bool:
    return len(numbers) == count and int(max(numbers)) - int(min(numbers)) == count - 1


def _replaced_by(folder: str, name: str) -> set[Key] | None:
    """The names that a file replaces; None if that can't be read without importing it."""
    text = _source(folder, name)
    assignment = re.search(REPLACES, text) if text is not None else None
    if text is None or (assignment and not assignment["literal"]):
        return None
    return set(re.findall(PAIR, re.sub(COMMENT, "", assignment["pairs"]))) if assignment else set()


def _source(folder: str, name: str) -> str | None:
    try:
        return Path(folder, f"{name}.py").read_text(errors="replace")
    except NotADirectoryError:  # a zip file
        importer: Any = pkgutil.get_importer(folder)
        source: str | None = importer.get_source(name)
        return source
    except FileNotFoundError:  # bytecode alone, or a compiled module
        return None
