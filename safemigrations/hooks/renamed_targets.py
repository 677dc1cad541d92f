"""A relation that changes, or comes, in the release that renames what it points at.

To compare the fields, Django's autodetector gives the new one the old name of the model and of its to_field, and writes
that name into AlterField; and it lets RenameModel wait for new models that point at the new name. Where RenameModel
then comes late, the migration ends in a KeyError or an AttributeError. So renames come first, and what points at their
models and fields has the new names and waits for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.db.migrations.autodetector import OperationDependency
from django.db.migrations.operations import AddField, AlterField, RenameField, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.utils import resolve_relation

from ..typed import set_on

CREATE = OperationDependency.Type.CREATE
Key = tuple[str, str]  # app label and name of a model, in lower case


def makes(operation: Operation, dependency: Any) -> bool:
    """Does this rename provide what the dependency waits for?"""
    if dependency.type != CREATE:
        return False
    model_name, field_name = dependency.model_name.lower(), (dependency.field_name or "").lower()
    if isinstance(operation, RenameModel):
        return not field_name and operation.new_name_lower == model_name
    return isinstance(operation, RenameField) and (
        (operation.model_name_lower, operation.new_name_lower) == (model_name, field_name)
    )


def follow(
    operations: Mapping[str, list[Any]],
    *,
    models: Mapping[Key, str],
    fields: Mapping[tuple[str, str, str], str],
    existing: Collection[Key],
) -> None:
    """Let relations use the new names, and wait for the renames.

    `models` and `fields` map new names to old ones, as the autodetector has them. `existing` are the models before this
    release.
    """
    new_models = {(app_label, old): (app_label, new) for (app_label, new), old in models.items()}
    new_fields = {(app_label, model, old): new for (app_label, model, new), old in fields.items()}
    for app_label, detected in operations.items() if models or fields else ():
        for operation in detected:
            waits_for = operation._auto_deps
            if isinstance(operation, RenameModel):
                waits_for = [each for each in waits_for if _is_there(each, existing)]
            elif isinstance(operation, AddField | AlterField) and operation.field.remote_field:
                waits_for = [*waits_for, *_point(operation, app_label, new_models, new_fields)]
            set_on(operation, _auto_deps=waits_for)


def _is_there(dependency: Any, existing: Collection[Key]) -> bool:
    key = (dependency.app_label, dependency.model_name.lower())
    return dependency.app_label == "__setting__" or key in existing


def _point(
    operation: Any, app_label: str, models: Mapping[Key, Key], fields: Mapping[tuple[str, str, str], str]
) -> Iterator[Any]:
    """Give the relation the new names, and say which renames these come from."""
    relation = operation.field.remote_field
    for attribute in ("model", "through"):
        target = getattr(relation, attribute, None)
        key = resolve_relation(target, app_label, operation.model_name) if target else ("", "")
        if key in models:
            setattr(relation, attribute, ".".join(models[key]))
            yield OperationDependency(*models[key], None, CREATE)
    target = resolve_relation(relation.model, app_label, operation.model_name)
    if new := fields.get((*target, str(getattr(relation, "field_name", None)))):
        relation.field_name, operation.field.to_fields = new, [new]
        yield OperationDependency(*target, new, CREATE)
