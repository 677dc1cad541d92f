"""AddField NOT NULL with a default that PostgreSQL can hold -> AddFieldWithDefault.

Django adds the column with its default and drops the default in the next statement. From then on the old release
fails: it inserts rows without the column. PostgreSQL builds the index of the field, or UNIQUE, under a
lock. A volatile default, such as a random UUID, rewrites the table. A check on the field scans it.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES

PostgreSQL stores a constant or STABLE default once for all rows. So the column comes instantly. It keeps its default
until the contract, and so rows of the old release get their value. A volatile default becomes that of a nullable
column, rows are filled in batches, and NOT NULL follows without a scan under a lock. Index, UNIQUE and check are built
online. A foreign key lets go until the contract: the old release may delete a parent that a new row points at.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from django.db.migrations.operations import AddField, AlterField
from django.db.models import Field
from django.db.models.fields import AutoFieldMixin

from ..plans import defaults
from ..plans.column import Column, bound
from ..plans.defaults import DefaultKind
from ..plans.foreign_key import ForeignKey
from ..plans.not_null import not_null
from ..plans.steps import Backfill, Plan, Proof, Together
from ..postgres.names import Name
from ..postgres.tables import table_missing
from ..typed import field_of
from .base import Change, Situation
from .rule import Context, Finding, Rule


def column_with_default(at: Situation, operation: AddField | AlterField) -> Column:
    """The column as the state after the operation has it, with the one-off default that the operation may have."""
    model = at.new(operation.model_name)
    field = copy.copy(field_of(model, operation.name))
    field.__dict__.pop("_get_default", None)  # cached of the default before
    field.default = operation.field.default
    return Column(at.editor, model, field)


class AddFieldWithDefault(Change, AddField):
    """Add a field whose default the database keeps until the old release has gone."""

    category = AddField.category

    def __init__(self, model_name: str, name: str, field: Field[Any, Any], preserve_default: bool = True) -> None:
        if defaults.kind(field) in (DefaultKind.NONE, DefaultKind.PYTHON):
            raise ValueError(
                f"AddFieldWithDefault {model_name}.{name}: PostgreSQL can't hold the default of this field. Give it a "
                "constant default or a db_default, or use AddFieldNullableThenBackfill."
            )
        AddField.__init__(self, model_name, name, field, preserve_default)
        self.wrap(AddField(model_name, name, field, preserve_default))

    def describe(self) -> str:
        until = "" if self.field.has_db_default() else "; the database knows its default until the contract"
        return f"{AddField.describe(self)}{until}"

    @property
    def identity(self) -> str:
        return f"AddFieldWithDefault({self.model_name_lower}.{self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        column = column_with_default(at, self)
        parts = ["add the foreign key"] if column.has_foreign_key else []
        parts += [] if self.field.has_db_default() else ["drop the database default"]
        return f"{' and '.join(parts)} of {column.name} of {column.label}"

    def expand(self, at: Situation) -> Plan:
        column = column_with_default(at, self)
        add = self._volatile(column) if defaults.kind(column.field) is DefaultKind.VOLATILE else self._instant(column)
        return (
            *one_value_proof(self, column),
            *parent_proof(self, column),
            *add,
            # Its index first: without one each parent that the old release deletes would be looked for in every row.
            *column.indexes(),
            *column.unique(),
            *ForeignKey(column).of_expand(null=column.field.null),
            *column.check(),
        )

    def _instant(self, column: Column) -> Plan:
        default = defaults.sql(column.editor.connection, column.field)
        why = f"add column {column.name}, {default} for every row"
        (add,) = column.add(why, null=column.field.null, default=default)
        is_constant = defaults.is_constant(column.field)
        return (dataclasses.replace(add, done=column.is_added_with(default)) if is_constant else add,)

    def _volatile(self, column: Column) -> Plan:
        default = defaults.sql(column.editor.connection, column.field)
        (add,) = column.add(f"add column {column.name}; new rows get {default}", null=True)
        assert isinstance(add, Together)
        (set_default,) = column.set_default(default).statements
        return (
            # Together: a row that is inserted between the two would wait for the backfill.
            dataclasses.replace(add, sql=(*add.sql, set_default)),
            Backfill(
                why=f"{column.label}: fill {column.name} of the rows that are there",
                table=column.table,
                key=column.key,
                guard=f"{column.quoted} IS NULL",
                assign=f"{column.quoted} = {default}",
            ),
            *(() if column.field.null else not_null(column)),
        )

    def contract(self, at: Situation) -> Plan:
        column = column_with_default(at, self)
        if self.field.has_db_default():
            return ForeignKey(column).own()
        default = defaults.sql(at.connection, column.field)
        return (*ForeignKey(column).own(), column.drop_default(undo=(column.set_default(default),)))


def one_value_proof(operation: AddField, column: Column) -> Plan:
    """A proof before anything is touched: a unique column can't have the same value in every row."""
    field, kind = column.field, defaults.kind(column.field)
    is_none = field.has_default() and field.default is None
    if not field.unique or is_none or kind in (DefaultKind.VOLATILE, DefaultKind.NONE):
        return ()
    return (
        Proof(
            why=f"{column.label}: at most one row, as {column.name} is unique and has one default",
            query=f"SELECT 1 FROM (SELECT FROM {column.table} LIMIT 2) two HAVING count(*) = 2",
            failure=(
                f"{operation.model_name}.{operation.name} is unique, and its default would be the same in every row of "
                f"{column.label}. Nothing was changed. Use a default that differs for each row (uuid.uuid4, or "
                "a function), or AddFieldNullableThenBackfill with an expression over the row."
            ),
            done=column.exists.or_(table_missing(column.table)),
        ),
    )


def parent_proof(operation: AddField, column: Column) -> Plan:
    """A default that is no parent: once the foreign key is there, neither release could write a row."""
    field = column.field
    if not column.has_foreign_key or defaults.kind(field) is not DefaultKind.INSTANT or field.default is None:
        return ()
    default, target = defaults.sql(column.editor.connection, field), field.target_field.column
    parents = f"SELECT FROM {column.parent} WHERE {Name.from_django(target)} = {default}"
    parent = column.parent.raw
    return (
        Proof(
            why=f"{column.label}: the default of {column.name} is in {parent}",
            # Where both tables are empty, as on a laptop, nothing points at it.
            query=(
                f"SELECT 1 WHERE NOT EXISTS ({parents})"
                f" AND (EXISTS (SELECT FROM {column.table}) OR EXISTS (SELECT FROM {column.parent}))"
            ),
            failure=(
                f"{operation.model_name}.{operation.name}: its default, {default}, is no row of {parent}, and every "
                f"row of {column.label} would point at it. Nothing was changed. Make that row, or use the key of one "
                "that is there; then run the same command again."
            ),
            done=column.exists.or_(table_missing(column.table)),
        ),
    )


def find(operation: AddField, context: Context) -> Finding | None:
    field, what = operation.field, f"AddField {operation.name} of {operation.model_name}"
    if field.generated or isinstance(field, AUTO) or field.primary_key:
        return _refused(what, field)
    if not has_column(operation, context):
        return None
    kind = defaults.kind(field)
    if kind in (DefaultKind.NONE, DefaultKind.PYTHON) or (field.null and kind is not DefaultKind.VOLATILE):
        return None
    if kind is DefaultKind.VOLATILE and field.has_db_default():
        harm = f"{what} has a volatile db_default: PostgreSQL rewrites the whole table while nobody can read or write."
        return Finding(harm, _replacement(operation))
    if field.has_db_default() and not field.unique:
        return None  # instant; its index and constraints are AddFieldConcurrently's
    if field.unique and kind is DefaultKind.INSTANT:
        return _same_value_twice(what)
    return _one_call_for_all(what, operation) if field.null else _drops_default(what, operation)


def _replacement(operation: AddField) -> tuple[AddFieldWithDefault]:
    return (AddFieldWithDefault(operation.model_name, operation.name, operation.field, operation.preserve_default),)


def _same_value_twice(what: str) -> Finding:
    return Finding(
        f"{what} is unique and has one default: the second row, and the second one that the old release "
        "inserts, fails.",
        way_by_hand=(
            "Give the field a default that differs for each row (uuid.uuid4, a function), or make it nullable "
            "in this release and NOT NULL in the next."
        ),
    )


def _one_call_for_all(what: str, operation: AddField) -> Finding:
    return Finding(
        f"{what} gives every row that is there the value of one call, and none to those that the old release inserts.",
        _replacement(operation),
        level="note",
    )


def _drops_default(what: str, operation: AddField) -> Finding:
    return Finding(
        f"{what} drops its default at once: the old release inserts rows without {operation.name} "
        "and fails on NOT NULL.",
        _replacement(operation),
    )


def _refused(what: str, field: Any) -> Finding | None:
    if field.generated and not field.db_persist:
        return None  # VIRTUAL: instant
    if field.primary_key and not isinstance(field, AUTO) and not field.generated:
        return None
    return Finding(
        f"{what} rewrites the whole table while nobody can read or write.",
        way_by_hand=ANOTHER_NAME if isinstance(field, AUTO) else GENERATED,
    )


GENERATED = (
    "Add a plain nullable field beside it and keep that filled, with a trigger and in batches: PostgreSQL makes no "
    "plain column a generated one. A virtual one (db_persist=False, PostgreSQL 18) is instant. Or decide that the "
    "table is small, with allow_unsafe on the migration."
)
ANOTHER_NAME = (
    "Where the key only gets another name, db_column with the name of its column keeps it. Or decide that the table is "
    "small, with allow_unsafe on the migration."
)


def has_column(operation: AddField, context: Context) -> bool:
    field = bound(operation.field, operation.name)
    if field.many_to_many or field.column is None:
        return False
    return (
        bool(field.remote_field) or field.db_parameters(context.connection_of(operation.model_name))["type"] is not None
    )


AUTO: Any = AutoFieldMixin

rule = Rule("safemigrations.E010", AddField, find)
