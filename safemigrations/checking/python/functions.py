"""Functions as syntax trees: those of a module, and what the names in one of them lead to."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, Self

from django.apps import apps

from ...data import Data
from ..source import Source

Function = ast.FunctionDef | ast.AsyncFunctionDef
MOST_IMPORTS = 5  # from a module that imports it again
OF_OTHERS = {"site-packages", "dist-packages"}


class Unreadable(Exception):
    """Says why a function can't be read."""


class Module:
    """A file that a function stands in: its functions, what it imports, and its constants."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.functions = {node.name: node for node in source.tree.body if isinstance(node, Function)}
        self.methods = dict(_methods(source.tree))
        self.imported = dict(imports_in(source.tree.body, source.package))
        self.constants = {
            target.id: node.value
            for node in source.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def named(self, path: str, depth: int = 0) -> Named | None:
        """The function that an import leads to, if its file belongs to the project."""
        module, _, name = path.rpartition(".")
        found = module_of(module) if module and depth < MOST_IMPORTS else None
        if found is None:
            return None
        if name in found.functions:
            return found, found.functions[name]
        return self.named(found.imported[name], depth + 1) if name in found.imported else None


Named = tuple[Module, Function]


def _methods(tree: ast.AST) -> Iterator[tuple[Function, dict[str, Function]]]:
    """Each method, with those of its class as it calls them."""
    for owner in ast.walk(tree):
        if isinstance(owner, ast.ClassDef):
            own = [node for node in owner.body if isinstance(node, Function)]
            called = {f"{first}.{node.name}": node for node in own for first in ("self", "cls", owner.name)}
            yield from ((node, called) for node in own)


def module_of(name: str) -> Module | None:
    """The module of this name, read and not imported; None where its file doesn't lie beside an app of the project."""
    for root in _roots():
        at = root.joinpath(*name.split("."))
        for path in (at.with_name(f"{at.name}.py"), at / "__init__.py"):
            if path.is_file():
                return _read(name, path, path.stat().st_mtime_ns)
    return None


def _roots() -> Iterator[Path]:
    """The folders that the project's packages lie in."""
    paths = [(Path(config.path), config.name.count(".")) for config in apps.get_app_configs()]
    own = [path.parents[depth] for path, depth in paths if OF_OTHERS.isdisjoint(path.parts)]
    yield from dict.fromkeys(own)


@functools.lru_cache(maxsize=200)
def _read(name: str, path: Path, changed: int) -> Module:
    return Module(Source(name, path))


class Lookup(Data):
    """Finds what a name in a function refers to.

    That is an inner function, a method of its class, a function of its module, or an imported one.
    """

    module: Module
    imported: dict[str, str]
    inner: dict[str, Function] = field(default_factory=dict)

    @classmethod
    def of(cls, module: Module, function: Function) -> Self:
        imported = {**module.imported, **dict(imports_in(function.body, module.source.package))}
        return cls(module, imported, dict(module.methods.get(function, {})))

    def find(self, name: str) -> tuple[Lookup, Function] | None:
        """`name` has a dot for a method of the same class, and for a member of an imported module."""
        if name in self.inner:
            return self, self.inner[name]
        found = self._named(name)
        return (Lookup.of(*found), found[1]) if found else None

    def _named(self, name: str) -> Named | None:
        if name in self.module.functions:
            return self.module, self.module.functions[name]
        head, dot, rest = name.partition(".")
        return self.module.named(f"{self.imported[head]}{dot}{rest}") if head in self.imported else None


def imports_in(body: list[ast.stmt], package: str = "") -> Iterator[tuple[str, str]]:
    """The names that imports give, each with what it stands for: ("Order", "shop.models.Order")."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom):
            of = _absolute(node, package)
            for alias in node.names:
                yield alias.asname or alias.name, f"{of}.{alias.name}"


def _absolute(node: ast.ImportFrom, package: str) -> str:
    relative = f"{'.' * node.level}{node.module or ''}"
    try:
        return importlib.util.resolve_name(relative, package) if package else relative
    except ImportError:
        return relative


def dotted(node: ast.AST) -> str:
    """ "mail.send" of such an expression; empty for any other."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def read(function: Callable[..., Any]) -> Named:
    """Raises Unreadable where there is no text of a plain function."""
    function = inspect.unwrap(function)
    if not inspect.isfunction(function):
        raise Unreadable(f"{function!r} is no plain function")
    module = Module(Source(function.__module__))
    found = module.functions.get(function.__name__)
    if found is None:
        raise Unreadable(f"{function.__name__} isn't a function at the top of {module.source.name}")
    return module, found


def with_those_that_it_calls(module: Module, function: Function) -> list[Named]:
    """The function, and every function of the project that it calls or passes on."""
    reached: dict[Function, Module] = {}
    left: list[Named] = [(module, function)]
    while left:
        of, one = left.pop()
        if one not in reached:
            reached[one] = of
            lookup = Lookup.of(of, one)
            names = {dotted(node) for node in ast.walk(one) if isinstance(node, ast.Name | ast.Attribute)}
            found = [lookup.find(name) for name in sorted(names - {""})]
            left += [(there.module, other) for there, other in filter(None, found)]
    return [(of, one) for one, of in reached.items()]
