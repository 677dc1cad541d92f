"""The differences of the new release: its migrations, whom they touch, and the names that each release uses."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Collection, Iterator
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RenameField, RenameModel, RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from ..checking.source import Source
from ..data import Data
from ..operations.move_model import MoveModel, MoveModelIn, MoveModelOut
from ..operations.split import is_split
from ..plans.tables import db_table_of, db_tables_through


class Touched(Data):
    """Everything that an operation of a new migration touches, as the database calls it."""

    app_label: str
    migration: str
    operation: int
    description: str
    file: str
    line: int
    model: str  # label, as it is called before the operation; empty for what names none
    tables: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()  # tables that point at these
    gone: frozenset[str] = frozenset()  # tables that are not there afterwards
    columns: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()  # indexes, constraints
    text: str = ""  # of SQL
    mentions: frozenset[str] = frozenset()  # attributes, arguments and words of a function

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line} {self.description}"


class Changes(Data):
    """All new operations, in the order in which they are applied."""

    migrations: list[tuple[str, str]]
    touched: list[Touched]
    models: list[str]  # that change, as the old release calls them
    made: frozenset[str]  # models that only the new release has
    model_names: dict[str, str]  # the new release's -> the old one's
    column_names: dict[str, str]  # "shop.order.sum", of the new release -> the attribute of the old one
    filled: list[str]  # "shop.order.note": nullable in the old release only
    unique: list[str]  # relations that are unique in one of the releases, as each of them calls it
    targets: dict[str, str]  # app -> the old release's last migration of it, or "zero"
    reached: frozenset[str] = frozenset()  # tables of operations, and those that point at them

    @property
    def apps(self) -> list[str]:
        return list(dict.fromkeys(label for label, _ in self.migrations))


def changes_since(old: Collection[str]) -> Changes:
    """`old` are the migrations of the old release: "shop.0001_initial"."""
    loader = MigrationLoader(None)
    order = _order(loader)
    new = [key for key in order if not _is_known(loader.disk_migrations[key], old)]
    before = ProjectState(real_apps=loader.unmigrated_apps)
    for key in order:
        if key not in new:  # none of these needs a new one, whatever comes first in the graph
            loader.disk_migrations[key].mutate_state(before, preserve=False)
    state, touched, names = before.clone(), list[Touched](), _Names()
    for migration in (loader.disk_migrations[key] for key in new):
        for index, operation in enumerate(migration.operations):
            after = state.clone()
            operation.state_forwards(migration.app_label, after)
            for part in _parts(operation):
                touched.append(_touched(migration, index, part, state, after))
                names.note(migration.app_label, part)
            state = after
    return Changes(
        new,
        touched,
        _models(touched, names, before),
        frozenset(names.old_model(".".join(key)) for key in state.models) - {".".join(key) for key in before.models},
        names.models,
        names.columns(state),
        list(_filled(before, state, names)),
        [*unique_relations(before), *unique_relations(state)],
        {label: _last(label, order, new) for label, _ in new},
        frozenset(table for one in touched for table in one.tables | one.near),
    )


def _order(loader: MigrationLoader) -> list[tuple[str, str]]:
    graph, order = loader.graph, dict[tuple[str, str], None]()
    for leaf in graph.leaf_nodes():
        order.update(dict.fromkeys(graph.forwards_plan(leaf)))
    return [key for key in order if key in loader.disk_migrations]


def _last(label: str, order: list[tuple[str, str]], new: Collection[tuple[str, str]]) -> str:
    return ["zero", *(key[1] for key in order if key[0] == label and key not in new)][-1]


def _is_known(migration: Migration, old: Collection[str]) -> bool:
    """Does the old release know the migration? It knows a squash if it has what the squash replaces."""
    replaced = [".".join(key) for key in migration.replaces]
    return str(migration) in old or bool(replaced and all(name in old for name in replaced))


def _parts(operation: Any) -> Iterator[Operation]:
    """The operations inside one that a person combined, for the database and for the state, one by one."""
    wraps = is_split(operation) and not isinstance(operation, MoveModelOut)
    if not wraps:
        yield operation
    database = operation.database_operations if wraps else ()
    state = operation.state_operations if wraps or isinstance(operation, RunSQL) else ()
    for part in (*database, *state):
        yield from _parts(part)


# What both releases call a thing.


class _Names:
    """Follows the renames from the first new migration on."""

    def __init__(self) -> None:
        self.models: dict[str, str] = {}  # today's -> the old release's
        self.fields: dict[tuple[str, str], str] = {}  # model in the old release, field of today -> field there

    def note(self, app_label: str, operation: Operation) -> None:
        if isinstance(operation, RenameModel):
            old = f"{app_label}.{operation.old_name_lower}"
            self.models[f"{app_label}.{operation.new_name_lower}"] = self.models.pop(old, old)
        elif isinstance(operation, MoveModel | MoveModelIn):
            old = f"{operation.from_app}.{operation.name.lower()}"
            self.models[f"{app_label}.{operation.name.lower()}"] = self.models.pop(old, old)
        elif isinstance(operation, RenameField):
            model = self.old_model(f"{app_label}.{operation.model_name_lower}")
            first = self.fields.pop((model, operation.old_name), operation.old_name)
            self.fields[model, operation.new_name] = first

    def old_model(self, label: str) -> str:
        return self.models.get(label, label)

    def columns(self, state: ProjectState) -> dict[str, str]:
        found = {}
        for (app_label, name), model in state.models.items():
            old = self.old_model(f"{app_label}.{name}")
            for field, value in model.fields.items():
                if first := self.fields.get((old, field)):
                    attname, _ = _attname_column(field, value)
                    found[f"{app_label}.{name}.{attname}"] = _attname_column(first, value)[0]
        return found


def _attname_column(name: str, field: Any) -> tuple[str, str]:
    bound = field.clone()
    bound.set_attributes_from_name(name)
    attname, column = bound.get_attname_column()
    return str(attname), str(column)


def _models(touched: list[Touched], names: _Names, before: ProjectState) -> list[str]:
    """The models that the operations touch.

    SQL and functions could touch any, so they touch every model of their app.
    """
    found = dict[str, None]()
    for one in touched:
        if one.model:
            found[names.old_model(one.model)] = None
        else:
            found.update({f"{label}.{name}": None for label, name in before.models if label == one.app_label})
    return list(found)


def _filled(before: ProjectState, after: ProjectState, names: _Names) -> Iterator[str]:
    for (label, name), model in after.models.items():
        old_label, _, old_name = names.old_model(f"{label}.{name}").partition(".")
        old = before.models.get((old_label, old_name))
        for field, value in model.fields.items() if old else ():
            first = names.fields.get((f"{old_label}.{old_name}", field), field)
            was = old.fields.get(first) if old else None
            if was is not None and was.null and not value.null:
                yield f"{old_label}.{old_name}.{_attname_column(first, was)[0]}"


def unique_relations(state: ProjectState) -> Iterator[str]:
    for (label, name), model in state.models.items():
        for field, value in model.fields.items():
            if value.is_relation and value.unique:
                yield f"{label}.{name}.{field}"


# Whom an operation touches.


def _touched(
    migration: Migration, index: int, operation: Operation, before: ProjectState, after: ProjectState
) -> Touched:
    source = Source.of(migration)
    label = migration.app_label
    named = _named(label, operation)
    states = [(state, state.models.get(key)) for key in named for state in (before, after)]
    models = [(state, model) for state, model in states if model]
    fields = {getattr(operation, key, None) for key in ("name", "old_name", "new_name")} if named else set()
    together = getattr(operation, "option_value", None) or ()
    fields |= {name for names in together if isinstance(names, tuple) for name in names}
    constraint = getattr(operation, "constraint", None) or getattr(operation, "index", None)
    gone = _tables(named, before) - _tables(named, after)
    columns = {
        _attname_column(name, field)[1]
        for _, model in models
        for name, field in model.fields.items()
        if name in fields and not field.many_to_many
    }
    return Touched(
        label,
        migration.name,
        index,
        f"{type(operation).__name__}({_what(operation)})",
        source.name,
        source.line_of(index),
        model=".".join(named[0]) if named else "",
        tables=frozenset(table for _, model in models for table in _of_fields(model, fields)) | gone,
        near=frozenset(_pointing(set(map(".".join, named)), before, after)),
        gone=gone,
        columns=frozenset(columns),
        names=frozenset(filter(None, [getattr(constraint, "name", None), getattr(operation, "name", None)])),
        text=_text(operation),
        mentions=frozenset(_mentions(operation)),
    )


def _named(label: str, operation: Operation) -> list[tuple[str, str]]:
    """The model that an operation is about, by each of its names."""
    if isinstance(operation, RenameModel):
        return [(label, operation.old_name_lower), (label, operation.new_name_lower)]
    if isinstance(operation, MoveModel | MoveModelIn):
        return [(operation.from_app, operation.name.lower()), (label, operation.name.lower())]
    if isinstance(operation, RunSQL | RunPython):
        return []
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    return [(label, name.lower())] if isinstance(name, str) else []


def _what(operation: Operation) -> str:
    if isinstance(operation, RunSQL | RunPython):
        return str(getattr(getattr(operation, "code", None), "__name__", "…"))
    if isinstance(operation, RenameModel | RenameField):
        where = f"{operation.model_name}." if isinstance(operation, RenameField) else ""
        return f"{where}{operation.old_name} to {operation.new_name}"
    constraint = getattr(operation, "constraint", None) or getattr(operation, "index", None)
    name = getattr(constraint, "name", None) or getattr(operation, "name", None)
    model = getattr(operation, "model_name", None)
    return ".".join(str(part) for part in (model, name) if part)


def _tables(named: list[tuple[str, str]], state: ProjectState) -> frozenset[str]:
    """Those of these models, and of their many-to-many fields."""
    models = filter(None, map(state.models.get, named))
    return frozenset(table for model in models for table in _of_fields(model, model.fields))


def _of_fields(model: ModelState, names: Collection[str | None]) -> Iterator[str]:
    """The model's table, and those of such fields as have one."""
    table = db_table_of(model)
    yield table
    many = [(name, field) for name, field in model.fields.items() if name in names and hasattr(field, "db_table")]
    yield from db_tables_through(table, many)


def _pointing(labels: Collection[str], *states: ProjectState) -> Iterator[str]:
    """Tables of models that have a relation to one of these."""
    for state in states:
        for model in state.models.values():
            related = [field.remote_field.model for field in model.fields.values() if field.remote_field]
            if any(str(getattr(to, "_meta", to)).lower() in labels for to in related):
                yield db_table_of(model)


def _text(operation: Operation) -> str:
    return str(getattr(operation, "sql", "")) if isinstance(operation, RunSQL) else ""


def _mentions(operation: Operation) -> Iterator[str]:
    """Words of a function that may be names of columns, tables and models, also in lower case."""
    for node in ast.walk(_tree(operation.code)) if isinstance(operation, RunPython) else ():
        words = [getattr(node, "attr", None) or getattr(node, "arg", None) or getattr(node, "value", None)]
        for word in (word for text in words if isinstance(text, str) for word in re.findall(r"\w+", text)):
            yield from (word, word.lower())


def _tree(function: Any) -> ast.AST:
    """Empty where its text can't be read."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module(body=[], type_ignores=[])
