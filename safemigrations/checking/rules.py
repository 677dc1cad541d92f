"""The rules, in the order in which they are asked; the first finding counts."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from django.db.migrations.operations import AlterField, DeleteModel, RenameModel, SeparateDatabaseAndState
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
    move_model,
    remove_constraint,
    remove_field,
    remove_index,
    rename_field,
    rename_model,
    set_not_null,
)
from ..operations.base import Change
from ..operations.home import home_of, is_made_by_migrations, is_named_by_its_setting
from ..operations.parts import Part, split
from ..operations.rule import LEVELS, Context, Finding, Rule

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
    move_model.rule,  # before what would make a table go that another model has
    delete_model.rule,
    alter_order_with_respect_to.rule,
    # Each part of an AlterField belongs to one of these. The first that finds its part says what the whole does.
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
    if state is None or home_of(state) is None:
        return None
    if not (is_made_by_migrations(state) or _is_renamed_with_its_setting(operation, state)):
        return None
    found = _ask(operation, context)
    return _of_parts(operation, context) if not found and type(operation) is AlterField else found


def _is_renamed_with_its_setting(operation: Operation, state: ModelState) -> bool:
    """Django takes a swappable model for swapped as soon as the setting has the new name."""
    return isinstance(operation, RenameModel) and is_named_by_its_setting(state, operation.new_name)


def _ask(asked: Operation | Part, context: Context) -> tuple[Rule, Finding] | None:
    for rule in RULES:
        if rule.is_for(type(asked)) and (finding := rule.find(asked, context)):
            return rule, finding
    return None


def _of_parts(operation: AlterField, context: Context) -> tuple[Rule, Finding] | None:
    """One finding for all parts: the rule that stands first in RULES says the harm, a part that is refused says why."""
    answers = [(part, _ask(part, context)) for part in split(operation, context)]
    found = sorted((answer for _, answer in answers if answer), key=lambda answer: RULES.index(answer[0]))
    if not found:
        return None
    rule, findings = found[0][0], [finding for _, finding in found]
    if refused := [finding for finding in findings if not finding.replacement]:
        return rule, refused[0]
    safe = [answer[1].replacement if answer else (_harmless(part),) for part, answer in answers]
    notices = [finding.notice for finding in findings if finding.notice]
    level = min((finding.level for finding in findings), key=LEVELS.index)
    return rule, replace(findings[0], replacement=tuple(chain(*safe)), notice="\n".join(notices), level=level)


def _harmless(part: Part) -> Operation:
    """A part that nothing is unsafe about. What does no work must not wait for the contract of the part before it."""
    if part.change.alters_column or part.change.rewrites:
        return part.operation
    return SeparateDatabaseAndState(state_operations=[part.operation])


def model_named_by(operation: Operation) -> str:
    """The model that an operation on it, or on a field, an index, a constraint or an option of it, is about."""
    if isinstance(operation, ModelOptionOperation | DeleteModel | RenameModel):
        return str(operation.name)
    return str(getattr(operation, "model_name", None) or "")
