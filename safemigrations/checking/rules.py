"""The rules, in the order in which they are asked; the first finding counts."""

from __future__ import annotations

from dataclasses import replace

from django.apps import apps
from django.conf import settings
from django.db import connections, router
from django.db.migrations.operations import DeleteModel, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.models import ModelOptionOperation
from django.db.migrations.state import ModelState

from ..operations import (
    add_check_constraint,
    add_exclusion_constraint,
    add_field,
    add_field_nullable_then_backfill,
    add_field_with_default,
    add_index,
    add_unique_constraint,
    alter_field,
    alter_field_type,
    alter_model_table,
    alter_order_with_respect_to,
    alter_unique_together,
    delete_model,
    drop_default,
    remove_constraint,
    remove_field,
    remove_index,
    rename_field,
    rename_model,
    set_not_null,
)
from ..operations.base import Change, Context, Finding, Rule

RULES: list[Rule] = [
    rename_field.rule,  # first: an index that follows a rename is neither dropped nor built
    add_index.rule,
    remove_index.rule,
    add_field_nullable_then_backfill.rule,
    add_field_with_default.rule,
    add_field.rule,
    remove_field.rule,
    remove_constraint.rule,
    alter_unique_together.rule,
    delete_model.rule,
    alter_order_with_respect_to.rule,
    # Of an AlterField each sees to its part, and leaves the rest to the ones after it.
    alter_field_type.rule,
    set_not_null.rule,
    drop_default.rule,
    alter_field.rule,
    add_unique_constraint.rule,
    add_check_constraint.rule,
    add_exclusion_constraint.rule,
    rename_model.rule,
    alter_model_table.rule,
]


def find(operation: Operation, context: Context) -> tuple[Rule, Finding] | None:
    """What is unsafe about an operation where it stands, if anything is."""
    model_name = model_named_by(operation)
    if isinstance(operation, Change) or not model_name:
        return None
    state = context.before.models.get((context.app_label, model_name.lower()))
    if state is None or not _is_a_table_of_ours(state):
        return None
    for rule in RULES:
        if finding := rule.find(operation, context):
            return rule, _complete(finding, context)
    return None


def _complete(finding: Finding, context: Context) -> Finding:
    """The finding with the stock operations of its replacement, such as the rest of an AlterField, made safe too."""
    if all(isinstance(operation, Change) for operation in finding.replacement):
        return finding
    safe: list[Operation] = []
    notices, before = [finding.notice], context.before
    for operation in finding.replacement:
        after = before.clone()
        operation.state_forwards(context.app_label, after)
        found = find(operation, replace(context, before=before, after=after))
        if found and not found[1].replacement:
            return found[1]
        safe.extend(found[1].replacement if found else (operation,))
        notices.append(found[1].notice if found else "")
        before = after
    return replace(finding, replacement=tuple(safe), notice="\n".join(filter(None, notices)))


def model_named_by(operation: Operation) -> str:
    """The model that an operation on it, or on a field, an index, a constraint or an option of it, is about."""
    if isinstance(operation, ModelOptionOperation | DeleteModel | RenameModel):
        return str(operation.name)
    return str(getattr(operation, "model_name", None) or "")


def _is_a_table_of_ours(state: ModelState) -> bool:
    """Is this model's table made by migrations, and in a PostgreSQL database?

    Where no database is PostgreSQL, as on a laptop with SQLite, the migrations are written for the one that is.
    """
    options = state.options
    if options.get("proxy") or not options.get("managed", True) or _is_swapped(state):
        return False
    aliases = [alias for alias in connections if connections[alias].vendor == "postgresql"] or list(connections)
    return any(
        router.allow_migrate(alias, state.app_label, model_name=state.name_lower, **_hints(state)) for alias in aliases
    )


def _hints(state: ModelState) -> dict[str, object]:
    try:
        return {"model": apps.get_model(state.app_label, state.name)}
    except LookupError:  # a model that the code no longer has
        return {}


def _is_swapped(state: ModelState) -> bool:
    setting = str(state.options.get("swappable") or "")
    label = f"{state.app_label}.{state.name}".lower()
    return bool(setting) and str(getattr(settings, setting, "") or label).lower() != label
