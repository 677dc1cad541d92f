"""The docs of an id, for the terminal."""

from __future__ import annotations

import difflib
from pathlib import Path

from django.core.management.base import CommandError

from .catalogue import BY_ID, KINDS, Kind

PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = (PACKAGE / "docs", PACKAGE.parent / "docs")  # of an installed package, of a checkout


def listed() -> str:
    width = max(len(kind.id) for kind in KINDS)
    return "\n".join(f"{kind.id:<{width}}  {kind.level:<7}  {kind.title}" for kind in KINDS)


def explained(id: str) -> str:
    """The id may be given without what they all begin with."""
    kind = BY_ID.get(id) or BY_ID.get(f"safemigrations.{id.upper()}")
    if kind is None:
        close = difflib.get_close_matches(f"safemigrations.{id.upper()}", BY_ID, n=1)
        raise CommandError(f"No rule has the id {id}." + (f" Did you mean {close[0]}?" if close else ""))
    return f"{kind.id} ({kind.level}): {kind.title}\nFires on: {kind.fires_on}\n{_page(kind)}".rstrip()


def _page(kind: Kind) -> str:
    if not kind.page:
        return ""
    files = [folder / kind.help for folder in FOLDERS if (folder / kind.help).exists()]
    return f"\n{files[0].read_text()}" if files else ""
