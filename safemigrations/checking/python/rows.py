"""Judges how a function treats rows: how many it changes in one transaction, and how many it keeps in memory."""

from __future__ import annotations

import ast
import re

from ...postgres.names import Name
from ..hazard import Hazard, NotUnderstood, elided
from ..scene import Scene
from . import loops, sentences
from .chains import Chain
from .functions import Function, Module
from .names import FEW_ROWS, Names, Passed

Said = Hazard | NotUnderstood
CHANGES = r"(?i)\s*(?:UPDATE|DELETE\s+FROM)\s+([\w\".]+)"
SELECTS = r'(?is)\s*SELECT\b.*?\bFROM\s+([\w".]+)'
OF_A_ROW = ("clear", "delete", "remove", "set", "update")
CREATES = ("create", "bulk_create", "get_or_create", "update_or_create")


class Rows(Names):
    """Judges loops and queries; FunctionReader, which walks through the function, says where it is."""

    def __init__(
        self,
        module: Module,
        function: Function,
        scene: Scene,
        passed: Passed,
    ) -> None:
        super().__init__(module, function, scene, passed)
        self.function = function
        self.said: list[Said] = []
        self.works_on_rows = False
        self.goes_far = False  # does it take longer the more rows there are?
        self.loops: list[ast.AST] = []
        self.in_transaction = scene.atomic
        self.collected: dict[str, Chain] = {}  # lists that a loop fills with its rows
        self.selected: Chain | None = None  # the table that a cursor reads, row by row
        self.told: set[str] = set()

    def say(self, node: ast.AST, hazard: Hazard, *, once: bool = False) -> None:
        if once and hazard.message in self.told:
            return
        self.told.add(hazard.message)
        self.add(hazard.at(getattr(node, "lineno", 0)))

    def not_understood(self, node: ast.AST, why: str) -> None:
        self.add(NotUnderstood(why, getattr(node, "lineno", 0), what="function"))

    def add(self, said: Said) -> None:
        """Add a hazard once, however often the rounds of a loop are read."""
        if said not in self.said:
            self.said.append(said)

    def saves(self, loop: ast.For) -> bool:
        return loops.saves(loop, self.lookup)

    def of_rows(self, node: ast.For, found: Chain) -> None:
        self.goes_far = self.goes_far or not self.is_a_batch(found)
        self.memory(node, found)
        if self.in_transaction and found.calls_any("select_for_update") and not self.is_a_batch(found):
            self.works_on_rows = True
            self.say(node, sentences.locked_for_update(found))
            return
        if not self.saves(node):
            return
        self.works_on_rows = True
        if self.is_a_batch(found):
            self._batches(node, found)
        elif self.in_transaction:
            self.say(node, sentences.saved_in_a_loop(found, node, self.scene.unless_own(found.app_label)))

    def each_of_many(self, node: ast.For, found: Chain) -> None:
        """Judge a loop over the rows of one row, inside a loop over many such rows."""
        if self.saves(node):
            self.works_on_rows = True
            self.say(node, sentences.one_by_one(found))

    def sends(self, node: ast.Call, texts: list[str]) -> None:
        for text in texts:
            if changed := re.match(CHANGES, text):
                self._sends_changes(node, Chain("", Name(changed[1]).raw))
            elif found := re.match(SELECTS, text):
                self.selected = None if re.search(FEW_ROWS, text) else Chain("", Name(found[1]).raw)

    def _sends_changes(self, node: ast.Call, table: Chain) -> None:
        """Judge SQL that changes a row, sent once for each of many rows."""
        given = node.args[1] if len(node.args) > 1 else None
        rows = self._given(given) if given and ast.unparse(node.func).endswith(".executemany") else None
        many = rows and not self.is_a_batch(rows) and not rows.is_one_row(self.unique(rows))
        found = rows if many else self._gone_over()
        if found and self.in_transaction:
            self.works_on_rows = True
            self.say(node, sentences.one_by_one(found))
        elif self.in_transaction and any(isinstance(loop, ast.While) for loop in self.loops):
            self.works_on_rows = True
            self.say(node, sentences.batches_of_one_transaction(table))

    def memory(self, node: ast.AST, found: Chain) -> None:
        if not (self.is_a_batch(found) or found.calls_any("iterator", "list")):
            self.say(node, sentences.in_memory(found))

    def write(self, node: ast.Call, found: Chain) -> None:
        if self.scene.elidable and found.last in CREATES and not self.goes_over_rows():
            self.say(node, elided(self.function.name, f"the rows of {found.model} that it creates"), once=True)
        match found.last:
            case "update" | "delete" | "_raw_delete" if not found.is_one_row(self.unique(found)):
                self.works_on_rows = True
                self._update(node, found)
            case last if self.in_transaction and self._changes_one(last, found) and self.goes_over_rows():
                self.works_on_rows = True
                self.say(node, sentences.one_by_one(found))
            case "bulk_update":
                self._bulk_update(node, found)
            case "in_bulk" if not node.args:
                self.memory(node, found)
            case "create" | "bulk_create":
                self.works_on_rows = self.works_on_rows or bool(self.loops)
                self._create(node, found)

    def _changes_one(self, method: str, found: Chain) -> bool:
        return method in ("update", "delete", "update_or_create") or (found.of_row and method in OF_A_ROW)

    def _update(self, node: ast.Call, found: Chain) -> None:
        if self.is_a_batch(found):
            self._batches(node, found)
        else:
            self.say(node, sentences.many_at_once(found, self.scene.unless_own(found.app_label)))
        again = loops.computed_from_itself(node) - found.compared
        if again and not self.scene.atomic:
            what = f"{', '.join(sorted(again))} of {found.model} is computed from itself"
            self.say(node, sentences.twice(what), once=True)

    def _bulk_update(self, node: ast.Call, found: Chain) -> None:
        rows = self._given(node.args[0]) if node.args else None
        if self.in_transaction:
            self.works_on_rows = True
            self.say(node, sentences.bulk_update(found))
        elif rows and not self.is_a_batch(rows) and not rows.is_one_row(self.unique(rows)):
            self.say(node, sentences.bulk_update_of_all(found))

    def _given(self, node: ast.expr) -> Chain | None:
        """The query that filled a list."""
        if isinstance(node, ast.Name) and node.id in self.collected:
            return self.collected[node.id]
        return self.chain(node) or self._made_of_rows(node)

    def _batches(self, node: ast.AST, found: Chain) -> None:
        if self.loops and self.in_transaction:
            self.say(node, sentences.batches_of_one_transaction(found))

    def goes_over_rows(self) -> bool:
        return self._gone_over() is not None

    def _gone_over(self) -> Chain | None:
        """The query of the loop around this place."""
        found = [self.query(loop.iter) or self._fetched(loop.iter) for loop in self.loops if isinstance(loop, ast.For)]
        return next(filter(None, found), None)

    def _fetched(self, node: ast.expr) -> Chain | None:
        """The rows of a SELECT that a cursor has executed: cursor, cursor.fetchall(), or a name for that."""
        values = self.values.get(node.id, []) if isinstance(node, ast.Name) else []
        named = values[0] if len(values) == 1 else node
        is_cursor = isinstance(node, ast.Name) and "cur" in node.id
        return self.selected if is_cursor or ast.unparse(named).endswith(".fetchall()") else None

    def _create(self, node: ast.Call, found: Chain) -> None:
        words = {word.arg for word in node.keywords}
        if not self.scene.atomic and not words & {"ignore_conflicts", "update_conflicts"}:
            self.say(node, sentences.twice(f"rows of {found.model} are created"), once=True)
