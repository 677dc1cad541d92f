"""The models whose tables a database should have, as its applied migrations leave them."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from django.db import router
from django.db.migrations.state import ProjectState
from django.db.models import Model

from ...plans.column import table_of
from ...postgres.names import Name

Wanted = dict[Name, type[Model]]  # many-to-many tables included


def wanted(alias: str, state: ProjectState, labels: Container[str]) -> Wanted:
    """The tables that the models of these apps want. Migrations say nothing of apps without migrations."""
    models = state.apps.get_models(include_auto_created=True)
    found = (model for model in models if model._meta.app_label in labels and _has_table(alias, model))
    return {table_of(model): model for model in found}


def _has_table(alias: str, model: Any) -> bool:
    return model._meta.can_migrate(alias) and router.allow_migrate_model(alias, model)


def parents(model: type[Model]) -> Iterator[type[Model]]:
    """The models at whose tables its foreign keys point."""
    for field in model._meta.local_concrete_fields:
        if field.remote_field and getattr(field, "db_constraint", False):
            concrete = field.remote_field.model._meta.concrete_model
            if concrete is not None:
                yield concrete
