"""Finds the syntax tree of whatever RunPython is given: a function, a lambda, a partial or a callable object."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...data import Data
from ..source import Source
from .functions import Function, Module, Unreadable

SCOPES = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Called(Data):
    """`values`: what is known of its names where it is called, by partial(), a closure, or `self`."""

    module: Module
    function: Function
    values: Mapping[str, Any]


def read(function: Callable[..., Any]) -> Called:
    """Raises Unreadable where the source can't be found, or where the callable is given further functions to call."""
    given: dict[str, Any] = {}
    arguments: list[Any] = []
    while isinstance(function, functools.partial):
        given, arguments = {**function.keywords, **given}, [*function.args, *arguments]
        function = function.func
    given |= _of_owner(function)
    plain: Any = inspect.unwrap(_plain(function))
    if not inspect.isfunction(plain):
        raise Unreadable(f"{function!r} is no plain function")
    module = Module(Source(plain.__module__))
    tree = _tree_of(plain, module)
    given |= dict(zip((each.arg for each in tree.args.args), arguments, strict=False)) | dict(_of_closure(plain))
    if more := [name for name, value in given.items() if callable(value) and not inspect.isclass(value)]:
        raise Unreadable(f"{plain.__name__} is given {more[0]} to call")
    return Called(module, tree, given)


def _plain(function: Any) -> Any:
    """The function of a method, or of an object that can be called."""
    if inspect.ismethod(function):
        return function.__func__
    return function if inspect.isfunction(function) or inspect.isclass(function) else type(function).__call__


def _of_owner(function: Any) -> dict[str, Any]:
    """The attributes of the object that a method belongs to, or of the callable object itself."""
    owner = function.__self__ if inspect.ismethod(function) else function
    if inspect.isfunction(owner) or inspect.isclass(owner):
        return {}
    return {f"self.{name}": value for name, value in getattr(owner, "__dict__", {}).items()}


def _of_closure(function: Any) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def _tree_of(function: Any, module: Module) -> Function:
    if function.__name__ == "<lambda>":
        return _lambda(function, module)
    node: Any = module.source.tree
    for name in function.__qualname__.replace("<locals>.", "").split("."):
        inner = (each for each in ast.walk(node) if isinstance(each, SCOPES) and each.name == name)
        node = next(inner, None)
        if node is None:
            raise Unreadable(f"{function.__qualname__} isn't found in {module.source.name}")
    return node  # type: ignore[no-any-return]


def _lambda(function: Any, module: Module) -> Function:
    line = function.__code__.co_firstlineno
    found = [node for node in ast.walk(module.source.tree) if isinstance(node, ast.Lambda) and node.lineno == line]
    if len(found) != 1:
        raise Unreadable(f"which lambda of line {line} it is can't be told")
    body = ast.copy_location(ast.Return(found[0].body), found[0].body)
    return ast.copy_location(ast.FunctionDef("lambda", found[0].args, [body], []), found[0])
