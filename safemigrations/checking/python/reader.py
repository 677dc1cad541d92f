"""Judges a function of RunPython: what it does to rows, to locks, and to a database that is built from nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from ..hazard import Hazard, NotUnderstood
from ..scene import Scene
from . import callables, functions, loops, outside, sentences
from .chains import model_of
from .functions import Function, Module, Unreadable
from .names import TAKES_ALL, Given, Passed
from .rows import Rows, Said


def read(
    function: Callable[..., Any], scene: Scene, sql: Callable[[str], Iterator[Said]]
) -> Iterator[tuple[functions.Module | None, Said]]:
    """What the function and those of the project that it calls do; `sql` judges a text that they execute."""
    try:
        called = callables.read(function)
    except Unreadable as error:
        yield None, NotUnderstood(str(error), what="function")
        return
    reached = functions.with_those_that_it_calls(called.module, called.function)
    passed: Passed = {called.function: _given(called)}
    readers = []
    for module, each in reached:
        reader = FunctionReader(module, each, scene, sql, passed)
        reader.visit(each)
        readers.append(reader)
        for said in reader.said:
            yield module, said
    for said in _of_the_whole(called.function, readers, scene):
        yield called.module, said


def _given(called: callables.Called) -> Given:
    values = called.values.items()
    return Given(values={name: [ast.Constant(value)] for name, value in values if isinstance(value, str | int)})


def _of_the_whole(first: Function, readers: list[FunctionReader], scene: Scene) -> Iterator[Hazard]:
    works_on_rows = any(reader.works_on_rows for reader in readers)
    held = next(scene.holding(), None)
    if held and (works_on_rows or any(reader.goes_far for reader in readers)):
        yield sentences.lock_is_held(first.name, held).at(first.lineno)
    trees = [reader.function for reader in readers]
    names = {node.attr for each in trees for node in ast.walk(each) if isinstance(node, ast.Attribute)}
    if works_on_rows and scene.databases > 1 and not names & {"alias", "using"}:
        yield sentences.which_database(first.name).at(first.lineno)


def _leaves(node: ast.If) -> bool:
    return isinstance(node.body[-1], ast.Return | ast.Raise)


class FunctionReader(Rows):
    """Reads one function, and says what is wrong with it."""

    def __init__(
        self,
        module: Module,
        function: Function,
        scene: Scene,
        sql: Callable[[str], Iterator[Said]],
        passed: Passed,
    ) -> None:
        super().__init__(module, function, scene, passed)
        self.sql = sql
        self.later: list[Function] = []  # functions within it

    # Functions within it are read when it is known what they are given.

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._read_later(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._read_later(node)

    def _read_later(self, node: Function) -> None:
        if node is not self.function:
            self.later.append(node)
            self.lookup.inner[node.name] = node
            return
        self._body(node.body)
        while self.later:
            inner = self.later.pop()
            self.take(inner)
            self._body(inner.body)

    # Loops.

    def visit_For(self, node: ast.For) -> None:
        plain = loops.over_rows(node)
        for each in plain:
            self._loop(each)
        self.loops += plain
        for values in self.rounds_of(node):
            self.values.update(values)
            self.models_of(values)
            self.generic_visit(node)
        del self.loops[-len(plain) :]

    def _loop(self, node: ast.For) -> None:
        self.pages_of(node)
        found = self.query(node.iter)
        if found:
            self.collected.update(dict.fromkeys(loops.collected_by(node), found))
            self.of_rows(node, found)
        elif self.in_transaction and (of_rows := self.chain(node.iter)) and of_rows.of_row and self.goes_over_rows():
            self.each_of_many(node, of_rows)
        elif self.in_transaction and self.chain(node.iter) is None and self.saves(node):
            self.not_understood(node, f"it saves each of {ast.unparse(node.iter)}, and nothing says how many these are")

    def visit_If(self, node: ast.If) -> None:
        """What is done on another backend is no matter here. A queryset may be what either branch makes of it."""
        elsewhere = outside.is_elsewhere(node.test)
        self.visit(node.test)
        before = dict(self.known)
        self._body([] if elsewhere else node.body)
        after, self.known = self.known, before
        self._body([] if elsewhere is False else node.orelse)
        self.known = after if elsewhere is False else self.wider(self.known, after)

    def _body(self, statements: list[ast.stmt]) -> None:
        """Read the statements that are done on PostgreSQL."""
        for statement in statements:
            self.visit(statement)
            if isinstance(statement, ast.If) and outside.is_elsewhere(statement.test) is False and _leaves(statement):
                return

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

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        for generator in node.generators:
            found = self.query(generator.iter)
            loop = loops.of_comprehension(node, generator)
            if found and self.saves(loop):
                self.of_rows(loop, found)
            elif found and not found.calls_any("values", "values_list"):
                self.memory(node, found)
        self.generic_visit(node)

    # Calls.

    def visit_Call(self, node: ast.Call) -> None:
        if outside.full_name(node.func, self.imported) == outside.AFTER_THE_COMMIT:
            return
        if isinstance(node.func, ast.Name):
            self._function(node, node.func.id)
        elif isinstance(node.func, ast.Attribute):
            self._method(node, node.func)
        self._elsewhere(node)
        self.generic_visit(node)

    def _function(self, node: ast.Call, name: str) -> None:
        found = self.query(node.args[0]) if name in TAKES_ALL and node.args else None
        if found and not found.calls_any("values", "values_list"):
            self.memory(node, found)
        if name == "map" and len(node.args) == 2 and (found := self.query(node.args[1])):
            self.of_rows(loops.of_map(node), found)
        path = self.imported.get(name, "")
        if not self._within(node, name) and not self._fixture(node, path):
            self._not_read(node, path)

    def _within(self, node: ast.Call, name: str) -> bool:
        """Is it a function that is read, too?"""
        found = self.lookup.find(name)
        if found:
            self.pass_on(node, found[1])
        return found is not None

    def _not_read(self, node: ast.Call, path: str) -> None:
        if path and outside.is_given_the_database(node, self.known, path):
            self.not_understood(node, f"it calls {path}, which stands elsewhere")

    def _fixture(self, node: ast.Call, path: str) -> bool:
        """Does it load rows with the models of the running code, or may it do anything?"""
        if path not in outside.FIXTURES:
            return False
        command = self.texts.of(node.args[0]) if node.args else None
        if path.endswith(".deserialize") or command == ["loaddata"]:
            self.say(node, sentences.fixture(outside.FIXTURES[path]))
        else:
            self.not_understood(node, f"it runs the command {ast.unparse(node.args[0]) if node.args else ''}")
        return True

    def _method(self, node: ast.Call, method: ast.Attribute) -> None:
        name, owner = method.attr, ast.unparse(method.value)
        found = self.chain(node)
        if found is None and not self._within(node, functions.dotted(method)):
            self._not_read(node, outside.full_name(method, self.imported))
        if found and found.live and found.is_query:
            self.say(node, sentences.live_model(found), once=True)
        if name == "get_model" and model_of(node, self._one_text) is None:
            self.not_understood(node, "the name of the model is put together when it runs")
        if name in ("execute", "executemany"):
            self._execute(node)
        elif self._fixture(node, outside.full_name(method, self.imported)):
            return
        elif owner == "schema_editor" and name in outside.SCHEMA_METHODS:
            self.say(node, sentences.schema(name))
        elif found and found.is_query and not self.is_new(found):
            self.write(node, found)

    def _execute(self, node: ast.Call) -> None:
        texts = self.texts.of(node.args[0]) if node.args else None
        if texts is None:
            self.add(NotUnderstood("the SQL that is executed here is put together when it runs", node.lineno))
            return
        self.sends(node, texts)
        for text in texts:
            for said in self.sql(text if len(node.args) < 2 else text.replace("%s", "NULL")):
                self.add(said.at(node.lineno))

    # What takes time, and isn't the database.

    def _elsewhere(self, node: ast.Call) -> None:
        what = outside.waits(node, self.imported)
        if what and (self.in_transaction or what != "time.sleep"):
            self.say(node, sentences.waits(what, in_transaction=self.in_transaction), once=True)
