"""SeparateDatabaseAndState as a person writes it: one half changes the database, the other one the state."""

from __future__ import annotations

from typing import TypeGuard

from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from .base import Change


def is_split(operation: Operation) -> TypeGuard[SeparateDatabaseAndState]:
    """Does the operation have two halves that a person wrote? Our own operations are changes, not two halves."""
    return isinstance(operation, SeparateDatabaseAndState) and not isinstance(operation, Change)
