"""AddField NOT NULL whose value is computed -> AddFieldNullableThenBackfill.

Django calls a Python default once and gives every row the same value. Then it drops the default, and the old release
fails on NOT NULL. A value that depends on the row takes a data migration, and meanwhile both releases
go on writing.

So the column comes nullable. Where the value is an expression, a trigger gives it to the rows that the old release
inserts. Only then the existing rows are filled in batches: the other way round rows are lost in between. A Python
function PostgreSQL can't call. So rows that the old release inserts stay NULL until the contract computes them. Or they
have `meanwhile`, a value or an expression that stands in, and a marker column remembers which rows those are. The
contract fills what is left, proves NOT NULL without a scan under a lock, and drops trigger and marker.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AddField
from django.db.models import NOT_PROVIDED, Field

from ..plans import defaults
from ..plans.column import Column
from ..plans.defaults import DefaultKind
from ..plans.expressions import refuse_many
from ..plans.foreign_key import ForeignKey
from ..plans.not_null import not_null
from ..plans.steps import Plan
from ..plans.triggers import Kept
from .add_field_with_default import column_with_default, has_column
from .base import FILLS, Change, Situation
from .filling import Answer, Filling, is_function, path_of, row_function
from .rule import Context, Finding, Rule


class AddFieldNullableThenBackfill(Change, AddField):
    """Add a field that can't be null and whose value is computed for each row.

    `backfill` is an expression over the row and its relations (F("price") * 2, F("customer__country")), or a function
    that is given an instance of the model as it is in this migration. Without it the field's own callable default is
    called for each row. `meanwhile` belongs to functions: it is the constant or expression that rows of the old release
    have until the contract.
    """

    category = AddField.category
    takes_time = FILLS
    stock_when_alone = False

    def __init__(
        self,
        model_name: str,
        name: str,
        field: Field[Any, Any],
        backfill: Any = None,
        meanwhile: Any = None,
        preserve_default: bool = True,
    ) -> None:
        self.backfill, self.meanwhile = backfill, meanwhile
        AddField.__init__(self, model_name, name, field, preserve_default)
        self._check_arguments()
        self.wrap(AddField(model_name, name, field, preserve_default))

    def _check_arguments(self) -> None:
        what = f"AddFieldNullableThenBackfill {self.model_name}.{self.name}"
        if self.field.null:
            raise ValueError(f"{what}: the field may be null, so nothing has to be filled. Use AddField and Backfill.")
        if self.backfill is None and not (self.field.has_default() and callable(self.field.default)):
            raise ValueError(
                f"{what}: say how rows are filled: backfill=F('price') * 2, backfill=function_of_one_row, or a field "
                "with a callable default."
            )
        if self._is_python:
            self._path()
        elif self.meanwhile is not None:
            raise ValueError(f"{what}: meanwhile= is for Python functions; an expression fills rows at once.")

    def describe(self) -> str:
        return f"{AddField.describe(self)}, nullable until the contract, and fill it"

    @property
    def identity(self) -> str:
        return f"AddFieldNullableThenBackfill({self.model_name_lower}.{self.name_lower})"

    @property
    def _function_name(self) -> str:
        function = self.field.default if self.backfill is None else self.backfill
        return str(getattr(function, "__qualname__", function))

    def notice(self) -> str:
        """What the new release may meet until the contract, if it may meet anything."""
        if not self._is_python or self.meanwhile is not None:
            return ""
        return (
            f"{self.model_name}.{self.name}: PostgreSQL can't call {self._function_name}, so rows that the old release "
            f"inserts after migrate have no {self.name} until the contract: the new release may read None there. If "
            "it can't live with that, add meanwhile=, a value or an expression that stands in, to the migration."
        )

    @property
    def _is_python(self) -> bool:
        return self.backfill is None or is_function(self.backfill)

    def _path(self) -> str:
        """The import path of the function; empty where the field in the state has it still, which need not be
        importable.
        """
        if self.backfill is not None:
            return path_of(self.backfill)
        return "" if self.preserve_default else path_of(self.field.default)

    def _filling(self, at: Situation) -> Filling:
        column = column_with_default(at, self)
        filling = Filling(at=at, column=column, value=self.backfill, meanwhile=self.meanwhile)
        refuse_many(column.model, column.field, self.meanwhile if self._is_python else self.backfill)
        if not self._is_python:
            return filling
        takes_row, marker = self.backfill is not None, filling.marker
        function = row_function(at, self, column, self._path(), takes_row=takes_row, marker=marker)
        return replace(filling, function=function)

    def contract_label(self, at: Situation) -> str:
        column = column_with_default(at, self)
        return f"forbid null in {column.name} of {column.label}, after filling the rows that are left"

    def expand(self, at: Situation) -> Plan:
        column, filling = column_with_default(at, self), self._filling(at)
        return (
            *column.add(f"add column {column.name}, still nullable", null=True),
            *self._foreign_key(column),
            *filling.add_marker(),
            *filling.triggers(),
            filling.fill(f"fill {column.name} of the rows that are there"),
            *filling.filled_proof(f"{self.model_name}.{self.name}"),
            *(() if column.has_foreign_key else column.indexes()),
            *column.unique(),
            *column.check(),
        )

    def kept(self, at: Situation) -> tuple[Kept, ...]:
        return self._filling(at).kept(adds=True)

    def _foreign_key(self, column: Column) -> Plan:
        """The foreign key comes before rows are filled, as a parent may be deleted meanwhile. It comes after its index,
        which finds the rows of a parent.
        """
        return (*column.indexes(), *ForeignKey(column).of_expand(null=True)) if column.has_foreign_key else ()

    def contract(self, at: Situation) -> Plan:
        column, filling = column_with_default(at, self), self._filling(at)
        return (
            filling.fill(f"fill {column.name} of the rows that the old release inserted last"),
            *not_null(column),
            *ForeignKey(column).own(),
            *filling.drop_triggers(),
            *filling.drop_marker(),
        )


def find(operation: AddField, context: Context) -> Finding | None:
    if not has_column(operation, context):
        return None
    field, what = operation.field, f"AddField {operation.name} of {operation.model_name}"
    computed = isinstance(field.default, Answer) or defaults.kind(field) is DefaultKind.PYTHON
    if field.null or not computed:
        return None
    safe = replacement(operation)
    return Finding(
        f"{what} gives every row the value of one call and then drops its default: the old release "
        f"inserts rows without {operation.name} and fails on NOT NULL.",
        (safe,),
        notice=safe.notice(),
    )


def replacement(operation: AddField) -> AddFieldNullableThenBackfill:
    field, answer = operation.field, operation.field.default
    if not isinstance(answer, Answer):
        return AddFieldNullableThenBackfill(
            operation.model_name, operation.name, field, preserve_default=operation.preserve_default
        )
    field = field.clone()
    field.default = NOT_PROVIDED
    return AddFieldNullableThenBackfill(operation.model_name, operation.name, field, backfill=answer.backfill)


rule = Rule("safemigrations.E011", AddField, find)
