"""safemigrations eject: a migration with Django's own operations in the place of ours.

A stock operation brings an empty database to the schema that ours ends in when its contract is done. A Backfill becomes
a function that fills what rows earlier migrations may have made.
"""

from __future__ import annotations

import ast
import textwrap
from typing import Any

from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation

from ..hooks.atomicity import is_ours, is_state_only
from ..operations import Backfill, MoveModelIn, MoveModelOut
from ..operations.base import Change
from ..operations.split import is_split
from .elements import Element
from .file import CannotRewrite, Content, MigrationFile
from .fixing import Fix, Written
from .spelling import spelled
from .text import Edit, Places, edited

FROM_MIGRATIONS = "from django.db import migrations"
FILL = """\
def {name}(apps, schema_editor):
    rows = apps.get_model({label!r}, {model!r})._base_manager.using(schema_editor.connection.alias)
{body}


"""
BY_FUNCTION = """\
    for row in rows{where}.iterator():
        values = {function}(row) or {{}}
        for name, value in values.items():
            setattr(row, name, value)
        row.save(using=rows.db, update_fields=list(values))"""
BY_EXPRESSIONS = """\
    fields = {{name: rows.model._meta.get_field(name) for name in {names!r}}}
    given = {values}
    values = {{
        f"new_{{name}}": value if hasattr(value, "resolve_expression") else Value(value, fields[name])
        for name, value in given.items()
    }}
    for row in rows{where}.annotate(**values).iterator():
        for name, field in fields.items():
            setattr(row, field.attname, getattr(row, f"new_{{name}}"))
        row.save(using=rows.db, update_fields=list(fields))"""


def has_ours(operation: Operation) -> bool:
    if is_split(operation):
        return any(map(has_ours, operation.database_operations))
    return isinstance(operation, Change)


class Ejector:
    """Writes one migration anew."""

    def __init__(self, migration: Migration) -> None:
        self.migration, self.file = migration, MigrationFile(migration)
        self.functions, self.imports, self.changes = list[str](), set[str](), list[str]()

    def eject(self) -> Fix:
        listed = list(zip(self.migration.operations, self.file.elements, strict=True))
        written = [self._element(operation, element) for operation, element in listed]
        content = Content(
            operations=written,
            imports=self.imports,
            atomic=self._is_atomic(),
            tail=self.file.tail,
            above="".join(self.functions),
        )
        text = _without_ours(self.file.with_content(content))
        files = [Written(self.file.path, self.file.raw, text)]
        return Fix(self.migration.app_label, self.migration.name, self.file.name, files, self.changes, [])

    def _is_atomic(self) -> bool:
        """Is it atomic again, as only our operations spoke against it? A Backfill stays apart from the schema."""
        operations = self.migration.operations
        only_ours = all(is_ours(each) or is_state_only(each) for each in operations)
        return self.migration.atomic or (only_ours and not any(isinstance(each, Backfill) for each in operations))

    def _element(self, operation: Any, element: Element) -> Element:
        if isinstance(operation, MoveModelIn | MoveModelOut):
            raise CannotRewrite("Django has no operation that moves a model to another app")
        if not has_ours(operation):
            return element
        self.changes.append(operation.describe())
        if isinstance(operation, Backfill):
            code = self._fill(operation, element)
        else:
            new = spelled(_stock(operation), operation, element.code, element.indent)
            self.imports |= new.imports
            code = new.code
        return Element(code, element.lead, element.remark, element.indent)

    # Backfill

    def _fill(self, operation: Backfill, element: Element) -> str:
        arguments = _arguments(element.code)
        if "set" not in arguments:
            raise CannotRewrite("the arguments of its Backfill aren't written out")
        taken = {text.partition("(")[0].removeprefix("def ") for text in self.functions}
        name = self.file.free_name(f"fill_{operation.model_name.lower()}", taken)
        where = f".filter({arguments['where']})" if arguments.get("where", "None") != "None" else ""
        if callable(operation.set):
            body = BY_FUNCTION.format(where=where, function=arguments["set"])
        else:
            self.imports.add("from django.db.models import Value")
            body = BY_EXPRESSIONS.format(where=where, values=arguments["set"], names=list(operation.set))
        label, model = self.migration.app_label, operation.model_name
        self.functions.append(FILL.format(name=name, label=label, model=model, body=body))
        self.imports.add(FROM_MIGRATIONS)
        elidable = ", elidable=True" if operation.elidable else ""
        return f"migrations.RunPython({name}, migrations.RunPython.noop{elidable})"


def _stock(operation: Any) -> Operation:
    """Django's operation, and in the place of one that wraps ours such a one with Django's."""
    if isinstance(operation, Change):
        return operation.stock
    inner = [_stock(each) if has_ours(each) else each for each in operation.database_operations]
    return migrations.SeparateDatabaseAndState(database_operations=inner, state_operations=operation.state_operations)


def _arguments(code: str) -> dict[str, str]:
    """What Backfill is given, as it is written."""
    places, call = Places(f"({code})"), ast.parse(f"({code})", mode="eval").body
    if not isinstance(call, ast.Call):
        return {}
    given = dict(zip(("model_name", "set", "where"), call.args, strict=False))
    given |= {word.arg: word.value for word in call.keywords if word.arg}
    return {name: textwrap.dedent(places.of(value)) for name, value in given.items()}


def _without_ours(text: str) -> str:
    """The file without an import of all our operations, of which nobody can say what it was for."""
    places = Places(text)
    ours = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and node.module == "safemigrations.operations" and node.names[0].name == "*"
    ]
    return edited(
        text, [Edit(places.line_start(node.lineno), places.after_line(node.end_lineno or 1), "") for node in ours]
    )
