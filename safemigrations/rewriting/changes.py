"""The result of a rewriting: the files, as a diff or on disk, and the sentences about them."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from .fixing import Written


def diff(files: Iterable[Written]) -> str:
    """The difference as git and patch take it."""
    return "".join(line for file in files for line in _lines(file))


def _lines(file: Written) -> Iterable[str]:
    name = _name(file.path).lstrip("/")
    before, after = (file.before or "").splitlines(keepends=True), file.after.splitlines(keepends=True)
    old = "/dev/null" if file.before is None else f"a/{name}"
    for line in difflib.unified_diff(before, after, old, f"b/{name}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _name(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def write(files: Iterable[Written]) -> list[str]:
    """The names of the files, which the next look at the migrations reads anew."""
    names = []
    for file in files:
        file.path.write_bytes(file.after.encode())
        names.append(_name(file.path))
        for module in [name for name, each in sys.modules.items() if getattr(each, "__file__", "") == str(file.path)]:
            del sys.modules[module]
    importlib.invalidate_caches()
    return names
