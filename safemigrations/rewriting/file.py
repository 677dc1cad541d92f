"""The file of a migration: its operations as they are written, and the file with others in their place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.migrations import Migration

from ..checking.source import Source
from ..data import Data
from . import elements
from .definitions import without_unused
from .elements import Element
from .imports import with_imports
from .text import Edit, Places, edited

Keys = list[tuple[str, str]]


class CannotRewrite(Exception):
    """Says why a file stays as it is."""


class Content(Data):
    """The new content of a file. None leaves an attribute of the class unchanged."""

    operations: list[Element]
    imports: set[str]
    atomic: bool = True
    reason: str = ""  # of atomic = False, for the next reader
    dependencies: Keys | None = None
    same_release: Keys | None = None
    keeps: Callable[[str, Any], bool] | None = None  # is a decision about an id, and an operation, still needed?
    tail: str = ""  # comments below the last operation
    above: str = ""  # functions that come before the class
    is_last: bool = True


class MigrationFile:
    """Raises CannotRewrite where the operations aren't written out one by one."""

    def __init__(self, migration: Migration) -> None:
        source = Source.of(migration)
        self.path, self.name, self.migration = source.path, source.name, migration
        self.raw = self.path.read_bytes().decode()
        self.newline = "\r\n" if "\r\n" in self.raw else "\n"
        self.text = self.raw.replace("\r\n", "\n")
        self.places = Places(self.text)
        self.owner = self._class()
        value = self._value("operations")
        if not isinstance(value, ast.List) or len(value.elts) != len(migration.operations):
            raise CannotRewrite("its operations aren't written as a plain list")
        self.elements, self.tail = elements.read(self.places.of(value))

    def _class(self) -> ast.ClassDef:
        try:
            tree = ast.parse(self.text)
        except SyntaxError as error:
            raise CannotRewrite("it can't be read as Python") from error
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == "Migration":
                return node
        raise CannotRewrite("it has no class Migration of its own")

    def _statement(self, name: str) -> ast.Assign | None:
        for node in self.owner.body:
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == name for target in node.targets):
                return node
        return None

    def _value(self, name: str) -> Any:
        statement = self._statement(name)
        return statement.value if statement else None

    def free_name(self, wanted: str, taken: Iterable[str] = ()) -> str:
        """One that the file doesn't have yet."""
        tree = ast.parse(self.text)
        there = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | set(taken)
        there |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        names = (f"{wanted}_{number}" if number else wanted for number in range(len(there) + 1))
        return next(name for name in names if name not in there)

    def with_content(self, content: Content) -> str:
        """The whole file; what belongs to operations that were moved elsewhere goes with them."""
        text = edited(self.text, [*self._attributes(content), *self._operations(content)])
        text = with_imports(without_unused(text, self.text), content.imports)
        return text if self.newline == "\n" else text.replace("\n", self.newline)

    def _operations(self, content: Content) -> Iterator[Edit]:
        value = self._value("operations")
        written = elements.as_list(content.operations, content.tail)
        yield Edit(self.places.start(value), self.places.end(value), written)

    def _attributes(self, content: Content) -> Iterator[Edit]:
        yield from self._atomic(content)
        if content.above:
            at = self.places.line_start(self._first_line(self.owner.lineno))
            yield Edit(at, at, content.above)
        if content.dependencies is not None:
            yield from self._set("dependencies", self._listed(content.dependencies))
        if content.same_release:
            remark = "" if self._statement("same_release") else "  # no other release uses their tables"
            yield from self._set("same_release", self._listed(content.same_release), remark)
        if content.keeps:
            yield from self._decisions(content.keeps)
        if not content.is_last and (statement := self._statement("run_before")):
            yield self._without(statement)

    def _atomic(self, content: Content) -> Iterator[Edit]:
        if content.atomic == self.migration.atomic:
            return
        statement = self._statement("atomic")
        if not content.atomic:
            yield from self._set("atomic", "False", f"  # {content.reason}" if content.reason else "", first=True)
        elif statement:
            yield self._without(statement)

    def _set(self, name: str, value: str, remark: str = "", *, first: bool = False) -> Iterator[Edit]:
        """Set the attribute where it is; a new one is added at the beginning of the class, or before the operations."""
        if there := self._value(name):
            yield Edit(self.places.start(there), self.places.end(there), value)
            return
        after_docstring = bool(ast.get_docstring(self.owner, clean=False))
        wanted: Any = self.owner.body[int(after_docstring)] if first else self._statement("operations")
        at = self.places.line_start(self._first_line(wanted.lineno) if first else wanted.lineno)
        yield Edit(at, at, f"    {name} = {value}{remark}\n\n")

    def _listed(self, keys: Keys) -> str:
        """The keys as a list, with the quotes that the file has for its dependencies."""
        there = self._value("dependencies")
        quote = "'" if there is not None and "'" in self.places.of(there) else '"'
        return f"[{', '.join(f'({quote}{label}{quote}, {quote}{name}{quote})' for label, name in keys)}]"

    def _first_line(self, line: int) -> int:
        """The line with the comments right above it."""
        while line > 1 and self.places.lines[line - 2].lstrip().startswith("#"):
            line -= 1
        return line

    def _without(self, statement: ast.stmt) -> Edit:
        """The edit that removes the statement and the empty line below it."""
        last = statement.end_lineno or statement.lineno
        last += not self.places.lines[last].strip()
        return Edit(self.places.line_start(statement.lineno), self.places.after_line(last), "")

    # allow_unsafe

    def _decisions(self, keeps: Callable[[str, Any], bool]) -> Iterator[Edit]:
        statement = self._statement("allow_unsafe")
        if statement is None:
            return
        kept = _kept(statement.value, keeps)
        if kept is None:
            yield self._without(statement)
        elif kept is not statement.value:
            yield Edit(self.places.start(statement.value), self.places.end(statement.value), ast.unparse(kept))


def _kept(value: ast.expr, keeps: Callable[[str, Any], bool]) -> ast.expr | None:
    """The dictionary of decisions with those that are kept; None where none is."""
    if not isinstance(value, ast.Dict):
        return value
    pairs = [(key, _kept_of(key, each, keeps)) for key, each in zip(value.keys, value.values, strict=True)]
    kept = [(key, each) for key, each in pairs if each is not None]
    if [each for _, each in kept] == value.values:
        return value
    return ast.Dict([key for key, _ in kept], [each for _, each in kept]) if kept else None


def _kept_of(key: ast.expr | None, value: ast.expr, keeps: Callable[[str, Any], bool]) -> ast.expr | None:
    if not isinstance(key, ast.Constant):
        return value
    if isinstance(value, ast.Dict):
        return _kept(value, lambda name, _: keeps(str(key.value), name))
    return value if keeps(str(key.value), None) else None
