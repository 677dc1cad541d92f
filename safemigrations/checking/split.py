"""SeparateDatabaseAndState that tells the state alone: the column or table stays, and new code no longer knows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import migrations
from django.db.migrations.state import ModelState

from ..plans.tables import db_table_of
from .hazard import Hazard
from .scene import Scene, column_of

HIDDEN = "safemigrations.E310"


def read(operation: Any, app_label: str, scene: Scene) -> Iterator[Hazard]:
    going = {inner.name_lower for inner in operation.state_operations if isinstance(inner, migrations.DeleteModel)}
    for inner in operation.state_operations:
        if isinstance(inner, migrations.RemoveField):
            if inner.model_name_lower in going:
                continue  # Django takes the keys of a model away before it
            yield from _field(operation, inner, app_label, scene)
        elif isinstance(inner, migrations.DeleteModel):
            yield from _model(operation, inner, app_label, scene)


def _field(operation: Any, inner: Any, app_label: str, scene: Scene) -> Iterator[Hazard]:
    model = scene.state.models.get((app_label, inner.model_name_lower))
    field: Any = model.fields.get(inner.name) if model else None
    if field is None or field.null or field.many_to_many or field.has_db_default() or field.generated:
        return
    if not _is_named(operation, column_of(inner.name, field)):
        yield Hazard(
            HIDDEN,
            f"The state forgets {inner.name} of {inner.model_name}, and its column stays NOT NULL without a default: "
            "every INSERT of the new release fails.",
            f"Write RemoveFieldLater('{inner.model_name}', '{inner.name}') instead of the whole, with atomic = False; "
            "it lets the column be null until the contract drops it.",
        )


def _model(operation: Any, inner: Any, app_label: str, scene: Scene) -> Iterator[Hazard]:
    model = scene.state.models.get((app_label, inner.name_lower))
    fields: list[Any] = list(model.fields.values()) if model else []
    if operation.database_operations or not any(getattr(field, "db_constraint", False) for field in fields):
        return
    if model and _is_taken_over(model, scene):
        return
    yield Hazard(
        HIDDEN,
        f"The state forgets {inner.name}, and the foreign keys of its table stay: where the new release deletes a row "
        "that they point at, that fails. It doesn't when another model takes the table over.",
        f"Write DeleteModelLater('{inner.name}') instead of the whole, with atomic = False.",
        "warning",
    )


def _is_taken_over(model: ModelState, scene: Scene) -> bool:
    """Has another model its table, or another app a model of its name, with most of its fields?"""
    others = [other for other in scene.state.models.values() if other.app_label != model.app_label]
    return any(
        db_table_of(other) == db_table_of(model)
        or (other.name_lower == model.name_lower and 2 * len(other.fields.keys() & model.fields) > len(model.fields))
        for other in others
    )


def _is_named(operation: Any, column: str) -> bool:
    """Does the half for the database do something about the column?"""
    texts = [str(getattr(inner, "sql", "")) for inner in operation.database_operations]
    names = [str(getattr(inner, "name", "")) for inner in operation.database_operations]
    return any(column in text for text in texts) or column in names or column.removesuffix("_id") in names
