"""The imports of a file: adds those that new operations need, and removes unused ones."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from .text import Edit, Places, edited

LINE = 88  # as long as a line of Black


def with_imports(text: str, wanted: Iterable[str]) -> str:
    """Each is a statement that imports one name, as Django's writer gives them."""
    for statement in sorted(wanted, key=lambda statement: statement.split()[1]):
        text = _with(text, statement)
    return text


def _with(text: str, statement: str) -> str:
    (wanted,) = ast.parse(statement).body
    tree, places = ast.parse(text), Places(text)
    there = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    if any(_gives(node, wanted) for node in there):
        return text
    for node in there:
        if isinstance(wanted, ast.ImportFrom) and _can_take(node, wanted, places):
            assert isinstance(node, ast.ImportFrom)
            names = [*node.names, *wanted.names]
            return edited(text, [Edit(places.start(node), places.end(node), spelled(node, names))])
    return edited(text, [_new_line(statement, wanted, there, tree, places)])


def _gives(node: ast.stmt, wanted: ast.stmt) -> bool:
    """Does the import give the same object the same name?"""
    same = type(node) is type(wanted) and getattr(node, "module", None) == getattr(wanted, "module", None)
    names = {(alias.name, alias.asname) for alias in getattr(node, "names", ())}
    return same and {(alias.name, alias.asname) for alias in getattr(wanted, "names", ())} <= names


def _can_take(node: ast.stmt, wanted: ast.ImportFrom, places: Places) -> bool:
    """Is it an import from the same module, in which no comment would be lost?"""
    return (
        isinstance(node, ast.ImportFrom)
        and (node.module, node.level) == (wanted.module, wanted.level)
        and "#" not in places.of(node)
        and node.names[0].name != "*"
    )


def _new_line(
    statement: str, wanted: ast.stmt, there: list[ast.Import | ast.ImportFrom], tree: ast.Module, places: Places
) -> Edit:
    """Below the last import that comes before it in the alphabet."""
    future = [node for node in there if getattr(node, "module", "") == "__future__"]
    before = [node for node in there if node in future or _module(node) <= _module(wanted)]
    if before:
        at = places.after_line(before[-1].end_lineno or 1)
    elif there:
        at = places.line_start(there[0].lineno)
    else:
        has_docstring = ast.get_docstring(tree) is not None
        at = places.after_line(tree.body[0].end_lineno or 1) if has_docstring else 0
    return Edit(at, at, f"{statement}\n")


def _module(node: ast.stmt) -> str:
    return str(getattr(node, "module", "") or getattr(node, "names", [ast.alias("")])[0].name)


def spelled(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> str:
    """The import with these names, on one line if it fits."""
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import(names))
    ordered = sorted({ast.unparse(alias) for alias in names})
    head = f"from {'.' * node.level}{node.module or ''} import "
    line = f"{head}{', '.join(ordered)}"
    return line if len(line) <= LINE else f"{head}(\n{''.join(f'    {name},{chr(10)}' for name in ordered)})"
