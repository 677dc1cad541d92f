"""The sets of fields in which no two rows of a model are the same, as its state says."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations.state import ModelState
from django.db.models import UniqueConstraint


def unique_sets(model: ModelState) -> Iterator[set[str]]:
    """Rows with a null in one of the fields may be the same. What is unique among some rows alone is left out."""
    yield from ({name} for name, field in model.fields.items() if field.primary_key or getattr(field, "unique", False))
    yield from map(set, model.options.get("unique_together") or ())
    for constraint in model.options.get("constraints", ()):
        if isinstance(constraint, UniqueConstraint) and constraint.fields and constraint.condition is None:
            yield set(constraint.fields)
