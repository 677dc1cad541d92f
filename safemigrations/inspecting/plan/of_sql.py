"""The facts about statements that aren't ours: those of Django's operations and of people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...checking.grammar import HAS_GRAMMAR, NO_GRAMMAR, loaded
from ...checking.scene import Scene
from ...checking.sql.effects import COSTS
from ...plans.tables import db_table_of
from ...plans.work import Work
from ...postgres.lock import Lock
from ...postgres.names import Name
from .asked import Asked
from .facts import StepFacts
from .of_steps import NOT_THERE
from .times import Times

# What takes long of the kinds of effects that checking/sql/effects.py lists.
WORKS: Mapping[str, Work] = {
    "CREATE INDEX": Work.BUILDS,
    "REINDEX": Work.BUILDS,
    "ADD UNIQUE": Work.BUILDS,
    "ADD EXCLUDE": Work.BUILDS,
    "IF NOT EXISTS": Work.BUILDS,
    "SET NOT NULL": Work.READS,
    "ADD CHECK": Work.READS,
    "ATTACH PARTITION": Work.READS,
    "ALTER DOMAIN": Work.READS,
    "ADD COLUMN with a check": Work.READS,
    "ADD FOREIGN KEY": Work.COMPARES,
    "ALTER TYPE": Work.REWRITES,
    "ADD COLUMN that rewrites": Work.REWRITES,
    "rewrite": Work.REWRITES,
    "REFRESH": Work.UNKNOWN,
    "every row": Work.FILLS,
    "some rows": Work.UNKNOWN,
    "copied rows": Work.UNKNOWN,
}
ONLINE: Mapping[str, Work] = {"IndexStmt": Work.BUILDS, "ReindexStmt": Work.BUILDS, "AlterTableStmt": Work.READS}
BREAKS = ("DROP", "RENAME", "TRUNCATE", "NOT NULL without a default", "DROP DEFAULT")
CHANGES_ROWS = ("rows", "copied rows", "every row", "some rows")


class OfSql:
    """Reads the statements of one migration in their order; `made` are the tables that the plan makes, raw.

    Where nobody is `asked`, sizes and times stay unknown.
    """

    def __init__(self, asked: Asked | None, scene: Scene, made: Iterable[str]) -> None:
        self.asked, self.scene = asked, scene
        self.scene.made.update(made)
        self.names = {
            Name.from_django(db_table_of(model)).raw: Name.from_django(db_table_of(model))
            for model in scene.state.models.values()
        }
        self.held: dict[str, Lock] = {}

    def facts(self, text: str) -> Iterator[StepFacts]:
        """The effect of each statement of a text."""
        if not HAS_GRAMMAR:
            yield self._unknown(text, NO_GRAMMAR)
            return
        if not self.scene.atomic:
            self.held.clear()
        for statement in loaded().parse(text):
            unparsed = isinstance(statement, loaded().Unparsed)
            yield self._unknown(statement.text, statement.why) if unparsed else self._of(statement)

    def _unknown(self, text: str, why: str) -> StepFacts:
        return StepFacts("", (text,), {}, Work.UNKNOWN, note=why)

    def _of(self, statement: Any) -> StepFacts:
        reader = loaded()
        found = reader.effects(statement, self.scene)
        if found is None:
            return self._unknown(statement.text, "not understood")
        reader.remember(statement, self.scene)
        there = [effect for effect in found if not self.scene.is_new(effect.table)]
        locks = self._strongest((self._quoted(effect.table), _lock(effect.kind)) for effect in there)
        works = [(_work(effect.kind, statement.kind), effect.table) for effect in there]
        work, table = max(works, key=lambda pair: list(Work).index(pair[0]), default=(Work.INSTANT, ""))
        breaks = next((COSTS[e.kind].work.format(table=e.table) for e in there if e.kind in BREAKS), "")
        facts = StepFacts("", (statement.text,), locks, work, self._quoted(table), held=dict(self.held), breaks=breaks)
        if not reader.needs_no_transaction(statement):
            self.held = self._strongest([*self.held.items(), *locks.items()])
        return self._measured(facts)

    def _quoted(self, table: str) -> str:
        return self.names.get(table) or (Name.of(table) if table else "")

    def _strongest(self, locks: Iterable[tuple[str, Lock | None]]) -> dict[str, Lock]:
        found: dict[str, Lock] = {}
        for table, lock in locks:
            if lock and table:
                found[table] = max(lock, found.get(table, lock), key=lambda one: one.strength)
        return found

    def _measured(self, facts: StepFacts) -> StepFacts:
        if facts.work is Work.UNKNOWN:
            return replace(facts, note="how many rows it is about isn't known")
        asked = self.asked
        if not facts.work.grows or asked is None:
            return facts
        size = asked.size(facts.table)
        if size is None:
            return replace(facts, note=NOT_THERE)
        built = asked.size_of_index(facts.table, facts.statements[0]) if facts.work is Work.BUILDS else None
        time = Times(asked).expect(facts.work, facts.table, size, built=built)
        disk = {Work.BUILDS: 2 * (built or 0), Work.FILLS: size.bytes, Work.REWRITES: asked.total(facts.table)}
        note = "" if time else "how long it takes isn't known"
        return replace(facts, size=size, time=time, built=built, disk=disk.get(facts.work), note=note)


def _work(kind: str, statement: str) -> Work:
    return ONLINE.get(statement, Work.SAMPLES) if kind == "online" else WORKS.get(kind, Work.INSTANT)


def _lock(kind: str) -> Lock | None:
    if kind in CHANGES_ROWS:
        return Lock.ROW_EXCLUSIVE
    return Lock(COSTS[kind].lock) if COSTS[kind].lock else None
