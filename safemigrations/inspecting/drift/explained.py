"""Finds what explains a difference: an open or skipped contract, an unfinished backfill, or SQL of the migrations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, RunPython, RunSQL

from ...contracts import queue, reversals
from ...contracts.table import HOLDING
from ...data import Data
from ...hooks.kept_triggers import Lost
from ...plans import claims
from ...plans.claims import Claim
from ...plans.steps import Plan, nested, tables_of, texts_of
from ...plans.stored import from_json
from ...postgres.names import COPY, Name
from ...running.backfill import progress
from ...running.backfill.table import columns_set
from .line import Line


class Explained(Data):
    """What open contracts and backfills hold, free and mention, and the texts of their steps."""

    held: set[Claim]
    freed: set[Claim]
    tables: set[Name]
    texts: list[str]
    half_way_back: Sequence[reversals.Reversal] = ()
    lost: Sequence[Lost] = ()  # columns that somebody has dropped
    is_complete: bool = True  # False where this role may not read it

    def is_held(self, line: Line) -> bool:
        claimed = any(claim.is_in(self.held) or claim.goes_with(self.freed) for claim in _claims_of(line))
        return claimed or (line.is_of_part and self._is_spelled(line.table, line.name))

    def as_needed(self, line: Line) -> Line:
        """The line with its repair. A missing column whose values an open contract needs isn't just added again."""
        if line.kind != "column_missing" or not self.is_held(line) or not self._is_added_again(line):
            return line
        return replace(line, text=f"{line.text}, which {_NEEDED}", repair=(f"-- {_AGAIN}",))

    def _is_added_again(self, line: Line) -> bool:
        """By the migration; not where that only works on a column of before."""
        return all(one.is_added for one in self.lost if one.place == (line.table.raw, line.name))

    def _is_spelled(self, table: Name, name: str) -> bool:
        """Does a step contain the name? Some steps find an index or a constraint by a list of possible names."""
        spelled = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        return self._is_about(table) and any(map(spelled.search, self.texts))

    def _is_about(self, table: Name) -> bool:
        return any(table.raw == one.raw for one in self.tables)

    def mentions(self, table: Name, name: str) -> bool:
        """Is an object of ours needed by one of them? Copies of indexes are known by what they are of."""
        if name.startswith(COPY):
            return self._is_about(table)
        return any(name in text for text in self.texts)


_NEEDED = "a contract that is open, or a backfill, needs"
_AGAIN = "Take the migration back with migrate, and apply it again: that adds the column, and fills it"


def _claims_of(line: Line) -> Iterator[Claim]:
    table, name = line.table, line.name
    for place, column in (*((table, column) for column in line.columns), *line.parents):
        yield claims.column(place, column)
        yield claims.column(place, column).twin
    if name:
        yield claims.constraint(table, name)
        yield claims.index(table, name)
    else:
        yield claims.table(table)


def explained(connection: BaseDatabaseWrapper) -> Explained:
    found = Explained(set(), set(), set(), [], reversals.begun(connection))
    for row in queue.rows(connection, status__in=HOLDING):
        _hold(found, from_json(row.plan))  # nothing of it is run, so its signature doesn't matter
    for backfill in progress.rows(connection, status__in=progress.UNFINISHED):
        step = backfill.backfill
        found.held.update(claims.column(step.table, name) for name in columns_set(step))
        _hold(found, (step,))
    return found


def told_by(plan: Plan) -> Explained:
    """What this plan holds, frees and mentions."""
    found = Explained(set(), set(), set(), [])
    _hold(found, plan)
    return found


def _hold(found: Explained, plan: Plan) -> None:
    found.held.update(claim for step in plan for claim in (*step.takes, *step.frees, *step.works_on))
    found.freed.update(claim for step in plan for claim in step.frees)
    found.tables.update(Name(table) for step in nested(plan) for table in tables_of(step))
    found.texts.extend(texts_of(plan))


SAID = {"column_default": "default", "column_null": "null", "column_collation": "collate"}  # in one statement with it


REMOVES = re.compile(r"unique_together|\bDROP\b|\bremove_(index|constraint)\b", re.IGNORECASE)


class MigrationTexts:
    """What SQL and Python of the migrations say; their state knows nothing of it."""

    def __init__(self, migrations: Iterable[Migration]) -> None:
        self.texts = [text for one in migrations for text in _said(one.operations)]
        self.text = "\n".join(self.texts)

    def names(self, line: Line) -> bool:
        """Do the migrations mention it? For a default or nullability of a column, one statement must have both."""
        if line.kind in ("index_unknown", "constraint_unknown", "column_unknown"):
            return bool(re.search(rf"(?<!\w){re.escape(line.name)}(?!\w)", self.text))
        if line.kind in ("index_missing", "constraint_missing"):
            return any(REMOVES.search(text) and _is_about(text, line) for text in self.texts)
        words = SAID.get(line.kind)
        named = rf"(?<!\w){re.escape(line.name)}(?!\w)[^;]*\b{words}\b"
        return bool(words and re.search(named, self.text, re.IGNORECASE))


def _is_about(text: str, line: Line) -> bool:
    """Does the text contain the name, or, in Python, all columns or their fields?"""
    columns = [rf"(?<!\w){re.escape(column.removesuffix('_id'))}(_id)?(?!\w)" for column in line.columns]
    by_columns = bool(columns) and all(re.search(column, text) for column in columns)
    return bool(re.search(rf"(?<!\w){re.escape(line.name)}(?!\w)", text)) or (text.startswith("def ") and by_columns)


def _said(operations: Iterable[Any]) -> Iterator[str]:
    for operation in operations:
        if isinstance(operation, RunSQL):
            yield from _sql(operation.sql)
        elif isinstance(operation, RunPython):
            yield _source(operation.code)
        yield from _said(getattr(operation, "database_operations", ()))


def _sql(sql: Any) -> Iterator[str]:
    for one in [sql] if isinstance(sql, str) else sql:
        yield f"{one if isinstance(one, str) else one[0]};"


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # made at run time, or not of Python
        return ""
