"""Judges a function of RunPython: what it does to rows, to locks, and to a database that is built from nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ...plans.tables import db_table_of
from ..hazard import Hazard, NotUnderstood
from ..scene import Scene
from . import functions, instead, outside
from .chains import Chain, chain_of, model_of
from .functions import Function, Module, Unreadable

Said = Hazard | NotUnderstood
LIVE = "safemigrations.E300"
ROWS = "safemigrations.E301"
MEMORY = "safemigrations.W302"
OUTSIDE = "safemigrations.E303"
SCHEMA = "safemigrations.E304"
AGAIN = "safemigrations.W306"
ALIAS = "safemigrations.I307"
HELD = "safemigrations.E210"

TAKES_ALL = {"list", "set", "tuple", "sorted", "len"}
BATCHES = "Work in batches, each in a transaction of its own: atomic = False on the migration, and ranges of the key."


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
        table, lock, by = held
        yield Hazard(
            HELD,
            f"{first.name} works on rows, and until it ends {by} keeps its {lock} lock on {table}: everybody who "
            f"uses {table} waits.",
            "Put it into a migration of its own.",
            line=first.lineno,
        )
    names = {node.attr for each in reached for node in ast.walk(each) if isinstance(node, ast.Attribute)}
    if scene.databases > 1 and not names & {"alias", "using"}:
        yield Hazard(
            ALIAS,
            f"{first.name} doesn't say which database: whichever migrate works on, it changes rows of the one that the "
            "router gives.",
            "Use .using(schema_editor.connection.alias).",
            line=first.lineno,
        )


class FunctionReader(ast.NodeVisitor):
    """Reads one function. Its names stand for models and querysets as far as that is written in it."""

    def __init__(self, module: Module, function: Function, scene: Scene, sql: Callable[[str], Iterator[Said]]) -> None:
        self.module, self.scene, self.sql = module, scene, sql
        self.imported = {**module.imported, **dict(functions.imports_in(function.body))}
        self.known: dict[str, Chain] = {
            name: Chain("", path.rpartition(".")[2], live=True)
            for name, path in self.imported.items()
            if outside.is_live_model(name, path)
        }
        self.constants = dict(module.constants)
        self.said: list[Said] = []
        self.works_on_rows = False
        self.loops: list[ast.AST] = []
        self.in_transaction = scene.atomic
        self.told: set[str] = set()

    def say(self, id: str, node: ast.AST, message: str, hint: str, level: Any = None, once: str = "") -> None:
        if once and once in self.told:
            return
        self.told.add(once)
        self.said.append(Hazard(id, message, hint, level, getattr(node, "lineno", 0)))

    def not_understood(self, node: ast.AST, why: str) -> None:
        self.said.append(NotUnderstood(why, getattr(node, "lineno", 0), what="function"))

    # Names.

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._name(target.id, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._name(node.target.id, node.value)
        self.generic_visit(node)

    def _name(self, name: str, value: ast.expr) -> None:
        self.constants[name] = value
        found = chain_of(value, self.known)
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Name)
            and value.func.id in TAKES_ALL
            and value.args
        ):
            rows = chain_of(value.args[0], self.known)
            found = replace(rows, calls=(*rows.calls, ("list", None))) if rows else None
        if found:
            self.known[name] = found
        else:
            self.known.pop(name, None)

    def is_new(self, chain: Chain) -> bool:
        """Does the migration itself make the model's table?"""
        if chain.live:
            return False
        model = self.scene.state.models.get((chain.app_label, chain.model.lower()))
        return model is None or self.scene.is_new(db_table_of(model))

    def unique(self, chain: Chain) -> set[str]:
        model = self.scene.state.models.get((chain.app_label, chain.model.lower()))
        return {name for name, field in model.fields.items() if field.unique} if model else set()

    def query(self, node: ast.AST) -> Chain | None:
        """A query over rows that may be many, of a table that others use."""
        found = chain_of(node, self.known)
        if found is None or not found.is_query or self.is_new(found) or found.is_one_row(self.unique(found)):
            return None
        return found

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
            self.say(
                ROWS,
                node,
                f"This loop saves every row of {found.model} that it finds in one transaction: each stays locked until "
                "the migration ends, and whoever writes it waits. When it is killed, all of it was in vain.",
                instead.hint(instead.of_loop(found, node)),
            )

    def _memory(self, node: ast.AST, found: Chain) -> None:
        if found.is_a_batch or found.calls_any("iterator", "list", "aggregate", "count", "exists"):
            return
        self.say(
            MEMORY,
            node,
            f"All rows of {found.model} that this finds are in memory at once, however many there are.",
            "Add .iterator(chunk_size=2000), or let Backfill go over the rows.",
        )

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
            self._live(node, found)
        if name == "get_model" and model_of(node) is None:
            self.not_understood(node, "the name of the model is put together when it runs")
        if name in ("execute", "executemany"):
            self._execute(node)
        elif owner == "schema_editor" and name in outside.SCHEMA_METHODS:
            self._schema(node, name)
        elif found and found.is_query and not self.is_new(found):
            self._write(node, found)

    def _live(self, node: ast.Call, found: Chain) -> None:
        self.say(
            LIVE,
            node,
            f"{found.model} is imported, so it has the fields of today's code: once a later migration adds a field, "
            "this one fails on every new database.",
            f'Use {found.model} = apps.get_model("app_label", "{found.model}"): it has the fields of this migration.',
            once=f"live {found.model}",
        )

    def _schema(self, node: ast.Call, name: str) -> None:
        self.say(
            SCHEMA,
            node,
            f"schema_editor.{name} changes the schema where no rule sees it, and Django's state of the models doesn't "
            "know.",
            "Write the operation for it into a migration of its own.",
        )

    def _execute(self, node: ast.Call) -> None:
        text = self._text(node.args[0]) if node.args else None
        if text is None:
            self.said.append(NotUnderstood("the SQL that is executed here is put together when it runs", node.lineno))
            return
        for said in self.sql(text if len(node.args) < 2 else text.replace("%s", "NULL")):
            said_here = said.at(node.lineno)
            self.said.append(said_here)

    def _text(self, node: ast.expr) -> str | None:
        """A text that is written here, or has a name."""
        if isinstance(node, ast.Name):
            value = self.constants.get(node.id)
            return self._text(value) if value is not None and not isinstance(value, ast.Name) else None
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

    # Rows.

    def _write(self, node: ast.Call, found: Chain) -> None:
        unique = self.unique(found)
        match found.last:
            case "update" | "delete" if not found.is_one_row(unique):
                self.works_on_rows = True
                self._update(node, found)
                self._twice(node, found)
            case "update" if self.in_transaction and self._goes_over_rows():
                self._one_by_one(node, found)
            case "bulk_update" if self.in_transaction:
                self.works_on_rows = True
                self._bulk_update(node, found)
            case "create" | "bulk_create":
                self.works_on_rows = self.works_on_rows or bool(self.loops)
                self._create(node, found)

    def _update(self, node: ast.Call, found: Chain) -> None:
        written = instead.hint(instead.of_update(found)) if found.last == "update" else BATCHES
        if found.is_a_batch:
            self._batches(node, found)
            return
        few = "; nothing here says that these are few" if found.is_filtered else ""
        self.say(
            ROWS,
            node,
            f"{found.last}() locks every row of {found.model} that it finds until its transaction ends, and whoever "
            f"writes these rows waits{few}.",
            written,
            "warning" if found.is_filtered else "error",
        )

    def _batches(self, node: ast.AST, found: Chain) -> None:
        if self.loops and self.in_transaction:
            self.say(
                ROWS,
                node,
                f"The batches of {found.model} are one transaction: each row stays locked until the last of them.",
                BATCHES,
                "warning",
            )

    def _twice(self, node: ast.Call, found: Chain) -> None:
        """update(pieces=F("pieces") + 1), where nothing says which rows have it already"""
        again = _computed_from_itself(node) - found.compared
        if again and not self.scene.atomic:
            self._again(node, f"{', '.join(sorted(again))} of {found.model} is computed from itself")

    def _goes_over_rows(self) -> bool:
        return any(isinstance(loop, ast.For) and self.query(loop.iter) for loop in self.loops)

    def _one_by_one(self, node: ast.Call, found: Chain) -> None:
        self.works_on_rows = True
        self.say(
            ROWS,
            node,
            f"Row by row, all of {found.model} that the loop finds is changed in one transaction: each row stays "
            "locked until the migration ends.",
            BATCHES,
        )

    def _bulk_update(self, node: ast.Call, found: Chain) -> None:
        self.say(
            ROWS,
            node,
            f"bulk_update() of {found.model} keeps every row that it writes locked until the migration ends.",
            BATCHES,
        )

    def _create(self, node: ast.Call, found: Chain) -> None:
        words = {word.arg for word in node.keywords}
        if not self.scene.atomic and not words & {"ignore_conflicts", "update_conflicts"}:
            self._again(node, f"rows of {found.model} are created")

    def _again(self, node: ast.AST, what: str) -> None:
        self.say(
            AGAIN,
            node,
            f"{what}, and atomic = False keeps what is done when the migration is killed: the next run does it twice.",
            "Use get_or_create, ignore_conflicts=True, or a filter for what isn't done yet.",
            once=f"again {what}",
        )

    # What takes time, and isn't the database.

    def _elsewhere(self, node: ast.Call) -> None:
        what = outside.waits(node, self.imported)
        if what and (self.in_transaction or what != "time.sleep"):
            self.say(
                OUTSIDE,
                node,
                f"{what} waits for something that isn't the database, and the migration "
                + (
                    "keeps its transaction and its locks open meanwhile." if self.in_transaction else "stops meanwhile."
                ),
                "Do it outside of migrations, in a management command or a task.",
                "error" if self.in_transaction else "warning",
                once=f"outside {what}",
            )


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
