"""An option, such as db_column="id", that makemigrations writes into models.py when a person agrees.

Where the field stands in the class of its model as a call, the option becomes its last argument. A field that Django
makes by itself becomes the first one of the class. Whatever else the source looks like is left alone, and people are
told what to write.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.commands import makemigrations

from ..data import Data
from ..operations.rule import Option
from ..typed import set_on

EDITS = "_edits_of_models"


class Edit(Data):
    """An option of a field, and the file that it belongs into."""

    option: Option
    app_label: str
    path: Path

    def __str__(self) -> str:
        return f"{os.path.relpath(self.path)}: {self.option}"

    def write(self) -> None:
        text = edited(self.path.read_text(), self.option)
        if text:
            self.path.write_text(text)


def edits_of(app_label: str, option: Option) -> list[Edit] | None:
    """The edits that write the option; None if it can't be written."""
    if not option.name:
        return []
    try:
        model = apps.get_model(app_label, option.model_name)
        file = inspect.getsourcefile(sys.modules[model.__module__])
    except (LookupError, TypeError):
        return None
    edit = Edit(option, app_label, Path(file or ""))
    return [edit] if edit.path.is_file() and edited(edit.path.read_text(), option) else None


def edited(source: str, option: Option) -> str:
    """The source with the option; empty if its place isn't found."""
    call = _call(source, option)
    if call is None and option.field:
        return _with_field(source, option)
    if call is None or any(keyword.arg == option.name for keyword in call.keywords):
        return ""
    *given, end = _ends(call)
    line, column = max(given, default=(end[0], end[1] - 1))
    lines = source.encode().splitlines(keepends=True)
    before, after = lines[line - 1][:column], lines[line - 1][column:]
    lines[line - 1] = before + (b", " if given else b"") + option.text.encode() + after
    text = b"".join(lines).decode()
    return text if _has(text, option) else ""


def _with_field(source: str, option: Option) -> str:
    """The source in which the class begins with the whole field."""
    found = _classes(source, option)
    if len(found) != 1 or "models" not in _imported(source):
        return ""
    (model,), lines = found, source.splitlines(keepends=True)
    said = model.body[0] if ast.get_docstring(model) is not None else None
    before = said.end_lineno if said else model.body[0].lineno - 1
    text = "".join([*lines[:before], f"{' ' * model.body[0].col_offset}{option.field}\n", *lines[before:]])
    return text if _has(text, option) else ""


def _imported(source: str) -> set[str]:
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name for node in nodes for alias in node.names}


def _ends(call: ast.Call) -> Iterator[tuple[int, int]]:
    """Where each argument ends, and where the call does: lines from 1, columns in bytes."""
    nodes: list[Any] = [*call.args, *(keyword.value for keyword in call.keywords), call]
    for node in nodes:
        yield node.end_lineno, node.end_col_offset


def _call(source: str, option: Option) -> ast.Call | None:
    """What makes the field, in the class of its model."""
    found = [
        node.value
        for model in _classes(source, option)
        for node in model.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and option.field_name in _names(node)
    ]
    return found[0] if len(found) == 1 and isinstance(found[0], ast.Call) else None


def _classes(source: str, option: Option) -> list[ast.ClassDef]:
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return []
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    return [node for node in classes if node.name.lower() == option.model_name.lower()]


def _names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _has(source: str, option: Option) -> bool:
    call = _call(source, option)
    given = {keyword.arg: keyword.value for keyword in call.keywords} if call else {}
    value = given.get(option.name)
    return isinstance(value, ast.Constant) and value.value == option.value


# The files are written when makemigrations writes its own.


def remember(edits: Iterable[Edit], migrations: dict[str, list[Any]]) -> None:
    """Let the edits of models be written together with the migrations of their app."""
    for edit in edits:
        for migration in migrations.get(edit.app_label, [])[:1]:
            set_on(migration, **{EDITS: [*getattr(migration, EDITS, ()), edit]})


def install() -> None:
    command: Any = makemigrations.Command
    if hasattr(command, EDITS):
        return
    set_on(command, **{EDITS: True})
    for name in ("write_migration_files", "write_to_last_migration_files"):
        set_on(command, **{name: _with_edits(getattr(command, name))})


def _with_edits(stock: Any) -> Any:
    def write(self: Any, changes: dict[str, list[Any]], *args: Any, **kwargs: Any) -> Any:
        written = stock(self, changes, *args, **kwargs)
        for migration in (one for whole in changes.values() for one in whole if not self.dry_run):
            for edit in getattr(migration, EDITS, ()):
                edit.write()
                self.log(f"Written into {edit}")
        return written

    return write
