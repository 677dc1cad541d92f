"""RunPython or RunSQL that touches many rows -> Backfill.

One UPDATE of a large table locks every row until it ends, and doubles the table; when it is killed, all of it was in
vain. The loop in RunPython that blog posts recommend is slower, and forgets where it was. It also runs in the
transaction of the migration unless somebody thought of that.

So a data migration says what to set and where. The engine that fills rows for every other operation does it: in short
transactions, it goes on where it was killed, and it gives way to users. Expressions may follow relations. What
PostgreSQL can't compute is a Python function of the row, whose values are written in bulk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import SeparateDatabaseAndState
from django.db.migrations.state import ProjectState
from django.db.models import BooleanField, F, Model, OuterRef, Q, Subquery, Value

from ..plans import steps
from ..plans.column import key_of, table_of
from ..plans.expressions import refuse_many, row_expression
from ..plans.steps import Plan
from ..postgres.names import Name
from ..typed import compose, set_on
from . import without_app
from .base import FILLS, Change, Situation
from .filling import is_expression, path_of

Values = Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None]


class Backfill(Change):
    """Set fields of existing rows, in batches.

    `set` maps fields to values or to expressions over the row and its relations. Or it is a function that takes an
    instance of the model as it is in this migration, and returns such a dictionary. `where` selects the rows. `reverse`
    is what to set on the way back; without it the way back sets nothing. `can_wait`: both releases can live with
    unfilled rows, so `migrate` may leave a large table to `safemigrations backfill run`.
    """

    stock_when_alone = False
    takes_time = FILLS

    def __init__(
        self,
        model_name: str,
        set: Values,
        where: Any = None,
        reverse: Values | None = None,
        can_wait: bool = False,
        elidable: bool = False,
    ) -> None:
        self.model_name, self.set, self.where, self.reverse = model_name, set, where, reverse
        self.can_wait = can_wait
        set_on(self, elidable=elidable)
        self._check_arguments()
        SeparateDatabaseAndState.__init__(self)

    def _check_arguments(self) -> None:
        what = f"Backfill of {self.model_name}"
        for values in (self.set, self.reverse):
            if callable(values):
                path_of(values)
            elif values is not None and not values:
                raise ValueError(f"{what}: say what to set, as in set={{'region': F('country__code')}}.")
        if self.where is None and not callable(self.set) and (twice := _read_by(self.set) & self.set.keys()):
            names = ", ".join(sorted(twice))
            raise ValueError(
                f"{what}: {names} is computed from itself, so a row that is filled twice would be wrong. Say with "
                "where= which rows aren't filled yet."
            )

    def describe(self) -> str:
        return f"Fill {self._what} of {self.model_name}, in batches"

    @property
    def migration_name_fragment(self) -> str:
        return f"backfill_{self.model_name.lower()}"

    @property
    def _what(self) -> str:
        return self.set.__name__ if callable(self.set) else ", ".join(self.set)

    @property
    def identity(self) -> str:
        return f"Backfill({self.model_name.lower()}: {self._what})"

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        if self.elidable:
            return [operation]
        return [self] if operation.elidable else False

    def expand(self, at: Situation) -> Plan:
        """Only the step of the engine: nothing is left for the contract."""
        where = _condition(at, at.new(self.model_name), self.where) if self.where is not None else ""
        undo = (self._step(at, self.reverse, "", what="take back"),) if self.reverse is not None else ()
        return (self._step(at, self.set, where, what="fill", undo=undo, can_wait=self.can_wait),)

    def _step(self, at: Situation, values: Values, where: str, *, what: str, **rest: Any) -> steps.Backfill:
        model = at.new(self.model_name)
        table = table_of(model)
        name = values.__name__ if callable(values) else ", ".join(values)
        how = self._by_function(at, values, where) if callable(values) else self._by_sql(at, values, where)
        return steps.Backfill(why=f"{table.raw}: {what} {name}", table=table, key=key_of(model), **how, **rest)

    def _by_function(self, at: Situation, function: Callable[..., Any], where: str) -> dict[str, Any]:
        computed = steps.RowFunction(
            path=path_of(function),
            takes_row=True,
            app_label=at.app_label,
            migration=at.migration_name,
            model=self.model_name,
            field="",
            column="",
            many=True,
        )
        return {"guard": where or "TRUE", "function": computed, "clears": False}

    def _by_sql(self, at: Situation, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        model = at.new(self.model_name)
        table = table_of(model)
        compiled = {}
        for name, value in values.items():
            field = own_field(model, name)
            refuse_many(model, field, value)
            expression = value if is_expression(value) else Value(value, output_field=field)
            # A NULL that comes out of a query has a type, which may be another than the column's.
            sql = "NULL" if value is None else row_expression(at.connection, model, field, expression, row=table)
            compiled[Name.from_django(field.column)] = sql
        # Without a condition, a row that has these values is filled: so a batch that runs twice changes nothing.
        filled = f"ROW({', '.join(compiled)}) IS DISTINCT FROM ROW({', '.join(compiled.values())})"
        is_relative = not where and bool(_read_by(values) & values.keys())  # no value tells that a row is filled
        return {
            "assign": ", ".join(f"{column} = {sql}" for column, sql in compiled.items()),
            "guard": "TRUE" if is_relative else where or filled,
            "sets": tuple(compiled),
            "clears": not is_relative and (not where or _clears(self.where, values)),
        }

    # Another backend, or this app isn't installed any more.

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if self._is_by_plan(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        else:
            at = Situation(app_label, schema_editor, before=from_state, after=to_state)
            self._fill_without_engine(at, self.set)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if self._is_by_plan(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)
        elif self.reverse is not None:
            at = Situation(app_label, schema_editor, before=to_state, after=from_state)
            self._fill_without_engine(at, self.reverse, everywhere=True)

    def _is_by_plan(self, schema_editor: BaseDatabaseSchemaEditor) -> bool:
        return schema_editor.connection.vendor == "postgresql" and without_app.is_installed()

    def _fill_without_engine(self, at: Situation, values: Values, *, everywhere: bool = False) -> None:
        """Fill with one UPDATE, or row by row: only PostgreSQL has batches that can be continued."""
        if not self.is_migrated_here(at) or at.editor.collect_sql:
            return
        if at.connection.vendor == "postgresql":
            self._refuse_rows(at, at.after)
        model = at.new(self.model_name)
        rows = model._base_manager.using(at.connection.alias)
        selected = rows.all() if everywhere or self.where is None else rows.filter(self.where)
        if not callable(values):
            selected.update(**{name: _assignable(model, value) for name, value in values.items()})
            return
        for row in selected:
            computed = dict(values(row) or {})
            for name, value in computed.items():
                setattr(row, name, value)
            row.save(using=at.connection.alias, update_fields=list(computed))


def own_field(model: type[Model], name: str) -> Any:
    """A field whose column is in the model's own table. Raises ValueError for any other."""
    field: Any = model._meta.get_field(name)
    if field not in model._meta.local_concrete_fields:
        raise ValueError(
            f"The column of {model._meta.label}.{name} is not in the table of {model._meta.object_name}. Fill "
            f"{field.model._meta.label} instead."
        )
    return field


def _assignable(model: type[Model], value: Any) -> Any:
    """The value as an expression without joins, which UPDATE doesn't allow."""
    if not is_expression(value) or not any("__" in name for name in _names(value)):
        return value
    return Subquery(model._base_manager.filter(pk=OuterRef("pk")).annotate(safemig=value).values("safemig")[:1])


def _names(expression: Any) -> list[str]:
    """The names of the fields that the expression reads."""
    parts = expression.flatten() if hasattr(expression, "flatten") else [expression]
    return [str(getattr(part, "name", "")) for part in parts if isinstance(part, F)]


def _read_by(values: Mapping[str, Any]) -> set[str]:
    return {name.partition("__")[0] for value in values.values() if is_expression(value) for name in _names(value)}


def _clears(where: Any, values: Mapping[str, Any]) -> bool:
    """Does a filled row stop meeting the condition, because it asks whether one of the set fields is null?"""
    if not isinstance(where, Q) or where.negated or where.connector != Q.AND:
        return False
    null = [(name, None) for name in values] + [(f"{name}__isnull", True) for name in values]
    return any(child in null for child in where.children)


def _condition(at: Situation, model: type[Model], where: Any) -> str:
    query = model._base_manager.using(at.connection.alias).order_by().filter(where).query
    if len(query.alias_map) > 1:
        field: Any = BooleanField()
        field.set_attributes_from_name("where")
        return row_expression(at.connection, model, field, where, row=table_of(model))
    try:
        sql, params = query.get_compiler(connection=at.connection).compile(query.where)
    except FullResultSet:
        return "TRUE"
    except EmptyResultSet:
        return "FALSE"
    return f"({compose(at.connection, sql, params)})"
