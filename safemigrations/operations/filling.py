"""How the rows of a column that will be NOT NULL get their values while two releases run.

Where the value is an expression, a trigger gives it to the rows that the old release writes. The trigger comes before
the backfill: in the other order a row that is written between the two would keep NULL. PostgreSQL can't call a Python
function. So such rows stay NULL until the contract computes them, or carry `meanwhile`, a value or an expression that
stands in; a marker column remembers which rows carry it.
"""

from __future__ import annotations

from typing import Any

from django.db.models import NOT_PROVIDED, Value

from ..data import Data
from ..plans.column import Column
from ..plans.expressions import row_expression
from ..plans.steps import Backfill, Plan, Proof, RowFunction, Statement, Together
from ..plans.triggers import Kept, fill_null, unmark_on_update
from ..postgres.columns import column_exists, column_missing, column_not_null
from ..postgres.lock import Lock
from ..postgres.names import Name, temporary_name
from .base import Situation


def is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression")


def is_function(value: Any) -> bool:
    return callable(value) and not is_expression(value)


def path_of(function: Any) -> str:
    """The import path of a function: its module, a colon, its name.

    Raises ValueError for one that can't be imported, such as a lambda.
    """
    name = getattr(function, "__qualname__", "")
    if not name or "<" in name:
        raise ValueError(f"{function!r} can't be imported: write a function at the top level of a module.")
    return f"{function.__module__}:{name}"


class Answer(Data):
    """What a person typed at the prompt of makemigrations to compute each row; it travels as the field's default."""

    backfill: Any


def answer_in(field: Any) -> Any:
    """The answer in a field's default; None if nobody typed one."""
    return field.default.backfill if isinstance(field.default, Answer) else None


def forget_answer(operation: Any) -> None:
    """Remove the answer from the field of an operation that fills no rows: it isn't a default."""
    if isinstance(getattr(getattr(operation, "field", None), "default", None), Answer):
        operation.field.default = NOT_PROVIDED
        operation.field.__dict__.pop("_get_default", None)


class Filling(Data):
    """The source of one column's values: a constant, an expression over the row, SQL, or a function."""

    at: Situation
    column: Column
    value: Any = None
    sql: str = ""
    function: RowFunction | None = None
    meanwhile: Any = None  # what rows of the old release carry until the contract calls the function
    on_update: bool = False  # may the old release set the column to NULL?

    @property
    def marker(self) -> Name | None:
        """The column that remembers which rows carry `meanwhile`."""
        return Name.of(temporary_name(self.column.name, "meanwhile")) if self.meanwhile is not None else None

    def _sql(self, value: Any, *, row: str) -> str:
        column = self.column
        expression = value if is_expression(value) else Value(value, output_field=column.field)
        return row_expression(self.at.connection, column.model, column.field, expression, row=row)

    def triggers(self) -> tuple[Together, ...]:
        if not self.function:
            value = self.sql or self._sql(self.value, row="NEW")
            may_fail = is_expression(self.value)
            return (fill_null(self.column, value, on_update=self.on_update, may_fail=may_fail),)
        if (marker := self.marker) is None:
            return ()
        value = self._sql(self.meanwhile, row="NEW")
        may_fail = is_expression(self.meanwhile)
        fill = fill_null(self.column, value, on_update=self.on_update, marker=marker, may_fail=may_fail)
        return (fill, unmark_on_update(self.column, marker))

    def kept(self, *, adds: bool) -> tuple[Kept, ...]:
        return tuple(Kept(trigger, self.column, adds=adds) for trigger in self.triggers())

    def drop_triggers(self) -> Plan:
        return tuple(step for trigger in self.triggers() for step in trigger.undo)

    def fill(self, why: str) -> Backfill:
        column, guard, assign = self.column, f"{self.column.quoted} IS NULL", ""
        if self.function:
            guard = f"({guard} OR {self.marker})" if self.marker else guard
        else:
            assign = f"{column.quoted} = {self.sql or self._sql(self.value, row=column.table)}"
        return Backfill(
            why=f"{column.label}: {why}",
            table=column.table,
            key=column.key,
            guard=guard,
            assign=assign,
            function=self.function,
            works_on=(column.claim,),
        )

    def filled_proof(self, what: str) -> Plan:
        """Asks before the new release runs whether an expression gave NULL; a function is checked for each row."""
        if self.function:
            return ()
        column, keys = self.column, ", ".join(self.column.key)
        return (
            Proof(
                why=f"{column.label}: every row has {column.name}",
                query=f"SELECT {keys} FROM {column.table} WHERE {column.quoted} IS NULL",
                failure=(
                    f"The backfill of {what} gives NULL, which the field forbids, for {keys} {{rows}}. The column "
                    "stays nullable and both releases can go on. Give these rows what the expression needs, or wrap "
                    "it: Coalesce(..., Value(...)); then run the same command again."
                ),
                done=column_not_null(column.table, column.name),
            ),
        )

    def add_marker(self) -> Plan:
        if not self.marker:
            return ()
        column, marker = self.column, self.marker
        locks: dict[str, Lock] = {column.table: Lock.ACCESS_EXCLUSIVE}
        drop = Statement(
            why=f"{column.label}: forget which rows carried a stand-in for {column.name}",
            sql=f"ALTER TABLE {column.table} DROP COLUMN IF EXISTS {self.marker}",
            locks=locks,
            done=column_missing(column.table, marker.raw),
        )
        return (
            Statement(
                why=f"{column.label}: remember which rows carry a stand-in for {column.name}",
                sql=f"ALTER TABLE {column.table} ADD COLUMN IF NOT EXISTS {self.marker} boolean",
                locks=locks,
                done=column_exists(column.table, marker.raw),
                undo=(drop,),
            ),
        )

    def drop_marker(self) -> Plan:
        return tuple(step for added in self.add_marker() for step in added.undo)


def row_function(
    at: Situation, operation: Any, column: Column, path: str, *, takes_row: bool, marker: Name | None = None
) -> Any:
    """The description of a Python function that a step stores; an empty path calls the default of the field."""
    return RowFunction(
        path=path,
        takes_row=takes_row,
        app_label=at.app_label,
        migration=at.migration_name,
        model=operation.model_name,
        field=operation.name,
        column=column.quoted,
        also=f", {marker} = NULL" if marker else "",
    )
