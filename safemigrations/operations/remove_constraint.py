"""RemoveConstraint -> RemoveConstraintLater.

Dropping a constraint is instant behind its ACCESS EXCLUSIVE lock. But the release that is still running may need a
unique one: its INSERT ... ON CONFLICT fails without the index. And the release that no longer knows a check may write
what the check forbids.
https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT

So a unique constraint stays until the contract; a check and an exclusion constraint go during expand, as does a unique
constraint that takes nulls for equal: rows of the new release might not satisfy them.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations import AddConstraint, RemoveConstraint
from django.db.models import BaseConstraint, CheckConstraint, UniqueConstraint

from .. import catalog
from ..columns import build_index, check_constraint, unique_constraint
from ..steps import BuildIndex, DropIndex, Lock, Plan, Statement
from .base import Change, Context, Finding, Rule, Situation


class RemoveConstraintLater(Change, RemoveConstraint):
    """Drop a unique constraint when the old release, whose upserts need it, has gone; drop a check now."""

    category = RemoveConstraint.category

    def __init__(self, model_name: str, name: str) -> None:
        RemoveConstraint.__init__(self, model_name, name)
        self.wrap(RemoveConstraint(model_name, name))

    def deconstruct(self):  # type: ignore[no-untyped-def]
        return RemoveConstraint.deconstruct(self)

    def describe(self) -> str:
        return f"{RemoveConstraint.describe(self)}; a unique one is dropped by the contract"

    @property
    def identity(self) -> str:
        return f"RemoveConstraintLater({self.model_name_lower}.{self.name})"

    def contract_label(self, at: Situation) -> str:
        return f"drop constraint {self.name} of {at.old(self.model_name)._meta.db_table}"

    def _constraint(self, at: Situation) -> BaseConstraint:
        return at.before.models[at.app_label, self.model_name_lower].get_constraint_by_name(self.name)  # type: ignore[no-any-return]

    def expand(self, at: Situation) -> Plan:
        return self._drop(at) if _stands_in_the_way(self._constraint(at)) else ()

    def contract(self, at: Situation) -> Plan:
        return () if _stands_in_the_way(self._constraint(at)) else self._drop(at)

    def _drop(self, at: Situation) -> Plan:
        model, constraint = at.old(self.model_name), self._constraint(at)
        table = at.editor.quote_name(model._meta.db_table)
        label, quoted = catalog.bare(table), at.editor.quote_name(self.name)
        again = _add_again(at, model, constraint, table)
        if isinstance(again[-1], BuildIndex):
            return (
                DropIndex(
                    why=f"{label}: drop unique index {self.name}",
                    table=table,
                    name=self.name,
                    undo=again,
                    frees=(f"index {self.name}",),
                ),
            )
        return (
            Statement(
                why=f"{label}: drop constraint {self.name}",
                sql=f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {quoted}",
                locks={table: Lock.ACCESS_EXCLUSIVE},
                done=catalog.constraint_missing(table, self.name),
                undo=again,
                frees=(f"index {self.name}",),
            ),
        )


def _stands_in_the_way(constraint: BaseConstraint) -> bool:
    """Could it refuse what the new release writes?"""
    return not isinstance(constraint, UniqueConstraint) or constraint.nulls_distinct is False


def _add_again(at: Situation, model: Any, constraint: BaseConstraint, table: str) -> Plan:
    """The constraint built without blocking; an exclusion constraint has no such way."""
    create: Any = constraint.create_sql(model, at.editor)
    label = catalog.bare(table)
    if isinstance(constraint, CheckConstraint):
        return check_constraint(at.editor, table, constraint.name, str(create))
    if not isinstance(constraint, UniqueConstraint):
        exists = catalog.constraint_exists(table, constraint.name)
        sql, locks = str(create), {table: Lock.ACCESS_EXCLUSIVE}
        return (Statement(why=f"{label}: add constraint {constraint.name}", sql=sql, locks=locks, done=exists),)
    if "CONSTRAINT" not in create.template:  # with a condition, an expression, INCLUDE or opclasses: an index
        return (build_index(f"{label}: unique index {constraint.name}", table, create),)
    columns = tuple(at.editor.quote_name(model._meta.get_field(name).column) for name in constraint.fields)
    options = {part: str(create.parts[part]) for part in ("deferrable", "nulls_distinct")}
    return unique_constraint(at.editor, table, constraint.name, columns, **options)


def find(operation: RemoveConstraint, context: Context) -> Finding | None:
    if type(operation) is not RemoveConstraint or _is_replaced(operation, context):
        return None
    constraint = context.model_before(operation.model_name).get_constraint_by_name(operation.name)
    notice = (
        f"{operation.model_name}: unique constraint {operation.name} stays until the contract, because upserts of the "
        "running release need it. Until then new code can't write what it forbids."
    )
    return Finding(
        f"RemoveConstraint {operation.name} from {operation.model_name} drops it at once: where it is unique, upserts "
        "of the release that is still running fail without it.",
        (RemoveConstraintLater(operation.model_name, operation.name),),
        notice="" if _stands_in_the_way(constraint) else notice,
    )


def _is_replaced(operation: RemoveConstraint, context: Context) -> bool:
    """Another constraint takes the name in the same release, and the name is free only when this one is gone."""
    return any(
        isinstance(other, AddConstraint)
        and label == context.app_label
        and other.model_name_lower == operation.model_name_lower
        and other.constraint.name == operation.name
        for label, other in context.release
    )


rule = Rule("safemigrations.E030", find)
