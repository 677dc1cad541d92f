"""A key gets its new type before the foreign keys of the same release point at it.

A new foreign key lets go until the contract. An exchange of the key makes every foreign key anew, as the new release
has it, so it has to wait for that contract. The other way round neither waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations.autodetector import OperationDependency
from django.db.migrations.operations import AddField, AlterField, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.utils import resolve_relation

Named = tuple[str, str, str]  # app, model and field, in lower case


def wait_for_keys(operations: dict[str, list[Any]], before: ProjectState, after: ProjectState) -> None:
    """Let each operation that makes a foreign key depend on the AlterFields of the keys that it points at."""
    altered = {
        (app_label, operation.model_name_lower, operation.name_lower)
        for app_label, each in operations.items()
        for operation in each
        if isinstance(operation, AlterField)
        and not vars(operation)["_auto_deps"]  # what waits itself could wait in a circle
    }
    for app_label, each in operations.items() if altered else ():
        for operation in each:
            keys = {key for field in _made(operation, app_label, before) for key in _keys(*field, after)}
            operation._auto_deps = [*operation._auto_deps, *map(_is_altered, sorted(keys & altered))]


def _is_altered(key: Named) -> OperationDependency:
    return OperationDependency(*key, OperationDependency.Type.ALTER)


def _made(operation: Operation, app_label: str, before: ProjectState) -> Iterator[tuple[str, str, Any]]:
    """The fields that point at something from this operation on, with their app and model."""
    if isinstance(operation, CreateModel):
        fields = [(operation.name_lower, field) for _, field in operation.fields]
    elif isinstance(operation, AddField) or (
        isinstance(operation, AlterField) and _is_new(operation, app_label, before)
    ):
        fields = [(operation.model_name_lower, operation.field)]
    else:
        return
    yield from ((app_label, name, field) for name, field in fields if field.remote_field)


def _is_new(operation: AlterField, app_label: str, before: ProjectState) -> bool:
    model = before.models.get((app_label, operation.model_name_lower))
    old: Any = model.fields.get(operation.name) if model else None
    return old is not None and not old.remote_field


def _keys(app_label: str, model_name: str, field: Any, state: ProjectState) -> Iterator[Named]:
    """The key that a field points at, the one that this points at, and so on."""
    while field is not None and field.remote_field:
        to = resolve_relation(field.remote_field.model, app_label, model_name)
        if to not in state.models:
            return
        app_label, model_name = to
        wanted = getattr(field, "to_fields", [None])[0]
        found = state.models[to].fields.items()
        name, field = next(
            ((name, each) for name, each in found if name == wanted or (not wanted and each.primary_key)), ("", None)
        )
        yield app_label, model_name, name.lower()
