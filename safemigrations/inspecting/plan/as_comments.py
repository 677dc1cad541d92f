"""Adds a comment with the locks above each statement of Django or of people that sqlmigrate prints.

Steps of ours say that themselves. No database is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.migrations.state import ProjectState

from ...checking.grammar import HAS_GRAMMAR, NO_GRAMMAR
from ...checking.scene import Scene
from ...plans.work import Work
from ...running.preview import FACTS
from .as_text import said
from .of_sql import OfSql

HEADING = "--"  # Django's line above and below the description of an operation
AROUND = ("BEGIN;", "COMMIT;", "")


def with_facts(printed: str, *, atomic: bool) -> str:
    return "\n".join(_lines(printed.splitlines(), OfSql(None, Scene(ProjectState(), atomic=atomic), ())))


def _lines(lines: Iterable[str], reader: OfSql) -> Iterator[str]:
    is_ours, said_once, statement = False, False, list[str]()
    for line in lines:
        if line == HEADING:
            is_ours = False
        elif line.startswith(FACTS):
            is_ours = True
        if line.startswith("--") or line in AROUND or is_ours:
            yield from statement
            statement = []
            yield line
            continue
        statement.append(line)
        if line.endswith(";"):
            if HAS_GRAMMAR or not said_once:
                yield from _facts("\n".join(statement), reader)
            said_once = True
            yield from statement
            statement = []
    yield from statement


def _facts(statement: str, reader: OfSql) -> Iterator[str]:
    if not HAS_GRAMMAR:
        yield f"{FACTS}{NO_GRAMMAR}"
        return
    for facts in reader.facts(statement):
        yield f"{FACTS}{facts.note if facts.work is Work.UNKNOWN and not facts.locks else said(facts)}"
