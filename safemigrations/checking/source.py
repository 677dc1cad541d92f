"""The file of a migration: its name for people, its text, and the line on which something stands."""

from __future__ import annotations

import ast
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from django.db.migrations import Migration


class Source:
    """The file that a migration, or a function of one, was imported from."""

    def __init__(self, module: str, path: Path | None = None) -> None:
        """`path`: where a module lies that wasn't imported."""
        self.module = module
        imported = getattr(sys.modules.get(module), "__file__", None)
        self.path = path or Path(imported or f"{module.rpartition('.')[2]}.py")

    @classmethod
    def of(cls, migration: Migration) -> Source:
        return cls(type(migration).__module__)

    @property
    def name(self) -> str:
        """The path of the file, as a person would type it at the terminal."""
        here = Path.cwd()
        return str(self.path.relative_to(here)) if self.path.is_relative_to(here) else str(self.path)

    @property
    def package(self) -> str:
        """The package that its relative imports start from."""
        return self.module if self.path.name == "__init__.py" else self.module.rpartition(".")[0]

    @cached_property
    def text(self) -> str:
        try:
            return self.path.read_text()
        except (OSError, UnicodeDecodeError):
            return ""

    @cached_property
    def tree(self) -> ast.Module:
        """Empty where the file can't be read as Python."""
        try:
            return ast.parse(self.text)
        except (SyntaxError, ValueError):
            return ast.Module(body=[], type_ignores=[])

    def line_of(self, index: int | None) -> int:
        """Where the operation of this index begins, or allow_unsafe for None; 1 where the list is built otherwise."""
        if index is None:
            return self.line_of_attribute("allow_unsafe")
        value = self._values.get("operations")
        elements = getattr(value, "elts", ())
        return int(elements[index].lineno) if index < len(elements) else 1

    def line_of_attribute(self, name: str) -> int:
        """Where an attribute of the class Migration gets its value; 1 where that is nowhere."""
        value = self._values.get(name)
        return int(value.lineno) if value is not None else 1

    def lines_of_sql(self, index: int) -> list[int]:
        """Where each text of a RunSQL begins; empty where it isn't written in the operation."""
        elements = getattr(self._values.get("operations"), "elts", ())
        if index >= len(elements) or not isinstance(elements[index], ast.Call):
            return []
        call = elements[index]
        sql = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "sql")]
        texts = sql[0].elts if sql and isinstance(sql[0], ast.List | ast.Tuple) else sql
        first = [text.elts[0] if isinstance(text, ast.Tuple | ast.List) and text.elts else text for text in texts]
        return [text.lineno for text in first] if all(isinstance(text, ast.Constant) for text in first) else []

    @cached_property
    def _values(self) -> dict[str, Any]:
        """What the attributes of the class Migration are set to."""
        classes = [node for node in self.tree.body if isinstance(node, ast.ClassDef) and node.name == "Migration"]
        return {
            target.id: node.value
            for owner in classes
            for node in owner.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
