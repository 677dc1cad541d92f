"""AddConstraint of a UniqueConstraint -> AddConstraintConcurrently.

ALTER TABLE ... ADD CONSTRAINT UNIQUE builds its index under a lock that stops everybody, CREATE UNIQUE INDEX under one
that stops writers. CREATE UNIQUE INDEX CONCURRENTLY stops nobody. But where rows are the same it leaves an INVALID
index, which refuses duplicates from then on.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX

So duplicates are looked for first, and the index is built online. Where Django makes it a constraint, the constraint
takes the index over. That comes with expand, because upserts of the new release name the index. The old release
then meets a constraint that it doesn't know. What it would always violate is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AddConstraint, AddField
from django.db.models import Q, UniqueConstraint, Value

from ..plans import constraints, defaults
from ..plans.column import table_of
from ..plans.defaults import DefaultKind
from ..plans.steps import Plan
from ..postgres.indexes import index_exists
from .add_field_nullable_then_backfill import AddFieldNullableThenBackfill
from .add_index import takes_over
from .base import BUILDS, Change, Situation
from .filling import is_expression
from .rule import Context, Finding, Rule
from .unique_sets import unique_sets


class AddConstraintConcurrently(Change, AddConstraint):
    """Make rows unique while both releases read and write.

    With `takes_over` the constraint has the name of one, or of an index, that the same migration sets aside. On the way
    back that one's operation drops it.
    """

    category = AddConstraint.category
    takes_time = BUILDS
    constraint: UniqueConstraint

    def __init__(self, model_name: str, constraint: UniqueConstraint, takes_over: bool = False) -> None:
        if not isinstance(constraint, UniqueConstraint):
            raise TypeError(
                f"AddConstraintConcurrently {model_name}.{constraint.name} is for a UniqueConstraint. Use "
                "ValidateConstraintLater for a CheckConstraint."
            )
        AddConstraint.__init__(self, model_name, constraint)
        self.takes_over = takes_over
        self.wrap(AddConstraint(model_name, constraint))

    def describe(self) -> str:
        return f"{AddConstraint.describe(self)}, concurrently"

    @property
    def identity(self) -> str:
        return f"AddConstraintConcurrently({self.model_name_lower}.{self.constraint.name})"

    def expand(self, at: Situation) -> Plan:
        model, constraint = at.new(self.model_name), self.constraint
        build = constraints.add_unique(at.editor, model, constraint)
        if not build:
            return ()
        there = index_exists(table_of(model), constraints.name_of(constraint).raw, valid=True)
        if self.takes_over:
            build = tuple(replace(step, undo=()) for step in build)
        return (constraints.no_duplicates(at.editor, model, constraint, done=there), *build)


def find(operation: AddConstraint, context: Context) -> Finding | None:
    if not isinstance(operation.constraint, UniqueConstraint):
        return None
    constraint, what = operation.constraint, f"AddConstraint {operation.constraint.name} on {operation.model_name}"
    names = names_in(constraint)
    if field := same_in_rows_of_old_code(context, operation.model_name, names, constraint):
        return Finding(
            f"{what} makes {field} unique, alone or with others, in the release that adds it. All rows of the old "
            "release have one value in it, so the second of them is refused.",
            way_by_hand=f"Add {field} in this release, and the constraint in the next.",
        )
    return Finding(
        f"{what} builds its index under a lock: nobody can write to the table until it is ready.",
        (AddConstraintConcurrently(operation.model_name, constraint, takes_over(operation, constraint.name, context)),),
        notice=notice(context, operation.model_name, names, constraint),
    )


def names_in(constraint: UniqueConstraint) -> set[str]:
    """The fields whose values have to differ."""
    if constraint.fields:
        return set(constraint.fields)
    return {name for expression in constraint.expressions for name in names_of(expression)}


def _is_wider(
    constraint: UniqueConstraint, names: Iterable[str], rows: dict[str, Carried], context: Context, model_name: str
) -> bool:
    """Do the rows of the old release differ in the other fields? A unique set that goes stays until the contract."""
    model = (context.start or context.before).models.get((context.app_label, model_name.lower()))
    if model is None or constraint.nulls_distinct is False:
        return False
    return any(each <= set(names) - rows.keys() for each in unique_sets(model))


def names_of(expression: Any) -> Iterator[str]:
    """The fields that an expression names, without what follows in a relation."""
    """The fields that an expression names."""
    if hasattr(expression, "name"):  # F
        yield expression.name.partition("__")[0]
    for source in getattr(expression, "get_source_expressions", list)():
        if source is not None:
            yield from names_of(source)


def notice(context: Context, model_name: str, names: Iterable[str], constraint: UniqueConstraint) -> str:
    """What the person has to know if the old release, which doesn't know the constraint, could violate it."""
    names = list(names)
    if _lets_old_rows_pass(constraint, names, rows_of_old_code(context, model_name)):
        return ""
    if not constraint.expressions and _is_wider(constraint, names, {}, context, model_name):
        return ""  # the old release knows a set that refuses no less
    return (
        f"{model_name}: from migrate on, unique ({', '.join(sorted(names))}) also refuses what the old release "
        "writes, which doesn't know it. If that may write duplicates, let a release before this one stop it."
    )


def same_in_rows_of_old_code(
    context: Context, model_name: str, names: Iterable[str], constraint: UniqueConstraint
) -> str:
    """A field that this release adds, with one value in all rows of the release before: they would collide."""
    rows = rows_of_old_code(context, model_name)
    if _lets_old_rows_pass(constraint, names, rows) or _is_wider(constraint, names, rows, context, model_name):
        return ""
    unlike = VARIED if constraint.nulls_distinct is False else EMPTY
    return next((name for name in sorted(names) if rows.get(name, VARIED) not in (VARIED, unlike)), "")


# The values that rows of the old release have in fields of the new one.

VARIED, EMPTY = "varied", "null"  # anything else: the same in each, and what
Carried = str | tuple[Any]


def rows_of_old_code(context: Context, model_name: str) -> dict[str, Carried]:
    """The values that rows have in the fields that the release adds to the model."""
    return {
        other.name: _carried(other)
        for label, other in context.release
        if isinstance(other, AddField) and label == context.app_label and other.model_name_lower == model_name.lower()
    }


def _carried(operation: AddField) -> Carried:
    field = operation.field
    if isinstance(operation, AddFieldNullableThenBackfill):
        value = operation.backfill if is_expression(operation.backfill) else operation.meanwhile
        return EMPTY if value is None else _constant(value)
    kind = defaults.kind(field)
    if kind is DefaultKind.NONE or (kind is DefaultKind.PYTHON and not field.null):
        return EMPTY
    if kind is DefaultKind.VOLATILE:
        return VARIED
    return _constant(field.db_default if field.has_db_default() else field.default)


def _constant(value: Any) -> Carried:
    if isinstance(value, Value):
        return (value.value,)
    varied = is_expression(value) and (any(names_of(value)) or defaults.is_volatile(value))
    return VARIED if varied else (value,)


def _lets_old_rows_pass(constraint: UniqueConstraint, names: Iterable[str], rows: dict[str, Carried]) -> bool:
    """Does the constraint accept all rows of the old release?"""
    nulls_differ = constraint.nulls_distinct is not False
    return any(nulls_differ and rows.get(name) == EMPTY for name in names) or (
        constraint.condition is not None and _never_holds(constraint.condition, rows)
    )


def _never_holds(condition: Q, rows: dict[str, Carried]) -> bool:
    """Does a part of the condition that must hold require another value than theirs?"""
    if condition.negated or condition.connector != Q.AND:
        return False
    return any(
        _never_holds(part, rows) if isinstance(part, Q) else isinstance(part, tuple) and _differs(part, rows)
        for part in condition.children
    )


def _differs(lookup: tuple[str, Any], rows: dict[str, Carried]) -> bool:
    name, wanted = lookup
    carried = rows.get(name.removesuffix("__exact"), VARIED)
    if isinstance(carried, tuple) and not is_expression(carried[0]) and not callable(carried[0]):
        return not is_expression(wanted) and carried[0] != wanted
    return carried == EMPTY and wanted is not None


rule = Rule("safemigrations.E032", AddConstraint, find)
