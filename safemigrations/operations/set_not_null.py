"""AlterField null -> NOT NULL -> SetNotNullLater.

SET NOT NULL reads the whole table while nobody can use it. From then on the old release fails where
it writes null, which it takes for allowed. And Django fills the rows that are null by one UPDATE of them all.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-NOT-NULL

So a trigger gives the value of `backfill` to rows that the old release writes without one, and the existing rows are
filled in batches. The new release never reads null. The contract fills what is left, proves NOT NULL without a scan
under a lock, and drops the trigger. Where nothing fills rows, null is looked for before anything is changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AlterField
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED, CheckConstraint, Field, Q

from ..plans import defaults
from ..plans.column import Column
from ..plans.defaults import DefaultKind
from ..plans.expressions import refuse_many
from ..plans.not_null import not_null
from ..plans.steps import Plan, Proof
from ..plans.triggers import Kept
from .add_field_with_default import column_with_default
from .alteration import Alteration, refuse_besides
from .backfill import Backfill
from .base import FILLS, Change, Situation
from .filling import Filling, answer_in, is_expression, is_function, path_of, row_function
from .forms import alteration_at
from .parts import Part
from .rule import Context, Finding, Rule


class SetNotNullLater(Change, AlterField):
    """Forbid null in a column whose rows of the old release may still be null.

    `backfill` fills them: a constant, an expression over the row and its relations (F("price") * 2), or a function that
    is given an instance of the model as it is in this migration. Without it the field's default fills them. Without a
    default nothing does: rows that are null then stop migrate before anything is changed, and later the contract.
    """

    category = AlterField.category
    takes_time = FILLS

    def __init__(
        self,
        model_name: str,
        name: str,
        field: Field[Any, Any],
        backfill: Any = None,
        preserve_default: bool = True,
    ) -> None:
        if field.null:
            raise ValueError(f"SetNotNullLater {model_name}.{name}: the field has null=True.")
        if is_function(backfill):
            path_of(backfill)
        if field.unique and gives_one_value(field, backfill):
            raise ValueError(
                f"SetNotNullLater {model_name}.{name}: the field is unique, and every row that is null would get the "
                "same value. Give backfill= an expression over the row, or a function of it."
            )
        self.backfill = backfill
        AlterField.__init__(self, model_name, name, field, preserve_default)
        self.wrap(AlterField(model_name, name, field, preserve_default))

    def describe(self) -> str:
        fill = ", and fill the rows that are null" if self.fills else ""
        return f"{AlterField.describe(self)}; null is forbidden by the contract{fill}"

    @property
    def identity(self) -> str:
        return f"SetNotNullLater({self.model_name_lower}.{self.name_lower})"

    @property
    def fills(self) -> bool:
        """Does the operation fill the rows that are null?"""
        return self.backfill is not None or defaults.fills(self.field)

    @property
    def _calls_python(self) -> bool:
        if self.backfill is not None:
            return is_function(self.backfill)
        return self.fills and defaults.kind(self.field) is DefaultKind.PYTHON

    def notice(self) -> str:
        """What the new release may meet until the contract, if it may meet anything."""
        what = f"{self.model_name}.{self.name}"
        if not self.fills:
            return (
                f"{what}: nothing fills the rows that are null. migrate stops if there are any, before anything is "
                "changed, and so does the contract if the old release has written more. Give SetNotNullLater "
                "backfill=, or fill them with a Backfill in a migration before this one."
            )
        if self._calls_python:
            return (
                f"{what}: PostgreSQL can't call the function that fills it, so rows that the old release sets to "
                "null after migrate stay null until the contract: the new release may read None there."
            )
        return ""

    def refuse(self, change: Alteration) -> None:
        refuse_besides(change, self, "tightens_null")

    def _column(self, at: Situation) -> Column:
        self.refuse(alteration_at(at, self.model_name, self.name))
        return column_with_default(at, self)

    def _filling(self, at: Situation) -> Filling:
        column = self._column(at)
        filling = Filling(at=at, column=column, value=self.backfill, on_update=True)
        if self._calls_python:
            takes_row = self.backfill is not None
            path = path_of(self.backfill if takes_row else self.field.default)
            return replace(filling, function=row_function(at, self, column, path, takes_row=takes_row))
        if self.backfill is None:
            return replace(filling, sql=defaults.sql(at.connection, column.field))
        refuse_many(column.model, column.field, self.backfill)
        return filling

    def contract_label(self, at: Situation) -> str:
        column = self._column(at)
        return f"forbid null in {column.name} of {column.label}"

    def expand(self, at: Situation) -> Plan:
        if not self.fills:
            return (self._no_nulls(self._column(at)),)
        filling = self._filling(at)
        return (
            *filling.triggers(),
            filling.fill(f"fill {filling.column.name} of the rows where it is null"),
            *filling.filled_proof(f"{self.model_name}.{self.name}"),
        )

    def kept(self, at: Situation) -> tuple[Kept, ...]:
        return self._filling(at).kept(adds=False) if self.fills else ()

    def contract(self, at: Situation) -> Plan:
        column = self._column(at)
        if not self.fills:
            return not_null(column)
        filling = self._filling(at)
        return (
            filling.fill(f"fill {column.name} of the rows that are still null"),
            *not_null(column),
            *filling.drop_triggers(),
        )

    def _no_nulls(self, column: Column) -> Proof:
        keys = ", ".join(column.key)
        return Proof(
            why=f"{column.label}: no row has {column.name} null, as nothing will fill it",
            query=f"SELECT {keys} FROM {column.table} WHERE {column.quoted} IS NULL",
            failure=(
                f"{self.model_name}.{self.name} may not be null any more, and nothing fills the rows that are: {keys} "
                "{rows}. Nothing was changed. Give SetNotNullLater backfill=, a constant, an expression or a function "
                "of the row, or fill them with a Backfill before; then run the same command again."
            ),
        )


def gives_one_value(field: Field[Any, Any], backfill: Any) -> bool:
    """Would all rows get the same value?"""
    if backfill is not None:
        return not is_expression(backfill) and not is_function(backfill)
    return defaults.fills(field) and defaults.kind(field) is DefaultKind.INSTANT


def fills_twice(operation: AlterField, *, was_unique: bool) -> str:
    """The advice for a unique column if all rows that are null would get one value; else empty."""
    field = operation.field
    if not (was_unique or field.unique) or not gives_one_value(field, answer_in(field)):
        return ""
    if not field.unique:
        return (
            f"It stays unique until the contract. Keep null=True of {operation.name} until then, and take it away in "
            "the release after that."
        )
    return (
        f"Write SetNotNullLater for {operation.name} with backfill=, an expression over the row or a function of it, "
        "and a field without this default."
    )


def find(part: Part, context: Context) -> Finding | None:
    operation, change = part.operation, part.change
    if change.rewrites or not change.tightens_null:
        return None
    what = f"AlterField {operation.name} of {operation.model_name}"
    if reason := fills_twice(operation, was_unique=part.whole.change.old.field.unique):
        return Finding(
            f"{what} gives every row that is null the same value, and the field is unique: the second one fails.",
            way_by_hand=reason,
        )
    safe = _replacement(operation)
    if check := _proof(operation, context):
        return Finding(
            f"{what} waits for a lock for which everybody queues. It reads nothing: check {check} proves that no row "
            "is null.",
            (safe,),
            notice=_notice(safe, context),
            level="note",
        )
    return Finding(
        f"{what} reads the whole table while nobody can use it to set it NOT NULL, and the old release "
        "fails when it writes null.",
        (safe,),
        notice=_notice(safe, context),
    )


def _notice(safe: SetNotNullLater, context: Context) -> str:
    if not safe.fills and any(_is_filled_by(other, safe, context) for other in context.release):
        return (
            f"{safe.model_name}.{safe.name}: a Backfill fills the rows that are null now. The contract stops if the "
            "old release has written more by then. Give SetNotNullLater backfill=, and it fills those, too."
        )
    return safe.notice()


def _is_filled_by(other: tuple[str, Operation], safe: SetNotNullLater, context: Context) -> bool:
    """Does the operation fill the field?

    What a function returns is known only after its call, so it may fill any field.
    """
    label, operation = other
    if label != context.app_label or not isinstance(operation, Backfill):
        return False
    sets = callable(operation.set) or safe.name in operation.set
    return sets and operation.model_name.lower() == safe.model_name_lower


def _replacement(operation: AlterField) -> SetNotNullLater:
    field, answer = operation.field, answer_in(operation.field)
    if answer is None:
        preserve_default = operation.preserve_default
        return SetNotNullLater(operation.model_name, operation.name, field, preserve_default=preserve_default)
    field = field.clone()
    field.default = NOT_PROVIDED
    return SetNotNullLater(operation.model_name, operation.name, field, backfill=answer)


def _proof(operation: AlterField, context: Context) -> str:
    """The name of a check of Meta.constraints, older than this release, that forbids null."""
    added = {getattr(getattr(other, "constraint", None), "name", "") for _, other in context.release}
    checks = context.model_before(operation.model_name).options.get("constraints", [])
    wanted = Q(**{f"{operation.name}__isnull": False})
    found = [check for check in checks if isinstance(check, CheckConstraint) and check.condition == wanted]
    return next((check.name for check in found if check.name not in added), "")


rule = Rule("safemigrations.E040", Part, find)
