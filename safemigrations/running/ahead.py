"""What a run is going to do, as far as that is known before its first step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from django.db.migrations import Migration

from ..plans.steps import Backfill, Step, tables_read

ADDS_COLUMN = re.compile(r'ALTER TABLE ((?:"(?:[^"]|"")+"\.)?"(?:[^"]|"")+") ADD COLUMN ')


@dataclass
class Ahead:
    """Collected step by step; what only the database knows isn't in it."""

    tables: set[str] = field(default_factory=set)  # that are read or changed, as they stand in statements
    columns: list[tuple[str, str]] = field(default_factory=list)  # a table, and the statement that adds a column to it
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
            if (found := ADDS_COLUMN.match(sql)) and (found[1], sql) not in self.columns:
                self.columns.append((found[1], sql))

    def add_migration_of_others(self, label: str) -> None:
        if label not in self.of_others:
            self.of_others.append(label)
