"""The verdict of a reader of SQL or Python, before its place in the file is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from ..data import Data
from ..operations.rule import Level


class Hazard(Data):
    """Something unsafe; `line` counts from where the text, or the file, begins."""

    id: str
    message: str
    hint: str
    level: Level | None = None  # that of the id
    line: int = 0
    file: str = ""  # that of the migration

    def at(self, line: int) -> Self:
        return replace(self, line=line)


class NotUnderstood(Data):
    """A statement or function that could not be read, and may be unsafe."""

    why: str
    line: int = 0
    what: str = "statement"
    file: str = ""

    def at(self, line: int) -> Self:
        return replace(self, line=line)


def written_out(code: str, app_label: str = "") -> str:
    """A hint with what to write; `app_label`: of another app, whose own migrations name the model."""
    indented = "\n".join(f"    {line}".rstrip() for line in code.splitlines())
    where = (
        f"in a migration of {app_label} with atomic = False" if app_label else "with atomic = False on the migration"
    )
    return f"Write, {where},\n{indented}"


def elided(what: str, makes: str) -> Hazard:
    """A finding about something that squashmigrations leaves out although a new database needs it."""
    return Hazard(
        "safemigrations.W308",
        f"{what} is elidable: squashmigrations leaves it out, and a database that begins with the squashed migration "
        f"never gets {makes}.",
        "Take elidable=True away. It is for what changes rows that are there.",
    )
