"""AlterOrderWithRespectTo -> AlterOrderWithRespectToConcurrently.

Django adds the column _order with a default of 0, and drops the default in the next statement: the old release
inserts rows without the column and fails on NOT NULL. Or Django drops the column, which that release
names in every SELECT.
https://docs.djangoproject.com/en/stable/ref/models/options/#order-with-respect-to

So a new column keeps its default until the contract. A column that goes gets a default now, and the contract drops it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AlterOrderWithRespectTo
from django.db.migrations.state import ProjectState

from ..plans.column import Column
from ..plans.steps import Plan
from .base import Change, Situation
from .rule import Context, Finding, Rule

FIRST = "0"  # what Django gives to rows that are there


class AlterOrderWithRespectToConcurrently(Change, AlterOrderWithRespectTo):
    """Order the rows of a model within a parent, or no longer, while both releases write."""

    category = AlterOrderWithRespectTo.category

    def __init__(self, name: str, order_with_respect_to: str | None) -> None:
        AlterOrderWithRespectTo.__init__(self, name, order_with_respect_to)
        self.model_name = name
        self.wrap(AlterOrderWithRespectTo(name, order_with_respect_to))

    def describe(self) -> str:
        return f"{AlterOrderWithRespectTo.describe(self)}; both releases can write until the contract"

    @property
    def identity(self) -> str:
        return f"AlterOrderWithRespectToConcurrently({self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        if added := _column(at, at.new(self.name), without=at.old(self.name)):
            return f"drop the database default of {added.name} of {added.label}"
        return f"drop _order of {at.old(self.name)._meta.db_table}"

    def expand(self, at: Situation) -> Plan:
        old, new = at.old(self.name), at.new(self.name)
        if added := _column(at, new, without=old):
            return added.add(f"add column {added.name}, {FIRST} for every row", null=False, default=FIRST)
        if removed := _column(at, old, without=new):
            return (replace(removed.set_default(FIRST), undo=(removed.drop_default(),)),)
        return ()

    def contract(self, at: Situation) -> Plan:
        old, new = at.old(self.name), at.new(self.name)
        if added := _column(at, new, without=old):
            return (added.drop_default(undo=(added.set_default(FIRST),)),)
        if removed := _column(at, old, without=new):
            again = removed.add(f"add column {removed.name} again", null=False, default=FIRST)
            return (removed.drop(undo=again),)
        return ()


def _column(at: Situation, model: Any, *, without: Any) -> Column | None:
    """The column _order of a model, if the other state of the model has none."""
    if not model._meta.order_with_respect_to or without._meta.order_with_respect_to:
        return None
    return Column(at.editor, model, model._meta.get_field("_order"))


def find(operation: AlterOrderWithRespectTo, context: Context) -> Finding | None:
    before = _is_ordered(context.before, context.app_label, operation)
    if before == bool(operation.order_with_respect_to):
        return None  # another parent: the same column
    harm = (
        "drops _order at once: the old release names it in every SELECT"
        if before
        else "drops the default of _order at once: the old release inserts rows without it and fails on NOT NULL"
    )
    return Finding(
        f"AlterOrderWithRespectTo of {operation.name} {harm}.",
        (AlterOrderWithRespectToConcurrently(operation.name, operation.order_with_respect_to),),
    )


def _is_ordered(state: ProjectState, app_label: str, operation: AlterOrderWithRespectTo) -> bool:
    return bool(state.models[app_label, operation.name_lower].options.get("order_with_respect_to"))


rule = Rule("safemigrations.E044", AlterOrderWithRespectTo, find)
