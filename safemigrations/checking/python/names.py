"""Follows the names in a function: which models and querysets they stand for, as far as the function says."""

from __future__ import annotations

import ast
import re
from dataclasses import field, replace

from django.conf import settings

from ...data import Data
from ...plans.tables import db_table_of
from ..scene import FEW, Scene
from . import loops, outside, relations
from .chains import ENDS, Chain, chain_of
from .functions import Function, Lookup, Module
from .texts import MOST, Texts

FEW_ROWS = r'(?i)\bLIMIT\b|\bWHERE\s+([\w"]+\.)?"?id"?\s*(=|IN\b)'
TAKES_ALL = {"list", "set", "tuple", "sorted", "len"}


class Given(Data, frozen=False):
    """What calls give to the parameters of a function: models and rows, and texts."""

    rows: dict[str, Chain] = field(default_factory=dict)
    values: dict[str, list[ast.expr]] = field(default_factory=dict)


Passed = dict[Function, Given]


class Names(ast.NodeVisitor):
    """Follows the names while it walks through a function."""

    def __init__(self, module: Module, function: Function, scene: Scene, passed: Passed) -> None:
        self.module, self.scene, self.passed = module, scene, passed
        self.lookup = Lookup.of(module, function)
        self.imported = self.lookup.imported
        self.known: dict[str, Chain] = {
            name: Chain("", path.rpartition(".")[2], live=True)
            for name, path in self.imported.items()
            if outside.is_live_model(name, path)
        }
        self._add_what_is_live(function)
        self.values: dict[str, list[ast.expr]] = {name: [value] for name, value in module.constants.items()}
        self.take(function)
        self.texts = Texts(lambda name: self.values.get(name, []), self._table_of)

    def _add_what_is_live(self, function: Function) -> None:
        """What stands for models of today's code, and has another name."""
        parameters = {each.arg for each in function.args.args}
        for name, path in self.imported.items():
            if path == "django.contrib.auth.get_user_model":
                app_label, _, model = str(settings.AUTH_USER_MODEL).partition(".")
                self.known[f"{name}()"] = Chain(app_label, model, live=True)
            elif path == "django.apps.apps" and name not in parameters:
                self.known[name] = Chain("", "apps", live=True)

    def chain(self, node: ast.AST) -> Chain | None:
        """The model or queryset that an expression gives."""
        found = self._chain_or_row(node)
        return relations.of_a_row(found, self.scene) if found and found.row else found

    def _chain_or_row(self, node: ast.AST) -> Chain | None:
        return chain_of(node, self._known, self._one_text)

    def _known(self, node: ast.AST) -> Chain | None:
        match node:
            case ast.Name(id=name):
                return self.known.get(name)
            case ast.Call(func=ast.Name(id=name)):
                return self.known.get(f"{name}()")
            case ast.Attribute(attr=name) if name[:1].isupper():
                path = outside.full_name(node, self.imported)
                return Chain("", name, live=True) if outside.is_live_model(name, path) else None
        return None

    def _one_text(self, node: ast.expr) -> str:
        """The text of an expression; the first one, where a loop gives several."""
        return next(iter(self.texts.of(node) or ()), "")

    def pass_on(self, node: ast.Call, function: Function) -> None:
        """What the parameters of a function stand for, which is read later."""
        names = loops.parameters(function)
        given = [*zip(names, node.args, strict=False), *((str(word.arg), word.value) for word in node.keywords)]
        to = self.passed.setdefault(function, Given())
        for name, value in given:
            if found := self._chain_or_row(value) or self._made_of_rows(value):
                to.rows[name] = found
            texts = self.texts.of(value)
            to.values.setdefault(name, []).extend([value] if texts is None else map(ast.Constant, texts))

    def wider(self, one: dict[str, Chain], other: dict[str, Chain]) -> dict[str, Chain]:
        """What a name stands for after two branches; where the branches differ, the less limited queryset."""
        both = {name: min(one[name], other[name], key=lambda chain: len(chain.calls)) for name in one.keys() & other}
        return {**one, **other, **both}

    def take(self, function: Function) -> None:
        """What its parameters stand for, once it is known who calls it."""
        given = self.passed.get(function, Given())
        self.known.update(given.rows)
        self.values.update(given.values)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._name(target.id, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._name(node.target.id, node.value)
        self.generic_visit(node)

    def _name(self, name: str, value: ast.expr) -> None:
        self.values[name] = [value]
        self._rows(name, self.chain(value) or self._made_of_rows(value))

    def _rows(self, name: str, found: Chain | None) -> None:
        if found:
            self.known[name] = found
        else:
            self.known.pop(name, None)

    def _made_of_rows(self, value: ast.expr) -> Chain | None:
        """What list(Order.objects.all()), [... for order in Order.objects.all()] or a Paginator of them gives."""
        if isinstance(value, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            rows = self.query(value.generators[0].iter)
            return replace(rows, calls=(*rows.calls, ("list", None))) if rows else None
        if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.args):
            return None
        rows = self.chain(value.args[0])
        if rows and value.func.id == "Paginator":
            return replace(rows, sliced=True)
        return replace(rows, calls=(*rows.calls, ("list", None))) if rows and value.func.id in TAKES_ALL else None

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """sql += "..." """
        if isinstance(node.target, ast.Name):
            name = node.target.id
            self.values[name] = [ast.BinOp(each, node.op, node.value) for each in self.values.get(name, [])]
        self.generic_visit(node)

    def pages_of(self, node: ast.For) -> None:
        """The name that a loop gives to rows, or to pages of them."""
        if isinstance(node.target, ast.Name):
            pages, rows = self._made_of_rows(node.iter), self.chain(node.iter)
            row = Chain(rows.app_label, rows.model, live=rows.live, row=True) if rows and rows.is_query else None
            self._rows(node.target.id, pages if pages and pages.sliced else row)

    def models_of(self, values: dict[str, list[ast.expr]]) -> None:
        """The names that a loop gives to models: for model in (Order, Customer)."""
        for name, given in values.items():
            if given and (found := self.chain(given[0])):
                self.known[name] = found

    def rounds_of(self, node: ast.For) -> list[dict[str, list[ast.expr]]]:
        """What the names of a loop stand for, round by round, where the file lists them; else one round of anything."""
        names = loops.names_in(node.target)
        listed = self._listed(node.iter)
        if not 0 < len(listed) <= MOST or any(len(each) != len(names) for each in listed):
            return [{name: [] for name in names}]
        return [{name: [value] for name, value in zip(names, each, strict=True)} for each in listed]

    def _listed(self, node: ast.expr) -> list[list[ast.expr]]:
        """The elements of a list, or of the items of a dictionary, each as what a target unpacks."""
        match node:
            case ast.Name(id=name) if len(values := self.values.get(name, [])) == 1 and values[0] is not node:
                return self._listed(values[0]) if not isinstance(values[0], ast.Name) else []
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return [each.elts if isinstance(each, ast.Tuple | ast.List) else [each] for each in elements]
            case ast.Call(func=ast.Attribute(attr="items", value=ast.Dict(keys=keys, values=values))):
                return [[key, value] for key, value in zip(keys, values, strict=True) if key is not None]
        return []

    def is_a_batch(self, found: Chain) -> bool:
        """Is the queryset limited, other than by the keys of another query that isn't limited?"""
        words = [word for _, call in found.conditions for word in call.keywords if word.arg in ("pk__in", "id__in")]
        keys = [self.chain(word.value) for word in words]
        return found.is_a_batch and (
            found.sliced or not any(each and each.is_query and not each.sliced for each in keys)
        )

    def _table_of(self, node: ast.expr) -> str | None:
        found = self.chain(node)
        model = self.scene.model(found.app_label, found.model) if found else None
        return db_table_of(model) if model else None

    def is_new(self, chain: Chain) -> bool:
        """Does the migration create the model's table, or is the table small and never locked by requests?"""
        if chain.live:
            return False
        model = self.scene.model(chain.app_label, chain.model)
        return model is None or db_table_of(model) in FEW or self.scene.is_new(db_table_of(model))

    def unique(self, chain: Chain) -> set[str]:
        model = self.scene.model(chain.app_label, chain.model)
        return {name for name, field in model.fields.items() if field.unique} if model else set()

    def query(self, node: ast.AST) -> Chain | None:
        """A query over possibly many rows of a table that requests use."""
        found = self.chain(node)
        if found is None or not found.is_query or self.is_new(found) or found.is_one_row(self.unique(found)):
            return None
        ends = any(name in ENDS or (name == "in_bulk" and call and call.args) for name, call in found.calls)
        return None if ends or self._is_raw_of_few(found) else found

    def _is_raw_of_few(self, found: Chain) -> bool:
        """Order.objects.raw("SELECT ... WHERE id = 1")"""
        texts = [self._one_text(call.args[0]) for name, call in found.calls if name == "raw" and call and call.args]
        return any(re.search(FEW_ROWS, text) for text in texts)
