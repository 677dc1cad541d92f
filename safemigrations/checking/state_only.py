"""SeparateDatabaseAndState that tells the state alone: the column or table stays as it is, and new code doesn't know
it, or knows it by another name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import migrations
from django.db.migrations.state import ModelState

from ..plans.tables import db_table_of
from .hazard import Hazard
from .scene import Scene, column_of

HIDDEN = "safemigrations.E310"
RENAMES = migrations.RenameField | migrations.RenameModel | migrations.AlterModelTable | migrations.AlterField


def read(operation: Any, app_label: str, scene: Scene) -> Iterator[Hazard]:
    going = {inner.name_lower for inner in operation.state_operations if isinstance(inner, migrations.DeleteModel)}
    for inner in operation.state_operations:
        if isinstance(inner, migrations.RemoveField):
            if inner.model_name_lower in going:
                continue  # Django takes the keys of a model away before it
            yield from _field(operation, inner, app_label, scene)
        elif isinstance(inner, migrations.DeleteModel):
            yield from _model(operation, inner, app_label, scene)
    if any(isinstance(inner, RENAMES) for inner in operation.state_operations):
        yield from _renamed(operation, app_label, scene)


def _renamed(operation: Any, app_label: str, scene: Scene) -> Iterator[Hazard]:
    """Names that are others for the new release, while nothing gives the database these."""
    before, after = scene.state, scene.state.clone()
    known: dict[tuple[str, str], str] = {}  # what a model is called at the end -> at the beginning
    for inner in operation.state_operations:
        try:
            inner.state_forwards(app_label, after)
        except (KeyError, FieldDoesNotExist):
            return  # of a model that this migration makes or changes before
        if isinstance(inner, migrations.RenameModel):
            was = known.pop((app_label, inner.old_name_lower), inner.old_name_lower)
            known[app_label, inner.new_name_lower] = was
        elif isinstance(inner, migrations.RenameField | migrations.AlterField):
            known.setdefault((app_label, inner.model_name_lower), inner.model_name_lower)
        elif isinstance(inner, migrations.AlterModelTable):
            known.setdefault((app_label, inner.name_lower), inner.name_lower)
    for key, was in known.items():
        if (old := before.models.get((app_label, was))) and (new := after.models.get(key)):
            yield from _without_its_name(operation, old, new, scene)


def _without_its_name(operation: Any, old: ModelState, new: ModelState, scene: Scene) -> Iterator[Hazard]:
    table = db_table_of(new)
    if table != db_table_of(old) and not _is_made(operation, table, scene):
        yield _named_otherwise(f"table {table}", f"AlterModelTable('{new.name_lower}', '{db_table_of(old)}')")
    columns = {column_of(name, field) for name, field in old.fields.items() if not field.many_to_many}
    added = {inner.name for inner in operation.state_operations if isinstance(inner, migrations.AddField)}
    for name, field in new.fields.items():
        column = column_of(name, field)
        if not (name in added or field.many_to_many or column in columns or _is_made(operation, column, scene)):
            yield _named_otherwise(f"column {column} of {table}", f"AlterField of {name} with db_column")


def _is_made(operation: Any, name: str, scene: Scene) -> bool:
    return bool(operation.database_operations) or any(name in text for text in scene.texts)


def _named_otherwise(what: str, keeps: str) -> Hazard:
    return Hazard(
        HIDDEN,
        f"Only the state is renamed: every query of the new release names the {what}, which nothing here makes.",
        f"Add to state_operations what keeps the old name, {keeps}; or rename in models.py and run makemigrations: "
        "both names work until the contract.",
    )


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
