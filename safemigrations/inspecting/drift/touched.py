"""A look at the tables that a run has touched, at its end."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ProjectState

from ...plans.steps import Step, tables_of
from ...postgres.names import Name
from .inspection import Inspection
from .verify import Drift, find
from .wanted import Wanted, parents, wanted

Keys = Collection[tuple[str, str]]  # (app label, model)


def by_migrations(connection: BaseDatabaseWrapper, state: ProjectState, keys: Keys) -> Drift:
    """The drift after a run whose migrations changed these models and led to this state."""
    inspection = Inspection(connection, state=state, tables=())
    inspection.tables = tables_of_models(wanted(connection.alias, state, inspection.apps), keys)
    return find(inspection)


def by_steps(connection: BaseDatabaseWrapper, steps: Iterable[Step]) -> Drift:
    return find(Inspection(connection, tables={Name(table) for step in steps for table in tables_of(step)}))


def tables_of_models(models: Wanted, keys: Keys) -> set[Name]:
    """The tables of these models, and their many-to-many tables, whose columns are called as the models are."""
    return {name for name, model in models.items() if any(_key(one) in keys for one in _called_by(model))}


def _called_by(model: Any) -> Iterable[Any]:
    return [model, *parents(model)] if model._meta.auto_created else [model]


def _key(model: Any) -> tuple[str, str]:
    return model._meta.app_label, model._meta.model_name
