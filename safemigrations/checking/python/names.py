"""What the names of a function stand for: models and querysets, as far as that is written in it."""

from __future__ import annotations

import ast
from dataclasses import replace

from ...plans.tables import db_table_of
from ..scene import Scene
from . import functions, outside
from .chains import Chain, chain_of
from .functions import Function, Module

TAKES_ALL = {"list", "set", "tuple", "sorted", "len"}


class Names(ast.NodeVisitor):
    """Follows the names while it walks through a function."""

    def __init__(self, module: Module, function: Function, scene: Scene) -> None:
        self.module, self.scene = module, scene
        self.imported = {**module.imported, **dict(functions.imports_in(function.body))}
        self.known: dict[str, Chain] = {
            name: Chain("", path.rpartition(".")[2], live=True)
            for name, path in self.imported.items()
            if outside.is_live_model(name, path)
        }
        self.constants = dict(module.constants)

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
