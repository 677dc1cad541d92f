"""RemoveField -> RemoveFieldLater.

DROP COLUMN is instant, but the old release names the column in every SELECT and INSERT. And as long
as the column is there, the release that no longer knows it can't insert a row where the column is NOT NULL, nor delete
a parent that the column's foreign key points at.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-DROP-COLUMN

So during expand the column stops being required. It gets the field's default, or a neutral value that the old release
can read, or else it may be null. Its foreign key sets it null when the new release deletes the parent. The contract
drops the column. Of a many-to-many field the table goes, and until then a row of that table is deleted with either of
its ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.db.migrations.operations import AddField, RemoveField
from django.db.models import Field, UniqueConstraint

from ..plans import claims, defaults, stock_claims, tables
from ..plans.claims import Claim
from ..plans.column import Column, bound
from ..plans.defaults import DefaultKind
from ..plans.foreign_key import ForeignKey, on_parent_delete
from ..plans.not_null import may_be_null
from ..plans.steps import Plan, Proof, Statement, Together
from ..postgres.columns import column_missing
from ..postgres.dependents import dependents_of_column
from ..postgres.indexes import unique_index_on
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..postgres.triggers import functions_naming
from ..postgres.values import literal
from ..typed import compose, field_of, through
from .base import Change, Situation
from .rule import Context, Finding, Rule

NEUTRAL = {"CharField": "''", "TextField": "''"}  # what old readers take for "nothing", without a None


class RemoveFieldLater(Change, RemoveField):
    """Stop requiring a column now; drop it when the old release has gone.

    `meanwhile` is the constant that rows of the new release have in the column until then. Without it they have the
    field's default, an empty text, or NULL. `with_model`: the same release deletes the whole model, so only the parents
    of its rows have to be freed.
    """

    category = RemoveField.category

    def __init__(self, model_name: str, name: str, meanwhile: Any = None, with_model: bool = False) -> None:
        RemoveField.__init__(self, model_name, name)
        self.meanwhile, self.with_model = meanwhile, with_model
        self.wrap(RemoveField(model_name, name))

    def describe(self) -> str:
        return f"{RemoveField.describe(self)}; dropped by the contract"

    @property
    def identity(self) -> str:
        return f"RemoveFieldLater({self.model_name_lower}.{self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        field = self._field(at)
        if field.many_to_many:
            return f"drop table {through(field)._meta.db_table}"
        column = self._column(at)
        if self.with_model:
            return f"drop the foreign key of {column.name} of {column.label}"
        return f"drop {column.name} of {column.label}"

    def _field(self, at: Situation) -> Any:
        return field_of(at.old(self.model_name), self.name)

    def _column(self, at: Situation) -> Column:
        return Column(at.editor, at.old(self.model_name), self._field(at))

    def expand(self, at: Situation) -> Plan:
        field = self._field(at)
        if field.many_to_many:
            return _cascade_both_ends(at, field)
        if _has_no_column(at, field):
            return ()
        column = self._column(at)
        if self.with_model:
            return _free_parents(column)
        return (
            _nothing_uses(column, at.freed),
            *self._stop_requiring(at, column),
            *(on_parent_delete(ForeignKey(column), "SET NULL") if column.has_foreign_key else ()),
        )

    def _stop_requiring(self, at: Situation, column: Column) -> Plan:
        field = column.field
        if field.generated:
            return ()
        if not field.has_db_default():
            return () if field.null else self._stop_requiring_a_value(at, column)
        if defaults.kind(field) is DefaultKind.VOLATILE:
            return ()
        drop = column.drop_default(undo=(column.set_default(defaults.sql(at.connection, field)),))
        nullable = () if field.null else (may_be_null(column),)
        if self._one_value_collides(at, column):
            return (drop, *nullable)
        return tuple(_only_where_unique(column, step) for step in (drop, *nullable))

    def _stop_requiring_a_value(self, at: Situation, column: Column) -> Plan:
        default = self._default(at, column)
        if not default:
            return (may_be_null(column),)
        set_default = replace(column.set_default(default), undo=(column.drop_default(),))
        if defaults.kind(column.field) is DefaultKind.VOLATILE:
            return (set_default,)
        unique = unique_index_on(column.table, column.name)
        unless_unique = replace(set_default, only_where=unique.negated())
        return (unless_unique, _only_where_unique(column, may_be_null(column)))

    def _default(self, at: Situation, column: Column) -> str:
        """SQL of the value that rows of the new release get; empty if they get NULL."""
        field = column.field
        if self.meanwhile is not None:
            prepared = field.get_db_prep_save(self.meanwhile, at.connection)
            return compose(at.connection, "%s", [prepared])
        if self._one_value_collides(at, column):
            return ""
        if defaults.kind(field) in (DefaultKind.INSTANT, DefaultKind.VOLATILE):
            return defaults.sql(at.connection, field)
        return NEUTRAL.get(field.get_internal_type(), "") if defaults.is_plain(field) else ""

    def _one_value_collides(self, at: Situation, column: Column) -> bool:
        """Would rows with one value be refused, or point at a parent that the new release may delete?"""
        unique = _is_unique(at, self.model_name, column.field)
        return column.has_foreign_key or (unique and defaults.kind(column.field) is not DefaultKind.VOLATILE)

    def contract(self, at: Situation) -> Plan:
        field = self._field(at)
        if field.many_to_many:
            return _drop_through_table(at, field)
        if _has_no_column(at, field):
            return ()
        column = self._column(at)
        if self.with_model:
            key_without = at.new(self.model_name)._meta.pk.column if field.primary_key else ""
            return _drop_foreign_key(column, str(key_without))
        return (_no_function_names(column), column.drop(undo=self._add_again(at, column)))

    def _add_again(self, at: Situation, column: Column) -> Plan:
        """The column as expand left it, without its values; taking expand back then restores the rest."""
        field = column.field
        default = "" if field.null or field.generated else self._default(at, column)
        if field.has_db_default() and not self._one_value_collides(at, column):
            default = defaults.sql(at.connection, field)
        null = field.null or not default
        return (
            *_values_are_gone(column, may_be_null=field.null or field.generated or bool(default)),
            *column.add(f"add column {column.name} again", null=null, default=default),
            *column.indexes(),
            *column.unique(),
            *column.check(),
            *ForeignKey(column).add(),
        )


def _values_are_gone(column: Column, *, may_be_null: bool) -> Plan:
    """Asks before the column is added again without its values."""
    if may_be_null:
        return ()
    keys, again = ", ".join(column.key), f"ALTER TABLE {column.table} ADD COLUMN {column.quoted}"
    return (
        Proof(
            why=f"{column.label}: no row needs the {column.name} that the contract has dropped",
            query=f"SELECT {keys} FROM {column.table} WHERE TRUE",
            failure=(
                f"Rows of {column.label} have no {column.name}, which can't be null in the release that you go back "
                f"to: {keys} {{rows}}. The contract has dropped it with its values. Nothing was changed. Add it, fill "
                f"it, then run the same command again: {again} {column.definition(null=True)}"
            ),
            done=column.exists,
        ),
    )


def _free_parents(column: Column) -> Plan:
    if not column.has_foreign_key:
        return ()
    return (
        tables.nothing_uses(column.model, but_on_delete=tables.ANY),  # theirs may be removed after it
        *on_parent_delete(ForeignKey(column), tables.when_parent_goes(column)),
    )


def _drop_foreign_key(column: Column, key_without: str) -> Plan:
    """The column goes with its table. Its foreign key goes first, so that tables which point at each other can go."""
    if not column.has_foreign_key:
        return ()
    return (ForeignKey(column).drop(undo=_with_the_table_again(column, key_without)),)


def _with_the_table_again(column: Column, key_without: str) -> Plan:
    """If the contract has dropped the table, too, it is created again, empty and without the column.

    `key_without`: where the field is the key, the column of the one that Django makes up without it.
    """
    with column.editor.connection.schema_editor(collect_sql=True, atomic=False) as collecting:
        collecting.add_field(column.model, column.field)
    is_made_up = column.field.primary_key and key_without != column.name
    without = [f"ALTER TABLE {column.table} DROP COLUMN IF EXISTS {Name.of(key_without)}"] if is_made_up else []
    again = Together(
        why=f"{column.label}: add column {column.name} again",
        sql=(*without, *(sql.rstrip(";") for sql in collecting.collected_sql)),
        locks={column.parent: Lock.SHARE_ROW_EXCLUSIVE, column.table: Lock.ACCESS_EXCLUSIVE},
        done=column.exists,
    )
    return (again, *ForeignKey(column).add())


def _only_where_unique(column: Column, step: Statement) -> Statement:
    """Whether rows of the new release may all have one value, asked of the catalog.

    A unique constraint that the same release removes is there until the contract, though the state no longer has it.
    """
    unique = unique_index_on(column.table, column.name)
    return replace(
        step,
        why=f"{step.why} where a unique index has it",
        only_where=unique,
    )


def _has_no_column(at: Situation, field: Any) -> bool:
    return field.column is None or field.db_parameters(at.connection)["type"] is None


def _is_unique(at: Situation, model_name: str, field: Field[Any, Any]) -> bool:
    """Would rows with the same value of this field collide, by this field alone or together with others?"""
    options = at.before.models[at.app_label, model_name.lower()].options
    together = options.get("unique_together") or ()
    constraints = [c for c in options.get("constraints", ()) if isinstance(c, UniqueConstraint)]
    return (
        field.unique
        or any(field.name in names for names in together)
        or any(field.name in c.fields or c.expressions for c in constraints)
    )


def _nothing_uses(column: Column, freed: Iterable[Claim]) -> Proof:
    kinds = (claims.Kind.TABLE, claims.Kind.COLUMN)
    going = sorted((claim.quoted_table, claim.name) for claim in freed if claim.kind in kinds)
    return Proof(
        why=f"{column.label}: nothing of yours depends on {column.name}",
        query=dependents_of_column(column.table, column.name, but=going),
        failure=(
            f"The contract can't drop {column.name} of {column.label} as long as these use it: {{rows}}. Nothing was "
            "changed. Replace them first, then run the same command again."
        ),
        works_on=(column.claim,),
    )


def _no_function_names(column: Column) -> Proof:
    """Asked by the contract, as the same release may give another function to a trigger whose function names the
    column.
    """
    return Proof(
        why=f"{column.label}: no function of your triggers takes {column.name} from a row",
        query=functions_naming(column.table, column.name),
        failure=(
            f"{column.name} of {column.label} can't be dropped, because functions of the table's triggers name it, and "
            "every write would fail. They are: {rows}. Nothing was changed. Let them do without it, or look whether it "
            f"is there (IF to_jsonb(NEW) ? {literal(column.name)} THEN ...), and run the same command again."
        ),
        done=column_missing(column.table, column.name),
        works_on=(column.claim,),
    )


def _cascade_both_ends(at: Situation, field: Field[Any, Any]) -> Plan:
    table = through(field)
    if not table._meta.auto_created:
        return ()
    ends = tables.foreign_keys(at.editor, table, at.before)
    return (
        tables.nothing_uses(table),
        *(step for end in ends for step in on_parent_delete(ForeignKey(end), "CASCADE")),
    )


def _drop_through_table(at: Situation, field: Field[Any, Any]) -> Plan:
    table = through(field)
    if not table._meta.auto_created:
        return ()  # a model of its own, which stays
    what = f"drop the table of {field.model._meta.object_name}.{field.name}"
    return tables.drop(at.editor, what, table, at.before)


KEEP_THE_COLUMN = (
    " Or keep the column and its values: delete the file and run makemigrations again, which gives the column to the "
    "new field."
)


def find(operation: RemoveField, context: Context) -> Finding | None:
    field = context.model_before(operation.model_name).fields[operation.name]
    what = f"RemoveField {operation.name} of {operation.model_name}"
    if not field.many_to_many and context.deletes(operation.model_name):
        return Finding(
            f"{what} drops the column at once: the old release names it in every SELECT and INSERT.",
            (RemoveFieldLater(operation.model_name, operation.name, with_model=True),),
        )
    if _is_key(field):
        return Finding(
            f"{what} removes the primary key: the old release can't work without it.",
            way_by_hand=(
                "Keep the key; or build a new table with the new key and move the rows over several releases. Where it "
                f'only gets another name, db_column="{bound(field, operation.name).column}" keeps its column.'
            ),
        )
    if successor := _taken_again(operation, field, context):
        return Finding(
            f"{what} drops a column or table whose name is taken in the same release ({successor}): the old release "
            "would read and write the new one.",
            way_by_hand=(
                "Give the new one another db_column, or db_table. Or make two releases: first without the old field, "
                "then, when migrate --contract has dropped it, with the new one."
                + ("" if field.many_to_many else KEEP_THE_COLUMN)
            ),
        )
    return Finding(
        f"{what} drops the column at once: the old release names it in every SELECT and INSERT.",
        (RemoveFieldLater(operation.model_name, operation.name),),
    )


def _taken_again(operation: RemoveField, field: Any, context: Context) -> str:
    """The operation of this release that creates a column, or a table, under the name that is dropped."""
    model = context.model_before(operation.model_name)
    going = set(stock_claims.tables_through(tables.db_table_of(model), [(operation.name, field)]))
    for app_label, other in context.release:
        if any(table.is_in(going) for table in stock_claims.tables_made_by(other, app_label, context.before)):
            return other.describe()
        same_model = app_label == context.app_label and operation.model_name_lower == getattr(
            other, "model_name_lower", ""
        )
        if same_model and isinstance(other, AddField) and _same_column(operation.name, field, other):
            return other.describe()
    return ""


def _same_column(name: str, field: Any, added: AddField) -> bool:
    column = bound(field, name).column
    return column is not None and column == bound(added.field, added.name).column


def _is_key(field: Field[Any, Any]) -> bool:
    return field.primary_key or bool(getattr(field.remote_field, "parent_link", False))


rule = Rule("safemigrations.E020", RemoveField, find)
