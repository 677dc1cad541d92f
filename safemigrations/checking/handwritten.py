"""What people write by hand into a migration: SQL, Python, and operations that are split into state and database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..operations.base import Change
from ..plans.tables import db_table_of, default_name
from . import contrib, grammar
from . import state_only as split
from .hazard import Hazard, NotUnderstood
from .python import reader
from .rules import model_named_by
from .scene import Scene, number_of_databases
from .source import Source

Said = Hazard | NotUnderstood
BY_HAND = migrations.RunSQL | migrations.RunPython | migrations.SeparateDatabaseAndState
NO_WAY_BACK = (
    "safemigrations.W305",
    "RunPython has no reverse_code: nobody can go back behind this migration.",
    "Add reverse_code. Where there is nothing to take back: migrations.RunPython.noop.",
)
NOTHING = (
    "safemigrations.I309",
    "RunPython.noop does nothing when the migration is applied, and nothing on the way back.",
    "Take the operation out, or write in its place what was meant.",
)


def has_any(migration: Migration) -> bool:
    return any(
        (isinstance(each, BY_HAND) and not isinstance(each, Change)) or contrib.is_one(each)
        for each in migration.operations
    )


class Handwritten:
    """Reads one migration, operation by operation; `state` is that before its first."""

    def __init__(
        self, migration: Migration, state: ProjectState, created: Iterable[str], earlier: Iterable[str]
    ) -> None:
        self.migration, self.source = migration, Source.of(migration)
        self.scene = Scene(state, atomic=migration.atomic, earlier=earlier)
        self.scene.app_label, self.scene.databases = migration.app_label, number_of_databases()
        self.scene.texts = _texts_in(migration)
        for name in created:
            self.scene.made.add(default_name(migration.app_label, name))
            if model := state.models.get((migration.app_label, name)):
                self.scene.made.add(db_table_of(model))

    def read(self, index: int, operation: Operation) -> Iterator[Said]:
        """Judge one operation that a person wrote; remember the locks and tables of any other."""
        if isinstance(operation, migrations.RenameModel):
            self.scene.rename(self.migration.app_label, operation.old_name, operation.new_name)
        if isinstance(operation, Change):
            return
        self.scene.elidable = operation.elidable
        if isinstance(operation, migrations.RunSQL):
            yield from self._sql(index, operation)
        elif isinstance(operation, migrations.RunPython):
            yield from self._python(operation)
        elif contrib.is_one(operation):
            yield from contrib.read(operation, self.migration.app_label, self.scene)
        elif isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from split.read(operation, self.migration.app_label, self.scene)
            for inner in operation.database_operations:
                yield from self.read(index, inner)
        else:
            self._remember(operation)

    def _sql(self, index: int, operation: migrations.RunSQL) -> Iterator[Said]:
        lines = self.source.lines_of_sql(index)
        for number, text in enumerate(texts_of(operation)):
            begins = lines[number] if number < len(lines) else 0
            for said in read_sql(text, self.scene):
                yield replace(said, line=begins + said.line if begins else 0)

    def _python(self, operation: migrations.RunPython) -> Iterator[Said]:
        if operation.code is migrations.RunPython.noop:
            if operation.reverse_code in (None, migrations.RunPython.noop):
                yield Hazard(*NOTHING)
            return
        if operation.reverse_code is None:
            yield Hazard(*NO_WAY_BACK)
        for module, said in reader.read(operation.code, self.scene, lambda text: read_sql(text, self.scene)):
            elsewhere = module is not None and module.source.module != self.source.module
            yield replace(said, file=module.source.name) if module and elsewhere else said

    def _remember(self, operation: Any) -> None:
        app_label = self.migration.app_label
        if isinstance(operation, migrations.CreateModel):
            table = operation.options.get("db_table") or default_name(app_label, operation.name)
            fields: list[tuple[str, Any]] = list(operation.fields)
            self.scene.made.add(table)
            self.scene.made.update(
                getattr(field, "db_table", None) or f"{table}_{name}" for name, field in fields if field.many_to_many
            )
            return
        model = self.scene.state.models.get((app_label, model_named_by(operation).lower()))
        lock = LOCKS.get(type(operation))
        if lock and model and self.migration.atomic:
            self.scene.hold(db_table_of(model), lock, operation.describe())


LOCKS: dict[type[Operation], str] = {
    migrations.AddField: "ACCESS EXCLUSIVE",
    migrations.RemoveField: "ACCESS EXCLUSIVE",
    migrations.RenameField: "ACCESS EXCLUSIVE",
    migrations.AddIndex: "SHARE",
    migrations.RemoveIndex: "ACCESS EXCLUSIVE",
    migrations.AddConstraint: "ACCESS EXCLUSIVE",
    migrations.RemoveConstraint: "ACCESS EXCLUSIVE",
    migrations.RenameModel: "ACCESS EXCLUSIVE",
    migrations.AlterModelTable: "ACCESS EXCLUSIVE",
}


def read_sql(text: str | None, scene: Scene) -> Iterator[Said]:
    if text is None:
        yield NotUnderstood("what RunSQL is given is no text")
    elif not grammar.HAS_GRAMMAR:
        yield NotUnderstood(grammar.NO_GRAMMAR)
    else:
        yield from grammar.loaded().read(text, scene)


def texts_of(operation: migrations.RunSQL) -> Iterator[str | None]:
    """The texts that a RunSQL sends, each in one call; None for what isn't a text.

    Parameters are numbered as PostgreSQL numbers them.
    """
    sql: Any = operation.sql
    if sql == migrations.RunSQL.noop:
        return
    for each in sql if isinstance(sql, list | tuple) else [sql]:
        text, params = (each[0], each[1]) if isinstance(each, list | tuple) and len(each) == 2 else (each, None)
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        if not isinstance(text, str):
            yield None
        else:
            yield text if params is None else without_placeholders(text)


PLACEHOLDER = r"%(%|s|\(\w+\)s)"


def without_placeholders(sql: str) -> str:
    """A statement with its parameters numbered as PostgreSQL numbers them."""
    numbers = iter(range(1, 10_000))
    return re.sub(PLACEHOLDER, lambda found: "%" if found[1] == "%" else f"${next(numbers)}", sql)


def _texts_in(migration: Migration) -> list[str]:
    by_hand = [operation for operation in migration.operations if isinstance(operation, migrations.RunSQL)]
    return [text for operation in by_hand for text in texts_of(operation) if text]


def checks_in(migration: Migration) -> list[str]:
    """SQL of a migration that may have proved something with a CHECK of its own."""
    return [text for text in _texts_in(migration) if "CONSTRAINT" in text.upper()]
