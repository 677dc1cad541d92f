"""BASELINE: the last migration of each app that was there before the checks, in the settings or in a file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..data import Data
from . import disk

PASTE = "Add this to SAFEMIGRATIONS in your settings; only later migrations are checked then:"


def path() -> Path:
    """BASELINE_FILE; a relative path begins at BASE_DIR of the settings, or where the command is run."""
    return Path(getattr(settings, "BASE_DIR", "")) / conf.baseline_file()


def read() -> dict[str, str] | None:
    """App label -> migration, from the file and the setting, which wins; None where neither is there."""
    written, chosen = _written(), conf.baseline()
    if written is None and chosen is None:
        return None
    return {**(written or {}), **(chosen or {})}


def _written() -> dict[str, str] | None:
    file = path()
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_text())
        return conf.labels_and_names(value)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{file} isn't a baseline; `manage.py safemigrations baseline --write` writes it anew."
        ) from error


def write(leaves: Mapping[str, str]) -> Path:
    file = path()
    file.write_text(f"{json.dumps(dict(leaves), indent=4)}\n")
    return file


def as_setting(leaves: Mapping[str, str]) -> str:
    """What to paste into the settings."""
    lines = "".join(f'        "{label}": "{name}",\n' for label, name in leaves.items())
    return f'    "BASELINE": {{\n{lines}    }},'


class Misfit(Data):
    """A name in the settings that nothing has."""

    key: str
    message: str
    hint: str


def misfits() -> Iterator[Misfit]:
    """Labels and migrations that don't exist, with the nearest name that does."""
    known = disk.known_labels()
    for label in conf.check_apps() or ():
        if label not in known:
            yield Misfit(
                "CHECK_APPS", f"CHECK_APPS names {label!r}, and no installed app has that label.", near(label, known)
            )
    for label, name in (read() or {}).items():
        if label not in known:
            yield Misfit(
                "BASELINE", f"BASELINE names {label!r}, and no installed app has that label.", near(label, known)
            )
        elif not (names := disk.names_on_disk(label)) & {name} and not disk.is_replaced(label, name):
            yield Misfit("BASELINE", f"BASELINE names {label}.{name}, which doesn't exist.", near(name, names))


def near(name: str, names: Iterable[str]) -> str:
    """Which one was meant, or which there are?"""
    listed = sorted(names)
    return nearest(name, listed) or (f"There are: {', '.join(listed)}." if listed else "There are none.")


def nearest(name: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    numbered = [other for other in listed if name[:4].isdigit() and other.startswith(name[:4])]
    close = difflib.get_close_matches(name, listed, n=1, cutoff=0.5) or numbered
    return f"Did you mean {close[0]!r}?" if close else ""
