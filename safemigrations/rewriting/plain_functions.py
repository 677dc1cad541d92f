"""Functions of RunPython that do one thing: they set fields of the rows of one model. A Backfill does the same.

Whatever isn't known to be the same is NotPlain: such a function stays as it is, and the hint has a Backfill to look at.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from django.db.migrations.state import ModelState, ProjectState
from django.db.models import DateField, Field, TimeField

from ..checking.python import functions
from ..checking.python.chains import Chain, chain_of
from ..checking.python.functions import Function, Module
from ..checking.python.pure import Scope, is_pure
from ..checking.scene import number_of_databases
from ..data import Data

LOOKUPS = {
    "contains",
    "endswith",
    "exact",
    "gt",
    "gte",
    "icontains",
    "iexact",
    "in",
    "isnull",
    "lt",
    "lte",
    "startswith",
}
STEPS = {"all", "filter", "exclude", "using", "iterator", "order_by"}
EXPRESSIONS = {"F", "Value", "Lower", "Upper", "Trim", "Length", "Coalesce", "Concat"}


class NotPlain(Exception):
    """The function does something else, or may do so."""


class Plain(Data):
    """The values that it sets, as Python: a dictionary, or the text of a function of the row."""

    chain: Chain
    values: dict[str, str]
    row: str = ""  # what the loop calls it; empty for an update()

    @property
    def where(self) -> str:
        return self.chain.where


def read(function: Any, app_label: str, state: ProjectState) -> Plain:
    """Raises NotPlain. `state` has the models that the function gets."""
    if not inspect.isfunction(function) or hasattr(function, "__wrapped__"):
        raise NotPlain
    try:
        module, tree = functions.read(function)
    except functions.Unreadable as error:
        raise NotPlain from error
    return Reader(module, tree, app_label, state).plain()


class Reader:
    """Reads names of models and of the database, and then the one statement that works."""

    def __init__(self, module: Module, tree: Function, app_label: str, state: ProjectState) -> None:
        self.module, self.app_label, self.state = module, app_label, state
        names = [each.arg for each in tree.args.args]
        if len(names) != 2 or not isinstance(tree, ast.FunctionDef) or tree.decorator_list or tree.args.defaults:
            raise NotPlain
        self.apps, self.editor = names
        self.body = tree.body[ast.get_docstring(tree) is not None :]
        if not self.body:
            raise NotPlain
        self.known: dict[str, Chain] = {}
        self.aliases = {f"{self.editor}.connection.alias"}

    def plain(self) -> Plain:
        for node in self.body[:-1]:
            self._name(node)
        match self.body[-1]:
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="update")) as call):
                return self._update(call)
            case ast.For() as loop:
                return self._loop(loop)
        raise NotPlain

    def _name(self, node: ast.stmt) -> None:
        """Order = apps.get_model("shop", "Order"), or alias = schema_editor.connection.alias."""
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute() as value):
                if ast.unparse(value) not in self.aliases:
                    raise NotPlain
                self.aliases.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.known[name] = self._chain(value)
            case _:
                raise NotPlain

    # Querysets.

    def _known(self, node: ast.AST) -> Chain | None:
        return self.known.get(node.id) if isinstance(node, ast.Name) else None

    def _chain(self, node: ast.expr) -> Chain:
        registries = (
            each.value for each in ast.walk(node) if isinstance(each, ast.Attribute) and each.attr == "get_model"
        )
        if not all(isinstance(each, ast.Name) and each.id == self.apps for each in registries):
            raise NotPlain
        found = chain_of(node, self._known, _text)
        if found is None or found.app_label != self.app_label or found.sliced:
            raise NotPlain
        return found

    def _model(self, chain: Chain) -> ModelState:
        """A manager of the project's own may leave out rows."""
        model: ModelState | None = self.state.models.get((chain.app_label, chain.model.lower()))
        if model is None or model.managers or not model.options.get("managed", True) or model.options.get("proxy"):
            raise NotPlain
        return model

    def _rows(self, chain: Chain, last: str = "") -> ModelState:
        """The model of a queryset that selects by its own fields, in the database that is migrated."""
        (manager, attribute), *steps = chain.calls or (("", None),)
        if manager != "objects" or attribute is not None or (last and steps[-1][0] != last):
            raise NotPlain
        model = self._model(chain)
        for name, call in steps[:-1] if last else steps:
            if name not in STEPS or call is None:
                raise NotPlain
            self._look_at(name, call, model)
        if number_of_databases() > 1 and not any(name == "using" for name, _ in steps):
            raise NotPlain
        return model

    def _look_at(self, name: str, call: ast.Call, model: ModelState) -> None:
        match name:
            case "using":
                plain = not call.keywords and [ast.unparse(each) in self.aliases for each in call.args] == [True]
            case "filter" | "exclude":
                plain = not call.args and all(_is_condition(word, model) for word in call.keywords)
            case _:
                given = [*call.args, *(word.value for word in call.keywords)]
                plain = all(isinstance(each, ast.Constant) for each in given)
        if not plain:
            raise NotPlain

    # What is set.

    def _update(self, call: ast.Call) -> Plain:
        chain = self._chain(call)
        model = self._rows(chain, "update")
        values = {str(word.arg): word.value for word in call.keywords}
        if call.args or not values or not all(_is_own(name, model) for name in values):
            raise NotPlain
        if not all(self._is_value(value, _names(model) - values.keys()) for value in values.values()):
            raise NotPlain
        return Plain(chain, {name: ast.unparse(value) for name, value in values.items()})

    def _is_value(self, node: ast.expr, fields: set[str]) -> bool:
        """A literal, or an expression over fields that stay as they are."""
        if isinstance(node, ast.Name):
            return node.id in self.module.constants and _is_literal(self.module.constants[node.id])
        of = self._expression(node.func) if isinstance(node, ast.Call) and not node.keywords else ""
        if not isinstance(node, ast.Call) or not of:
            return _is_literal(node)
        if of == "F":
            return [_text(each) in fields for each in node.args] == [True]
        return all(_is_literal(each) if of == "Value" else self._is_argument(each, fields) for each in node.args)

    def _is_argument(self, node: ast.expr, fields: set[str]) -> bool:
        """A text is the name of a field there."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value in fields
        return self._is_value(node, fields)

    def _expression(self, node: ast.expr) -> str:
        """The name of an expression of Django's: F, or models.F."""
        parts = ast.unparse(node).split(".")
        path = ".".join([self.module.imported.get(parts[0], ""), *parts[1:]])
        return parts[-1] if path.startswith("django.db.models") and parts[-1] in EXPRESSIONS else ""

    # Loops.

    def _loop(self, loop: ast.For) -> Plain:
        chain = self._chain(loop.iter)
        model = self._rows(chain)
        if not isinstance(loop.target, ast.Name) or loop.orelse or len(loop.body) < 2:
            raise NotPlain
        row, values = loop.target.id, dict(self._assigned(loop))
        keys = {f"{name}_id" for name, field in model.fields.items() if field.remote_field}
        scope = Scope(self.module, {"pk", "id", *_names(model), *keys}, frozenset({row}))
        pure = all(is_pure(value, scope) for value in values.values())
        if not pure or scope.read & values.keys() or not all(_is_own(name, model) for name in values):
            raise NotPlain
        self._saves(loop.body[-1], row, values.keys(), model)
        return Plain(chain, {name: ast.unparse(value) for name, value in values.items()}, row)

    def _assigned(self, loop: ast.For) -> Iterator[tuple[str, ast.expr]]:
        for node in loop.body[:-1]:
            match node:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=row), attr=name)], value=value) if (
                    row == loop.target.id  # type: ignore[attr-defined]
                ):
                    yield name, value
                case _:
                    raise NotPlain

    def _saves(self, node: ast.stmt, row: str, names: Any, model: ModelState) -> None:
        """row.save() writes each field, and some of them change themselves then."""
        match node:
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(attr="save", value=ast.Name(id=name)), args=[]) as call
            ) if name == row:
                words = {str(word.arg): word.value for word in call.keywords}
            case _:
                raise NotPlain
        listed = words.pop("update_fields", None)
        if listed is not None and (not _is_literal(listed) or set(ast.literal_eval(listed)) != set(names)):
            raise NotPlain
        if words and (words.keys() != {"using"} or ast.unparse(words["using"]) not in self.aliases):
            raise NotPlain
        has_parent = any(isinstance(base, str) for base in model.bases)
        written = names if listed is not None else model.fields
        if (listed is None and has_parent) or not all(_is_written_as_it_is(model.fields[name]) for name in written):
            raise NotPlain


def _names(model: ModelState) -> set[str]:
    return {name for name in model.fields if _is_own(name, model)}


def _is_own(name: str, model: ModelState) -> bool:
    """Is it a plain column of the model's own table, which can be set and is no relation?"""
    field = model.fields.get(name)
    return field is not None and not field.remote_field and not getattr(field, "generated", False)


def _is_written_as_it_is(field: Field[Any, Any]) -> bool:
    if isinstance(field, DateField | TimeField):
        return not getattr(field, "auto_now", False)
    return type(field).__module__.startswith("django.") and type(field).pre_save is Field.pre_save


def _is_condition(word: ast.keyword, model: ModelState) -> bool:
    name, _, lookup = str(word.arg).partition("__")
    field = model.fields.get(name)
    own = name in ("pk", "id") or (field is not None and not field.remote_field)
    return own and (not lookup or lookup in LOOKUPS) and _is_literal(word.value)


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
