"""Foreign keys of a new model to a table that exists.

Django makes the foreign key with the table. From then on the old release, which doesn't know the table, can't delete
what a row of it points at; and both tables are locked together. So the table comes without those keys. Each comes in a
short step of its own, lets go of its parents until the contract, and is Django's own afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db.migrations import Migration
from django.db.migrations.operations import CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation
from django.db.models import Field

from ..operations import AddFieldConcurrently, AlterFieldConcurrently
from ..operations.home import home_of, is_made_by_migrations
from ..typed import set_on

Created = set[tuple[str, str]]


def let_go(before: ProjectState, migrations: dict[str, list[Migration]], created: Created) -> None:
    """Take such foreign keys out of each CreateModel, and add them at the end of its migration."""
    if not _has_a_release(before):
        return
    for app_label, parts in migrations.items():
        for part in parts:
            split = [_without_keys(each, app_label, created) for each in part.operations]
            keys = [key for _, of_model in split for key in of_model]
            set_on(part, operations=[*(operation for operation, _ in split), *keys])


def _has_a_release(before: ProjectState) -> bool:
    """Does the project have migrations? If it has none, no release is running yet."""
    return any(map(_is_of_the_project, {label for label, _ in before.models}))


def _is_of_the_project(label: str) -> bool:
    try:
        return not {"site-packages", "dist-packages"} & set(Path(apps.get_app_config(label).path).parts)
    except LookupError:
        return True


def _without_keys(operation: Operation, app_label: str, created: Created) -> tuple[Operation, list[Operation]]:
    if not isinstance(operation, CreateModel) or not _is_ours(operation, app_label):
        return operation, []
    key = app_label, operation.name_lower
    keys = {name: field for name, field in operation.fields if _points_outside(field, key, created)}
    if not keys:
        return operation, []
    fields = [(name, _loose(field) if name in keys else field) for name, field in operation.fields]
    whole = CreateModel(
        operation.name, [each for each in fields if each[1]], operation.options, operation.bases, operation.managers
    )
    return whole, list(_keys(operation.name_lower, keys))


def _is_ours(operation: CreateModel, app_label: str) -> bool:
    state = ModelState(app_label, operation.name, list(operation.fields), operation.options, operation.bases)
    home = home_of(state) if is_made_by_migrations(state) else None
    return home is not None and home.vendor == "postgresql"


def _points_outside(field: Any, key: tuple[str, str], created: Created) -> bool:
    """Does the field have a foreign key in the database that keeps rows of a model which another release may know?"""
    relation = field.remote_field
    if not relation or not getattr(relation if field.many_to_many else field, "db_constraint", False):
        return False
    if field.many_to_many and (relation.through or not hasattr(field, "db_table")):
        return False
    if getattr(getattr(relation, "on_delete", None), "operation", ""):  # Django 6.1: the database answers
        return False
    return resolve_relation(relation.model, *key) not in {*created, key}


def _loose(field: Any) -> Any:
    """The field without its foreign key; None for a many-to-many field, whose table comes with it."""
    if field.many_to_many:
        return None
    loose = field.clone()
    loose.db_constraint = False
    return loose


def _keys(model_name: str, keys: dict[str, Field[Any, Any]]) -> Iterator[Operation]:
    for name, field in keys.items():
        if field.many_to_many:
            yield AddFieldConcurrently(model_name, name, field)
        else:
            yield AlterFieldConcurrently(model_name, name, field, lets_go=True)
