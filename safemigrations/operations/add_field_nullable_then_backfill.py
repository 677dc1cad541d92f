"""AddField NOT NULL whose value is computed -> AddFieldNullableThenBackfill.

Django evaluates a Python default once and gives every row the same value; then it drops the default, and the release
that is still running fails on NOT NULL. A value that depends on the row takes a data migration, during which both
releases go on writing.

So the column comes nullable. Where the value is an expression, a trigger gives it to the rows that the old release
inserts, before the existing rows are filled in batches: the other way round rows are lost in between. A Python
function PostgreSQL can't call: such rows stay NULL until the contract computes them, or carry `meanwhile`, a value or
an expression that stands in; a marker column remembers which ones they are. The contract fills what is left,
proves NOT NULL without a scan under a lock, and takes trigger and marker away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.migrations.operations import AddField
from django.db.models import NOT_PROVIDED, Field, Value

from .. import catalog, defaults
from ..catalog import temporary_name
from ..columns import Column
from ..defaults import Kind
from ..runner import current_run
from ..steps import Backfill, Lock, Plan, Proof, RowFunction, Statement
from .add_field_with_default import field_with_default, has_column
from .base import Change, Context, Finding, Rule, Situation


def is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression")


def path_of(function: Any) -> str:
    """The import path of a function, as pkgutil.resolve_name() takes it.

    Raises ValueError for one that can't be imported, such as a lambda.
    """
    name = getattr(function, "__qualname__", "")
    if not name or "<" in name:
        raise ValueError(f"{function!r} can't be imported: write a function at the top level of a module.")
    return f"{function.__module__}:{name}"


@dataclass(frozen=True)
class Answer:
    """What a person typed at makemigrations' prompt to have each row computed; it travels as the field's default."""

    backfill: Any


class AddFieldNullableThenBackfill(Change, AddField):
    """Add a field that can't be null and whose value is computed for each row.

    `backfill` is an expression over the row and its relations (F("price") * 2, F("customer__country")), or a function
    that is given an instance of the model as it is in this migration; without it the field's own callable default is
    called for each row. `meanwhile` belongs to functions: the constant or expression that rows of the old release
    carry until the contract.
    """

    category = AddField.category
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

    def deconstruct(self):  # type: ignore[no-untyped-def]
        name, args, kwargs = AddField.deconstruct(self)
        extra = {"backfill": self.backfill, "meanwhile": self.meanwhile}
        return name, args, {**kwargs, **{key: value for key, value in extra.items() if value is not None}}

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
        """What new code may meet until the contract, if it may meet anything."""
        if not self._is_python or self.meanwhile is not None:
            return ""
        return (
            f"{self.model_name}.{self.name}: PostgreSQL can't call {self._function_name}, so rows that the running "
            f"release inserts after migrate have no {self.name} until the contract: new code may read None there. If "
            "it can't live with that, add meanwhile=, a value or an expression that stands in, to the migration."
        )

    @property
    def _is_python(self) -> bool:
        return self.backfill is None or (callable(self.backfill) and not is_expression(self.backfill))

    def _path(self) -> str:
        """Of the function; empty where the state's field still has it, which then need not be importable."""
        if self.backfill is not None:
            return path_of(self.backfill)
        return "" if self.preserve_default else path_of(self.field.default)

    def _column(self, at: Situation) -> Column:
        return Column(at.editor, at.new(self.model_name), field_with_default(at, self))

    def _marker(self, column: Column) -> str:
        """The quoted name of the column that remembers the rows which carry `meanwhile`."""
        return f'"{temporary_name(column.name, "meanwhile")}"' if self.meanwhile is not None else ""

    def contract_label(self, at: Situation) -> str:
        column = self._column(at)
        return f"forbid null in {column.name} of {column.label}, after filling the rows that are left"

    def expand(self, at: Situation) -> Plan:
        column = self._column(at)
        return (
            *column.add(f"add column {column.name}, still nullable", null=True),
            *self._add_marker(column),
            *self._triggers(at, column),
            self._fill(at, column, why=f"fill {column.name} of the rows that are there"),
            *self._filled_proof(column),
            *column.indexes(),
            *column.unique(),
            *column.check(),
        )

    def contract(self, at: Situation) -> Plan:
        from ..sync import drop_of  # see _triggers()

        column = self._column(at)
        return (
            self._fill(at, column, why=f"fill {column.name} of the rows that the old release inserted last"),
            *column.not_null(),
            *column.foreign_key(),
            *(drop_of(trigger) for trigger in self._triggers(at, column)),
            *(step for added in self._add_marker(column) for step in added.undo),
        )

    def _triggers(self, at: Situation, column: Column) -> tuple[Any, ...]:
        # django-pgtrigger loads psycopg: a tenth of a second that no `manage.py check` should pay.
        from ..sync import fill_on_insert, unmark_on_update

        if not self._is_python:
            return (fill_on_insert(column, self._value(at, column, self.backfill, row="NEW")),)
        if self.meanwhile is None:
            return ()
        marker = self._marker(column)
        value = self._value(at, column, self.meanwhile, row="NEW")
        return (fill_on_insert(column, value, marker=marker), unmark_on_update(column, marker))

    def _value(self, at: Situation, column: Column, value: Any, *, row: str) -> str:
        from ..sync import row_expression  # see _triggers()

        expression = value if is_expression(value) else Value(value, output_field=column.field)
        return row_expression(at.connection, column.model, column.field, expression, row=row)

    def _fill(self, at: Situation, column: Column, *, why: str) -> Backfill:
        guard, marker = f"{column.quoted} IS NULL", self._marker(column)
        function, assign = None, ""
        if self._is_python:
            function = self._row_function(at, column)
            guard = f"({guard} OR {marker})" if marker else guard
        else:
            assign = f"{column.quoted} = {self._value(at, column, self.backfill, row=column.table)}"
        return Backfill(
            why=f"{column.label}: {why}",
            table=column.table,
            key=column.key,
            guard=guard,
            assign=assign,
            function=function,
            about=column.title,
        )

    def _row_function(self, at: Situation, column: Column) -> RowFunction:
        migration, marker = current_run().migration, self._marker(column)
        return RowFunction(
            path=self._path(),
            takes_row=self.backfill is not None,
            app_label=at.app_label,
            migration=migration.name if migration else "",
            model=self.model_name,
            field=self.name,
            column=column.quoted,
            also=f", {marker} = NULL" if marker else "",
        )

    def _filled_proof(self, column: Column) -> Plan:
        """An expression that gives NULL is found out before new code runs; a function is asked row by row."""
        if self._is_python:
            return ()
        keys = ", ".join(column.key)
        return (
            Proof(
                why=f"{column.label}: every row has {column.name}",
                query=f"SELECT {keys} FROM {column.table} WHERE {column.quoted} IS NULL",
                failure=(
                    f"The backfill of {self.model_name}.{self.name} gives NULL, which the field forbids, for "
                    f"{', '.join(column.key)} {{rows}}. The column stays nullable and both releases can go on. Give "
                    "these rows what the expression needs, or wrap it: Coalesce(..., Value(...)); then run the same "
                    "command again."
                ),
                done=catalog.column_not_null(column.table, column.name),
            ),
        )

    def _add_marker(self, column: Column) -> Plan:
        marker = self._marker(column)
        if not marker:
            return ()
        locks = {column.table: Lock.ACCESS_EXCLUSIVE}
        drop = Statement(
            why=f"{column.label}: forget which rows carried a stand-in for {column.name}",
            sql=f"ALTER TABLE {column.table} DROP COLUMN IF EXISTS {marker}",
            locks=locks,
            done=catalog.column_missing(column.table, marker.strip('"')),
        )
        return (
            Statement(
                why=f"{column.label}: remember which rows carry a stand-in for {column.name}",
                sql=f"ALTER TABLE {column.table} ADD COLUMN IF NOT EXISTS {marker} boolean",
                locks=locks,
                done=catalog.column_exists(column.table, marker.strip('"')),
                undo=(drop,),
            ),
        )


def find(operation: AddField, context: Context) -> Finding | None:
    if type(operation) is not AddField or not has_column(operation):
        return None
    field, what = operation.field, f"AddField {operation.name} of {operation.model_name}"
    computed = isinstance(field.default, Answer) or defaults.kind(field) is Kind.PYTHON
    if field.null or not computed:
        return None
    safe = replacement(operation)
    return Finding(
        f"{what} gives every row the value of one call and then drops its default: the release that is still running "
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


rule = Rule("safemigrations.E011", find)
