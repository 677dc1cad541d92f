"""RemoveConstraint -> RemoveConstraintLater.

Dropping a constraint is instant behind its ACCESS EXCLUSIVE lock. But the old release may need a
unique constraint: its INSERT ... ON CONFLICT fails without the index. And the release that no longer knows a check may
write what the check forbids.
https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT

So a unique constraint stays until the contract. When the same release gives its name to another constraint or index, it
stays under another name. A check and an exclusion constraint go during expand, because rows of the new release might
violate them. So does a unique constraint that takes nulls for equal.
"""

from __future__ import annotations

from typing import cast

from django.db.migrations.operations import RemoveConstraint
from django.db.models import BaseConstraint, CheckConstraint, UniqueConstraint

from ..plans import constraints
from ..plans.column import table_of
from ..plans.steps import Plan
from ..postgres.names import Name
from ..typed import model_state
from .base import Change, Situation
from .remove_index import is_taken_over, make_way, name_until_dropped, set_aside
from .rule import Context, Finding, Rule


class RemoveConstraintLater(Change, RemoveConstraint):
    """Drop a unique constraint when the old release, whose upserts need it, has gone. Drop a check now.

    With `set_aside` a constraint that stays is renamed at once, because another constraint or index takes its name.
    """

    category = RemoveConstraint.category

    def __init__(self, model_name: str, name: str, set_aside: bool = False) -> None:
        RemoveConstraint.__init__(self, model_name, name)
        self.set_aside = set_aside
        self.wrap(RemoveConstraint(model_name, name))

    def describe(self) -> str:
        return f"{RemoveConstraint.describe(self)}; a unique one is dropped by the contract"

    @property
    def identity(self) -> str:
        return f"RemoveConstraintLater({self.model_name_lower}.{self.name})"

    def contract_label(self, at: Situation) -> str:
        return f"drop constraint {self.name} of {at.old(self.model_name)._meta.db_table}"

    def _constraint(self, at: Situation) -> BaseConstraint:
        state = model_state(at.before, at.app_label, self.model_name)
        return cast(BaseConstraint, state.get_constraint_by_name(self.name))

    def expand(self, at: Situation) -> Plan:
        constraint = self._constraint(at)
        if _stands_in_the_way(constraint):
            return self._drop(at, constraint)
        return set_aside(self._table(at), constraints.name_of(constraint).raw) if self.set_aside else ()

    def contract(self, at: Situation) -> Plan:
        constraint = self._constraint(at)
        return () if _stands_in_the_way(constraint) else self._drop(at, constraint)

    def _table(self, at: Situation) -> Name:
        return table_of(at.old(self.model_name))

    def _drop(self, at: Situation, constraint: BaseConstraint) -> Plan:
        model, table, name = at.old(self.model_name), self._table(at), constraints.name_of(constraint).raw
        if self.set_aside and not _stands_in_the_way(constraint):
            constraint = constraint.clone()
            constraint.name = Name.of(name_until_dropped(table, name)).in_django
        again = constraints.add(at.editor, model, constraint)
        if not again:  # this version of PostgreSQL doesn't have it
            return ()
        if self.set_aside and _stands_in_the_way(constraint):
            again = (*make_way(table, name), *again)
        of_twins = isinstance(constraint, CheckConstraint) and constraints.drop_check_of_twins(model, constraint)
        drop = constraints.drop(model, constraint, undo=again)
        return (drop, of_twins) if of_twins else (drop,)


def _stands_in_the_way(constraint: BaseConstraint) -> bool:
    """Could the constraint refuse writes of the new release?"""
    return not isinstance(constraint, UniqueConstraint) or constraint.nulls_distinct is False


def find(operation: RemoveConstraint, context: Context) -> Finding | None:
    constraint = context.model_before(operation.model_name).get_constraint_by_name(operation.name)
    notice = (
        f"{operation.model_name}: unique constraint {operation.name} stays until the contract, because upserts of "
        "the old release need it. Until then the new release can't write what it forbids."
    )
    what = f"RemoveConstraint {operation.name} from {operation.model_name}"
    later = RemoveConstraintLater(operation.model_name, operation.name, is_taken_over(operation.name, context))
    if not isinstance(constraint, UniqueConstraint):
        return Finding(f"{what} drops it behind a lock for which everybody queues.", (later,), level="note")
    return Finding(
        f"{what} drops it at once: where upserts of the old release need it, they fail.",
        (later,),
        notice="" if _stands_in_the_way(constraint) or context.deletes(operation.model_name) else notice,
        level="warning",
    )


rule = Rule("safemigrations.E030", RemoveConstraint, find)
