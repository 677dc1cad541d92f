"""The two forms of a field around an AlterField: bound to models, or as the migration states have them."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import AlterField
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation
from django.db.models import Field

from ..plans.column import bound
from ..plans.spelled import spelled
from ..plans.tables import name_of
from .alteration import Alteration, Form
from .base import Situation
from .relied_on import Relied
from .rule import Context

# For operations: fields bound to models.


def alteration_at(at: Situation, model_name: str, name: str) -> Alteration:
    old, new = at.old(model_name)._meta.get_field(name), at.new(model_name)._meta.get_field(name)
    return Alteration(at.connection, _bound(at, old), _bound(at, new))


def _bound(at: Situation, field: Any) -> Form:
    target = ("", "")
    if field.remote_field and not field.many_to_many:
        target = (field.target_field.model._meta.db_table, field.target_field.column)
    return Form(field, spelled(field.db_parameters(at.connection)["type"] or ""), target)


# For rules: fields as the states have them, because rendering all models takes as long as the rest of a check.


def alteration_in(context: Context, operation: AlterField) -> Alteration | None:
    """The change that an AlterField makes; None where it alters no column."""
    old = context.model_before(operation.model_name).fields.get(operation.name)
    if old is None or old.generated or operation.field.generated:
        return None
    if old.many_to_many or operation.field.many_to_many:
        return None
    return Alteration(
        context.connection_of(operation.model_name),
        _unbound(old, operation, context, context.before),
        form_in(context, operation, operation.field),
        _relied(old, operation, context),
    )


def _relied(field: Any, operation: AlterField, context: Context) -> Relied | None:
    """What relies on the field; None for a foreign key, which only follows the type of what it points at."""
    key = context.app_label, operation.model_name_lower
    related = field.remote_field or operation.field.remote_field
    return None if related else Relied(context.before, key, operation.name, "", "")


def form_in(context: Context, operation: AlterField, field: Field[Any, Any]) -> Form:
    """The form of a field at the end of the AlterField, or on the way there."""
    return _unbound(field, operation, context, context.after)


def _unbound(field: Field[Any, Any], operation: AlterField, context: Context, state: ProjectState) -> Form:
    form, connection = bound(field, operation.name), context.connection_of(operation.model_name)
    if not form.remote_field:
        return Form(form, spelled(form.db_parameters(connection)["type"] or ""), ("", ""))
    named = resolve_relation(form.remote_field.model, context.app_label, operation.model_name.lower())
    key, to_field = concrete(state, named), form.to_fields[0] or ""
    return Form(form, _type_of_target(connection, state, key, to_field), _target(state, key, to_field))


def concrete(state: ProjectState, key: tuple[str, str]) -> tuple[str, str]:
    """The model whose table a proxy uses; of any other model, itself."""
    model = state.models.get(key)
    if model is None or not model.options.get("proxy"):
        return key
    named = [resolve_relation(base, *key) for base in model.bases if isinstance(base, str)]
    return next((concrete(state, base) for base in named if base in state.models), key)


def _target(state: ProjectState, key: tuple[str, str], to_field: str) -> tuple[str, str]:
    """Table and column, as far as the state knows them.

    A proxy, and a model that moved with its table, count as the same.
    """
    if key not in state.models:
        return ".".join(key), to_field
    found = _key_field(state.models[key], to_field)
    return name_of(state.models[key]), bound(found[1], found[0]).column if found else to_field


def _key_field(model: ModelState, to_field: str) -> tuple[str, Any] | None:
    """The field at which a foreign key points, with its name; None if the field is inherited."""
    named = model.fields.items()
    return next(((name, f) for name, f in named if (name == to_field if to_field else f.primary_key)), None)


def _type_of_target(connection: BaseDatabaseWrapper, state: ProjectState, key: tuple[str, str], to_field: str) -> str:
    """The type of a foreign key, which is that of the field it points at; empty if the state doesn't know it."""
    model = state.models.get(key)
    if model is None:
        return ""
    found = _key_field(model, to_field)
    if found is None:
        return ""
    target = found[1]
    if target.remote_field:
        nearest = concrete(state, resolve_relation(target.remote_field.model, *key))
        return _type_of_target(connection, state, nearest, target.to_fields[0] or "")
    return spelled(str(target.rel_db_type(connection) or ""))
