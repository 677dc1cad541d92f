"""Collects what a run is going to do, as far as that is known before its first step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field
from typing import Self

from django.db.migrations import Migration

from ...data import Data
from ...plans.steps import Backfill, Step, tables_read

NAME = r'(?:"(?:[^"]|"")+")'
# Rows that come after these a subscriber refuses whose table is as it was before.
ALLOWS_MORE = rf"ALTER TABLE ((?:{NAME}\.)?{NAME}) (?:(ADD) COLUMN |ALTER COLUMN {NAME} DROP NOT NULL)"


class AllowsMore(Data):
    """A statement that subscribers of a table have to run first."""

    table: str  # as it stands in statements
    sql: str
    is_of_column: bool  # that it adds

    def __str__(self) -> str:
        return f"{self.sql.rstrip(';')};"


class Ahead(Data, frozen=False):
    """Collected step by step; leaves out what only the database can tell."""

    tables: set[str] = field(default_factory=set)  # that are read or changed, as they stand in statements
    allowing: list[AllowsMore] = field(default_factory=list)
    fills: bool = False  # is there a backfill?
    applies: list[Migration] = field(default_factory=list)  # in their order
    of_others: list[str] = field(default_factory=list)  # migrations whose statements have the session's own timeouts

    @classmethod
    def of(cls, plan: Iterable[Step]) -> Self:
        ahead = cls()
        for step in plan:
            ahead.add(step)
        return ahead

    def add(self, step: Step) -> None:
        self.tables.update(tables_read(step))
        self.fills |= isinstance(step, Backfill)
        for sql in step.statements:
            if found := re.match(ALLOWS_MORE, sql):
                self._allow(AllowsMore(found[1], sql, is_of_column=bool(found[2])))

    def _allow(self, one: AllowsMore) -> None:
        if one not in self.allowing:
            self.allowing.append(one)

    def add_migration_of_others(self, label: str) -> None:
        if label not in self.of_others:
            self.of_others.append(label)
