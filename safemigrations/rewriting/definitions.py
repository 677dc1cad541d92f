"""Removes functions, constants and imports at the top of a file together with their last use."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .imports import spelled
from .text import Edit, Places, edited

Import = ast.Import | ast.ImportFrom


def without_unused(text: str, before: str) -> str:
    """The text without what the former text used and this one doesn't."""
    gone = _used(ast.parse(before)) - _used(ast.parse(text))
    return edited(text, _removals(ast.parse(text), Places(text), gone)) if gone else text


def _names_given(node: ast.stmt) -> set[str]:
    """The names that a statement at the top defines or imports; empty for one that does something else."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return {node.name}
        case ast.ClassDef():
            return {node.name} - {"Migration"}
        case ast.Assign():
            return {target.id for target in node.targets if isinstance(target, ast.Name)}
        case ast.AnnAssign() if isinstance(node.target, ast.Name):
            return {node.target.id}
        case ast.Import() | ast.ImportFrom():
            return {_bound(alias) for alias in node.names}
    return set()


def _bound(alias: ast.alias) -> str:
    """The name that an import binds, with its dots: `import a.b` and `import a.c` are two."""
    return alias.asname or alias.name


def _used(tree: ast.Module) -> set[str]:
    """The names of the top that the migration needs, or whatever else the file does."""
    given = {name: node for node in tree.body for name in _names_given(node)}
    used, left = set[str](), [node for node in tree.body if not _names_given(node)]
    while left:
        read = set(_read(left.pop()))
        new = {name for name in given if name in read} - used
        used |= new
        left += [given[name] for name in new if not isinstance(given[name], Import)]
    return used


def _read(node: ast.AST) -> Iterator[str]:
    """The names in a tree, those with dots in all their lengths."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield ast.unparse(each)


def _removals(tree: ast.Module, places: Places, gone: set[str]) -> Iterator[Edit]:
    for node in tree.body:
        names = _names_given(node)
        if not names & gone:
            continue
        if names <= gone:
            yield _whole(node, places)
        elif isinstance(node, Import) and "#" not in places.of(node):
            kept = [alias for alias in node.names if _bound(alias) not in gone]
            yield Edit(places.start(node), places.end(node), spelled(node, kept))


def _whole(node: ast.stmt, places: Places) -> Edit:
    """Remove the statement with its decorators, and with the comments and the empty lines above it."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    if not isinstance(node, Import):
        while first > 1 and places.lines[first - 2].startswith("#"):
            first -= 1
        while first > 1 and not places.lines[first - 2].strip():
            first -= 1
    return Edit(places.line_start(first), places.after_line(node.end_lineno or node.lineno), "")
