"""From the function that RunPython is given to its syntax tree, and to those that it calls in the same module."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from ..source import Source

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Unreadable(Exception):
    """Why a function can't be read."""


class Module:
    """A file that a function stands in: its functions, what it imports, and its constants."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.functions = {node.name: node for node in source.tree.body if isinstance(node, Function)}
        self.imported = dict(imports_in(source.tree.body))
        self.constants = {
            target.id: node.value
            for node in source.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }


def imports_in(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """The names that imports give, each with what it stands for: ("Order", "shop.models.Order")."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom):
            package = f"{'.' * node.level}{node.module or ''}"
            for alias in node.names:
                yield alias.asname or alias.name, f"{package}.{alias.name}"


def read(function: Callable[..., Any]) -> tuple[Module, Function]:
    """Raises Unreadable where there is no text of a plain function."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isfunction(function):
        raise Unreadable(f"{function!r} is no plain function")
    module = Module(Source(function.__module__))
    found = module.functions.get(function.__name__)
    if found is None:
        raise Unreadable(f"{function.__name__} isn't a function at the top of {module.source.name}")
    return module, found


def with_those_that_it_calls(module: Module, function: Function) -> list[Function]:
    """The function, and whatever it calls or passes on that stands in the same module."""
    reached: dict[str, Function] = {}
    left = [function]
    while left:
        one = left.pop()
        if one.name not in reached:
            reached[one.name] = one
            names = {node.id for node in ast.walk(one) if isinstance(node, ast.Name)}
            left += [module.functions[name] for name in sorted(names & module.functions.keys())]
    return list(reached.values())
