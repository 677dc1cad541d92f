"""The operations of a file in their safe form, each with the one that it takes the place of."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ..hooks.atomicity import note_what_is_sent
from ..hooks.autodetector import after_all, tables_first
from ..hooks.going_models import what_is_over
from ..operations.rule import Context
from ..typed import forget_classes

Form = tuple[Operation, ...]


def replaced(
    operations: Iterable[Operation],
    state: ProjectState,
    context_of: Callable[[ProjectState, ProjectState], Context],
    safe_form: Callable[[Operation, Context], Form],
) -> list[tuple[Operation, Form]]:
    """The operations in their safe form, in the order of makemigrations.

    Operations that must precede a removed field are among them.
    """
    forms: list[tuple[Operation, Form]] = []
    for each in tables_first(operations):
        for operation in (*what_is_over(each, context_of(state, state).app_label, state), each):
            after = state.clone()
            operation.state_forwards(context_of(state, after).app_label, after)
            context = context_of(state, after)
            form = safe_form(operation, context)
            note_what_is_sent(form, context)
            forms.append((operation, form))
            forget_classes(state)
            forget_classes(after)
            state = after if form == (operation,) else after_all(form, context.app_label, state)
    return forms
