"""Judges a function of RunPython: what it does to rows, to locks, and to a database that is built from nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from ..hazard import Hazard, NotUnderstood, elided
from ..scene import Scene
from . import functions, outside, sentences
from .chains import Chain, chain_of, model_of
from .functions import Function, Module, Unreadable
from .names import TAKES_ALL, Names

Said = Hazard | NotUnderstood
CREATES = ("create", "bulk_create", "get_or_create", "update_or_create")


def read(
    function: Callable[..., Any], scene: Scene, sql: Callable[[str], Iterator[Said]]
) -> Iterator[tuple[functions.Module | None, Said]]:
    """What the function and those that it calls in its module do; `sql` judges a text that they execute."""
    try:
        module, first = functions.read(function)
    except Unreadable as error:
        yield None, NotUnderstood(str(error), what="function")
        return
    reached = functions.with_those_that_it_calls(module, first)
    works_on_rows = False
    for each in reached:
        reader = FunctionReader(module, each, scene, sql)
        reader.visit(each)
        works_on_rows = works_on_rows or reader.works_on_rows
        for said in reader.said:
            yield module, said
    for said in _of_the_whole(first, reached, scene) if works_on_rows else ():
        yield module, said


def _of_the_whole(first: Function, reached: list[Function], scene: Scene) -> Iterator[Hazard]:
    if held := next(scene.holding(), None):
        yield sentences.lock_is_held(first.name, held).at(first.lineno)
    names = {node.attr for each in reached for node in ast.walk(each) if isinstance(node, ast.Attribute)}
    if scene.databases > 1 and not names & {"alias", "using"}:
        yield sentences.which_database(first.name).at(first.lineno)


class FunctionReader(Names):
    """Reads one function, and says what is wrong with it."""

    def __init__(self, module: Module, function: Function, scene: Scene, sql: Callable[[str], Iterator[Said]]) -> None:
        super().__init__(module, function, scene)
        self.function = function
        self.sql = sql
        self.said: list[Said] = []
        self.works_on_rows = False
        self.loops: list[ast.AST] = []
        self.in_transaction = scene.atomic
        self.told: set[str] = set()

    def say(self, node: ast.AST, hazard: Hazard, *, once: bool = False) -> None:
        if once and hazard.message in self.told:
            return
        self.told.add(hazard.message)
        self.said.append(hazard.at(getattr(node, "lineno", 0)))

    def not_understood(self, node: ast.AST, why: str) -> None:
        self.said.append(NotUnderstood(why, getattr(node, "lineno", 0), what="function"))

    # Loops.

    def visit_For(self, node: ast.For) -> None:
        found = self.query(node.iter)
        if found:
            self._loop(node, found)
        elif self.in_transaction and chain_of(node.iter, self.known) is None and _saves(node):
            self.not_understood(node, f"it saves each of {ast.unparse(node.iter)}, and nothing says how many these are")
        self.loops.append(node)
        self.generic_visit(node)
        self.loops.pop()

    def visit_If(self, node: ast.If) -> None:
        """What is done on another backend is no matter here."""
        elsewhere = outside.is_elsewhere(node.test)
        self.visit(node.test)
        for statement in () if elsewhere else node.body:
            self.visit(statement)
        for statement in () if elsewhere is False else node.orelse:
            self.visit(statement)

    def visit_While(self, node: ast.While) -> None:
        self.loops.append(node)
        self.generic_visit(node)
        self.loops.pop()

    def visit_With(self, node: ast.With) -> None:
        """Around a loop, transaction.atomic() makes one transaction of all of it."""
        begins = any("atomic(" in ast.unparse(item.context_expr) for item in node.items)
        before = self.in_transaction
        self.in_transaction = before or (begins and not self.loops)
        self.generic_visit(node)
        self.in_transaction = before

    def _loop(self, node: ast.For, found: Chain) -> None:
        self._memory(node, found)
        if not _saves(node):
            return
        self.works_on_rows = True
        if found.is_a_batch:
            self._batches(node, found)
        elif self.in_transaction:
            self.say(node, sentences.saved_in_a_loop(found, node))

    def _memory(self, node: ast.AST, found: Chain) -> None:
        if not (found.is_a_batch or found.calls_any("iterator", "list", "aggregate", "count", "exists")):
            self.say(node, sentences.in_memory(found))

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp) -> None:
        for generator in node.generators:
            found = self.query(generator.iter)
            if found and not found.calls_any("values", "values_list"):
                self._memory(node, found)
        self.generic_visit(node)

    # Calls.

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            self._function(node, node.func.id)
        elif isinstance(node.func, ast.Attribute):
            self._method(node, node.func)
        self._elsewhere(node)
        self.generic_visit(node)

    def _function(self, node: ast.Call, name: str) -> None:
        found = self.query(node.args[0]) if name in TAKES_ALL and node.args else None
        if found and not found.calls_any("values", "values_list"):
            self._memory(node, found)
        path = self.imported.get(name, "")
        if path and name not in self.module.functions and outside.is_given_the_database(node, self.known, path):
            self.not_understood(node, f"it calls {path}, which stands elsewhere")

    def _method(self, node: ast.Call, method: ast.Attribute) -> None:
        name, owner = method.attr, ast.unparse(method.value)
        found = chain_of(node, self.known)
        if found and found.live and found.is_query:
            self.say(node, sentences.live_model(found), once=True)
        if name == "get_model" and model_of(node) is None:
            self.not_understood(node, "the name of the model is put together when it runs")
        if name in ("execute", "executemany"):
            self._execute(node)
        elif owner == "schema_editor" and name in outside.SCHEMA_METHODS:
            self.say(node, sentences.schema(name))
        elif found and found.is_query and not self.is_new(found):
            self._write(node, found)

    def _execute(self, node: ast.Call) -> None:
        text = self._text(node.args[0]) if node.args else None
        if text is None:
            self.said.append(NotUnderstood("the SQL that is executed here is put together when it runs", node.lineno))
            return
        for said in self.sql(text if len(node.args) < 2 else text.replace("%s", "NULL")):
            self.said.append(said.at(node.lineno))

    def _text(self, node: ast.expr) -> str | None:
        """A text that is written here, or has a name."""
        if isinstance(node, ast.Name):
            value = self.constants.get(node.id)
            return self._text(value) if value is not None and not isinstance(value, ast.Name) else None
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

    # Rows.

    def _write(self, node: ast.Call, found: Chain) -> None:
        if self.scene.elidable and found.last in CREATES and not self._goes_over_rows():
            self.say(node, elided(self.function.name, f"the rows of {found.model} that it creates"), once=True)
        match found.last:
            case "update" | "delete" if not found.is_one_row(self.unique(found)):
                self.works_on_rows = True
                self._update(node, found)
            case "update" if self.in_transaction and self._goes_over_rows():
                self.works_on_rows = True
                self.say(node, sentences.one_by_one(found))
            case "bulk_update" if self.in_transaction:
                self.works_on_rows = True
                self.say(node, sentences.bulk_update(found))
            case "create" | "bulk_create":
                self.works_on_rows = self.works_on_rows or bool(self.loops)
                self._create(node, found)

    def _update(self, node: ast.Call, found: Chain) -> None:
        if found.is_a_batch:
            self._batches(node, found)
        else:
            self.say(node, sentences.many_at_once(found))
        again = _computed_from_itself(node) - found.compared
        if again and not self.scene.atomic:
            what = f"{', '.join(sorted(again))} of {found.model} is computed from itself"
            self.say(node, sentences.twice(what), once=True)

    def _batches(self, node: ast.AST, found: Chain) -> None:
        if self.loops and self.in_transaction:
            self.say(node, sentences.batches_of_one_transaction(found))

    def _goes_over_rows(self) -> bool:
        return any(isinstance(loop, ast.For) and self.query(loop.iter) for loop in self.loops)

    def _create(self, node: ast.Call, found: Chain) -> None:
        words = {word.arg for word in node.keywords}
        if not self.scene.atomic and not words & {"ignore_conflicts", "update_conflicts"}:
            self.say(node, sentences.twice(f"rows of {found.model} are created"), once=True)

    # What takes time, and isn't the database.

    def _elsewhere(self, node: ast.Call) -> None:
        what = outside.waits(node, self.imported)
        if what and (self.in_transaction or what != "time.sleep"):
            self.say(node, sentences.waits(what, in_transaction=self.in_transaction), once=True)


def _saves(loop: ast.For) -> bool:
    """Is the row of the loop written, one by one?"""
    row = loop.target.id if isinstance(loop.target, ast.Name) else ""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("save", "delete", "asave", "adelete")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == row
        for node in ast.walk(loop)
    )


def _computed_from_itself(call: ast.Call) -> set[str]:
    """The fields of update(total=F("total") + 1)."""
    return {
        word.arg
        for word in call.keywords
        if word.arg and isinstance(word.value, ast.BinOp) and f"F('{word.arg}')" in ast.unparse(word.value)
    }
