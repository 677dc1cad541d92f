"""Our operations in a project that has taken safemigrations out of INSTALLED_APPS, and still has the package.

An empty database needs nothing of ours: Django's operations lead to the same schema. On one that has rows, nobody would
carry out the plans, keep the queue, or guard the locks. So there it is said what is missing.
"""

from __future__ import annotations

import time

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from ..errors import StepFailed

STARTED = time.time()  # migrations are imported before the first one is applied


def is_installed() -> bool:
    return apps.is_installed("safemigrations")


def refuse_rows(operation: str, model: type[Model], connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed where the table may be in use."""
    if _is_new(connection) or not model._base_manager.using(connection.alias).exists():
        return
    raise StepFailed(
        f"{operation} changes {model._meta.db_table}, which has rows, and safemigrations isn't in INSTALLED_APPS: add "
        "it, or write Django's own operations with `safemigrations eject` before you take it out."
    )


def _is_new(connection: BaseDatabaseWrapper) -> bool:
    """Has this process itself applied every applied migration?"""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return True
    first = recorder.migration_qs.order_by("applied").values_list("applied", flat=True).first()
    return first is None or first.timestamp() >= STARTED
