"""The rows that belong to a row: `customer.order_set` are orders, and so is `customer.orders` by its related_name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.db.migrations.state import ModelState
from django.db.migrations.utils import resolve_relation

from ..scene import Scene
from .chains import Chain


def of_a_row(found: Chain, scene: Scene) -> Chain | None:
    """What a chain that begins with a row is a query of; None where it doesn't leave the row."""
    if len(found.calls) < 2 or found.calls[0][1] is not None:
        return None
    target = _managers(found, scene).get(found.calls[0][0])
    if target is None:
        return None
    calls = (("objects", None), *found.calls[1:])
    return replace(found, app_label=target.app_label, model=target.name, calls=calls, row=False, of_row=True)


def _managers(found: Chain, scene: Scene) -> dict[str, ModelState]:
    """Each name that a row has for many others, and their model."""
    return dict(_from_others(found, scene)) | dict(_to_others(found, scene))


def _from_others(found: Chain, scene: Scene) -> Iterator[tuple[str, ModelState]]:
    key = (found.app_label, found.model.lower())
    for model in scene.state.models.values():
        for field in model.fields.values():
            if _points_at(field, model) == key and not field.one_to_one:
                name = field.remote_field.related_name
                yield name or f"{model.name_lower}_set", model


def _to_others(found: Chain, scene: Scene) -> Iterator[tuple[str, ModelState]]:
    model = scene.model(found.app_label, found.model)
    if model is None:
        return
    for name, field in model.fields.items():
        target = scene.state.models.get(_points_at(field, model)) if field.many_to_many else None
        if target:
            yield name, target


def _points_at(field: Any, model: ModelState) -> tuple[str, str]:
    to = getattr(field.remote_field, "model", None)
    return resolve_relation(to, model.app_label, model.name_lower) if to else ("", "")
