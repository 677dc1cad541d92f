"""The operations of django.contrib.postgres, which don't look at the migration that they stand in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations.operations.base import Operation

from ..plans.tables import db_table_of
from .hazard import Hazard
from .scene import ACCESS_EXCLUSIVE, Scene

MODULE = "django.contrib.postgres.operations"
NO_TRANSACTION = "safemigrations.E201"
DROP_INDEX = "safemigrations.E207"
HELD = "safemigrations.E210"


def is_one(operation: Operation) -> bool:
    return type(operation).__module__ == MODULE


def read(operation: Any, app_label: str, scene: Scene) -> Iterator[Hazard]:
    name = type(operation).__name__
    if name.endswith("IndexConcurrently") and scene.atomic:
        yield Hazard(
            NO_TRANSACTION,
            f"{name} fails: PostgreSQL refuses CONCURRENTLY inside a transaction, and the migration is one.",
            "Set atomic = False on the migration.",
        )
    model = scene.state.models.get((app_label, str(getattr(operation, "model_name", "")).lower()))
    if model is None or scene.is_new(db_table_of(model)):
        return
    if name == "RemoveIndexConcurrently":
        yield Hazard(
            DROP_INDEX,
            f"{name} drops {operation.name} before the rollout: queries of the release that is still running may want "
            "the index.",
            f"Write RemoveIndexLater('{operation.model_name}', '{operation.name}'), which drops it with the contract.",
            "warning",
        )
    elif name == "AddConstraintNotValid" and scene.atomic:
        scene.hold(db_table_of(model), ACCESS_EXCLUSIVE, operation.describe())
    elif name == "ValidateConstraint" and (held := next(scene.holding(), None)):
        table, lock, by = held
        yield Hazard(
            HELD,
            f"ValidateConstraint reads every row of {operation.model_name}, and until it ends '{by}' keeps its {lock} "
            f"lock on {table}: everybody who uses {table} waits.",
            "Put ValidateConstraint into a migration of its own.",
        )
