"""A digest of a migration, by which an edited file is noticed later.

A digest has two halves, and a migration is the same as long as one of them is. The first is of the operations as
Django's writer spells them, so it doesn't matter how somebody has written them. Another Django may spell them
otherwise, and then only the second counts. That is of the file's syntax tree, without what makes no difference:
imports, the order of keywords, annotations and docstrings. Both hold the functions of the file.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import django
from django.db.migrations import Migration

from ..checking.source import Source
from ..operations.written import written

LENGTH = 24  # characters of each half; with the version all of it has to fit into 64
UNKNOWN = "-"
ANNOTATIONS = {"annotation", "returns", "type_comment", "type_params", "kind", "ctx"}
OF_STATEMENTS = {"body", "orelse", "handlers", "finalbody", "cases"}


def digest(migration: Migration) -> str:
    """The version of Django, what its writer spells, and what the file says."""
    tree = Source.of(migration).tree
    names = _names(tree)
    code = [_plain(node, names) for node in tree.body if not _is_left_out(node)]
    said = [*code, *(_plain(node, names) for node in _operations(tree))]
    version = ".".join(map(str, django.VERSION[:2]))
    return f"{version} {_hash([*_spelled(migration), *code])} {_hash(said)}"


def is_same(one: str, other: str) -> bool:
    """Do two digests belong to migrations that say the same?

    The answer is also yes if neither half can be compared.
    """
    (version, *halves), (version_now, *halves_now) = one.split(), other.split()
    pairs = list(zip(halves, halves_now, strict=True))
    compared = [pair for pair in pairs[0 if version == version_now else 1 :] if UNKNOWN not in pair]
    return not compared or any(old == new for old, new in compared)


def _spelled(migration: Migration) -> list[str]:
    """The operations as Django's writer spells them; empty if one can't be written, such as one with a lambda."""
    try:
        return [written(operation) for operation in migration.operations]
    except (TypeError, ValueError):
        return []


def _hash(texts: list[str]) -> str:
    joined = "\n".join(texts)
    return hashlib.sha256(joined.encode()).hexdigest()[:LENGTH] if joined else UNKNOWN


# The file.


def _operations(tree: ast.Module) -> Iterator[ast.expr]:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Migration"]
    for node in (node for owner in classes for node in owner.body if isinstance(node, ast.Assign | ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if node.value and any(isinstance(target, ast.Name) and target.id == "operations" for target in targets):
            yield node.value


def _is_left_out(node: ast.AST) -> bool:
    """Imports are left out, as they appear in the names. So is the class Migration, except for its operations."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_class = isinstance(node, ast.ClassDef) and node.name == "Migration"
    return is_text or is_class or isinstance(node, ast.Import | ast.ImportFrom)


def _names(tree: ast.Module) -> dict[str, str]:
    """What the imports of the file call something, and where that comes from."""
    found = dict[str, str]()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found.update({name.asname: name.name for name in node.names if name.asname})
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.update({name.asname or name.name: f"{module}.{name.name}" for name in node.names})
    return found


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All of them, and what holds some, in the order of ast.walk, which takes a while for the expressions, too."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        yield from waiting
        waiting = [
            inner
            for node in waiting
            for field in node._fields
            if field in OF_STATEMENTS
            for inner in getattr(node, field, ())
        ]


def _plain(node: Any, names: Mapping[str, str]) -> str:
    """A node as text, the same in each version of Python."""
    if isinstance(node, list):
        return f"[{' '.join([_plain(one, names) for one in node if not _is_left_out(one)])}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_plain(node.value, names)}.{node.attr}"
    if isinstance(node, ast.Call):
        node.keywords.sort(key=lambda keyword: keyword.arg or "")
    fields = [(name, getattr(node, name, None)) for name in node._fields if name not in ANNOTATIONS]
    parts = [f"{name}={_plain(value, names)}" for name, value in fields if value is not None and value != []]
    return f"{type(node).__name__}({' '.join(parts)})"
