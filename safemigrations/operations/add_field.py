"""AddField, nullable or with db_default, that brings an index, UNIQUE, check or foreign key -> AddFieldConcurrently.

The column alone comes instantly. But PostgreSQL builds its index and UNIQUE, and tries its check on every row, while
nobody can write to the table. And the old release doesn't know the foreign key, which keeps it from
deleting a parent that a row of the new release points at. Both foreign keys of a many-to-many field do the same.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES

So the bare column comes first, then its indexes online. Until the contract the foreign key lets go: when the old
release deletes a parent, the database sets the column null, or deletes the relations of a many-to-many field.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AddField
from django.db.migrations.utils import resolve_relation
from django.db.models import Field, Model

from ..plans import claims, defaults
from ..plans.column import Column, table_of
from ..plans.defaults import DefaultKind
from ..plans.foreign_key import ForeignKey
from ..plans.steps import Plan, Statement, Together
from ..postgres.lock import Lock
from ..postgres.tables import table_exists, table_missing
from ..typed import through
from .add_field_with_default import column_with_default, has_column, one_value_proof, parent_proof
from .base import Change, Situation
from .rule import Context, Finding, Rule


class AddFieldConcurrently(Change, AddField):
    """Add a field that rows may lack, or that the database fills, together with its index and constraints."""

    category = AddField.category

    def __init__(self, model_name: str, name: str, field: Field[Any, Any], preserve_default: bool = True) -> None:
        if not (field.null or field.many_to_many or field.has_db_default()):
            raise ValueError(
                f"AddFieldConcurrently {model_name}.{name}: rows of the old release would have no "
                "value. Use AddFieldWithDefault or AddFieldNullableThenBackfill, or let the field be null."
            )
        AddField.__init__(self, model_name, name, field, preserve_default)
        self.wrap(AddField(model_name, name, field, preserve_default))

    def describe(self) -> str:
        return f"{AddField.describe(self)}, and its index and constraints concurrently"

    def is_alone(self, app_label: str, run: Any) -> bool:
        """The table of a many-to-many field points at two models, and another release may know the other one."""
        alone = super().is_alone(app_label, run)
        if not self.field.many_to_many or run.fresh:
            return alone
        relation: Any = self.field.remote_field
        other = resolve_relation(relation.model, app_label, self.model_name.lower())
        return alone and other in {*run.created, (app_label, self.model_name.lower())}

    @property
    def identity(self) -> str:
        return f"AddFieldConcurrently({self.model_name_lower}.{self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        if self.field.many_to_many:
            return f"let the foreign keys of {self._through(at)._meta.db_table} keep their parents"
        column = column_with_default(at, self)
        return f"let the foreign key of {column.name} of {column.label} keep its parents"

    def _through(self, at: Situation) -> type[Model]:
        return through(at.new(self.model_name)._meta.get_field(self.name))

    def expand(self, at: Situation) -> Plan:
        if self.field.many_to_many:
            return self._expand_through_table(at)
        column = column_with_default(at, self)
        return (
            *one_value_proof(self, column),
            *parent_proof(self, column),
            *self._bare_column(column),
            # Its index first: without one each parent that the old release deletes would be looked for in every row.
            *column.indexes(),
            *column.unique(),
            *ForeignKey(column).of_expand(null=column.field.null),
            *column.check(),
        )

    def _bare_column(self, column: Column) -> Plan:
        """The default of a nullable field is for the rows that are there. Django drops it from the database at once."""
        null, field, why = column.field.null, column.field, f"add column {column.name}"
        if field.has_db_default() or not defaults.fills(field):
            default = defaults.sql(column.editor.connection, field) if field.has_db_default() else ""
            return column.add(why, null=null, default=default)
        of_rows = defaults.sql if defaults.is_dated(field) else defaults.one_value
        default = of_rows(column.editor.connection, field)
        (add,) = column.add(f"{why}, {default} for the rows that are there", null=null, default=default)
        assert isinstance(add, Together)
        return (replace(add, sql=(*add.sql, *column.drop_default().statements)),)

    def _expand_through_table(self, at: Situation) -> Plan:
        model = self._through(at)
        if not model._meta.auto_created:
            return ()  # a model of its own, with a migration operation of its own
        lets_go = (step for end in ends(at, model) for step in ForeignKey(end).that_lets_go("CASCADE"))
        return (create_table(at, model), *lets_go)

    def contract(self, at: Situation) -> Plan:
        if not self.field.many_to_many:
            column = column_with_default(at, self)
            return ForeignKey(column).own() if column.has_foreign_key and not ForeignKey(column).on_delete else ()
        model = self._through(at)
        if not model._meta.auto_created:
            return ()
        return tuple(step for end in ends(at, model) for step in ForeignKey(end).own())


def ends(at: Situation, model: type[Model]) -> list[Column]:
    """The two foreign keys of a many-to-many field's table."""
    return [Column(at.editor, model, end) for end in model._meta.local_fields if end.remote_field]


def create_table(at: Situation, model: type[Model]) -> Together:
    """The table with its indexes, and without its foreign keys."""
    table = table_of(model)
    label = table.raw
    with at.connection.schema_editor(collect_sql=True, atomic=False) as editor:
        editor.create_model(model)
        deferred = [str(sql) for sql in editor.deferred_sql if "FOREIGN KEY" not in str(sql)]
        editor.deferred_sql.clear()
    drop = Statement(
        why=f"{label}: drop the table",
        sql=f"DROP TABLE IF EXISTS {table}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=table_missing(table),
        frees=(claims.table(table),),
    )
    return Together(
        why=f"{label}: create the table",
        sql=tuple(sql.rstrip(";") for sql in (*editor.collected_sql, *deferred)),
        locks={},
        done=table_exists(table),
        undo=(drop,),
        takes=(claims.table(table),),
    )


def find(operation: AddField, context: Context) -> Finding | None:
    if operation.field.generated:
        return None
    what = f"AddField {operation.name} of {operation.model_name}"
    safe = AddFieldConcurrently
    if operation.field.many_to_many:
        return _find_many_to_many(what, operation)
    if not (has_column(operation, context) and (harm := _harm(operation.field))):
        return None
    return Finding(
        f"{what} {harm}.",
        (safe(operation.model_name, operation.name, operation.field, operation.preserve_default),),
    )


def _find_many_to_many(what: str, operation: AddField) -> Finding | None:
    relation: Any = operation.field.remote_field
    if relation.through:
        return None
    return Finding(
        f"{what} creates a table whose foreign keys keep the old release from deleting what new rows point at.",
        (AddFieldConcurrently(operation.model_name, operation.name, operation.field, operation.preserve_default),),
        level="note",  # its locks are brief, and until new code writes relations nothing is kept
    )


def _harm(field: Any) -> str:
    nullable = field.null and defaults.kind(field) is not DefaultKind.VOLATILE
    if not nullable and not (field.has_db_default() and defaults.kind(field) is DefaultKind.INSTANT):
        return ""
    if field.remote_field and getattr(field, "db_constraint", False):
        return "has a foreign key: the old release can't delete what new rows point at"
    if field.unique or field.db_index:
        return "builds its index while nobody can write to the table"
    if field.get_internal_type() in POSITIVE:
        return "tries its check on every row while nobody can use the table"
    return ""


POSITIVE = {"PositiveBigIntegerField", "PositiveIntegerField", "PositiveSmallIntegerField"}

rule = Rule("safemigrations.E012", AddField, find)
