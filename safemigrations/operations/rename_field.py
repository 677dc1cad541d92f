"""RenameField -> ExpandRename.

RENAME COLUMN is instant, but the release that is still running names the old column in every SELECT and INSERT, and the
next one needs the new name before the last server of the old one is gone.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-RENAME

So the column gets a twin under the new name, a trigger keeps the two equal, and every index is built for the twin too.
The contract proves that they are equal in every row. Then, in one short transaction, the twin goes and the column gets
its name: so all that hangs on the column (constraints, indexes, defaults, views, grants, foreign keys of others) is in
the end what a plain rename leaves, without having been built again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.migrations.operations import (
    AddConstraint,
    AddIndex,
    AlterField,
    AlterUniqueTogether,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameField,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.utils import get_references
from django.db.models import Field

from .. import catalog, defaults
from ..catalog import literal
from ..columns import FK_SUFFIX, Column, raw
from ..defaults import Kind
from ..steps import Lock, Plan, Proof, Together
from .alter_unique_together import sets_of
from .base import Change, Context, Finding, Rule, Situation

if TYPE_CHECKING:
    from ..twins import Twins


class ExpandRename(Change, RenameField):
    """Rename a field; both names work until the contract."""

    category = RenameField.category

    def __init__(self, model_name: str, old_name: str, new_name: str) -> None:
        RenameField.__init__(self, model_name, old_name, new_name)
        self.wrap(RenameField(model_name, old_name, new_name))

    def deconstruct(self):  # type: ignore[no-untyped-def]
        return RenameField.deconstruct(self)

    def describe(self) -> str:
        return f"{RenameField.describe(self)}; both names work until the contract"

    @property
    def identity(self) -> str:
        return f"ExpandRename({self.model_name_lower}.{self.old_name_lower} to {self.new_name_lower})"

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        # ProjectState.rename_field() writes the new name into the fields that refer to this one. They are those of the
        # operations that created them, which then couldn't be gone back to in the same process.
        key = app_label, self.model_name_lower
        field = state.models[key].fields.get(self.old_name)
        for model, name, other, _ in list(get_references(state, key, (self.old_name, field))):
            model.fields[name] = other.clone()
        super().state_forwards(app_label, state)
        # The stock operation leaves lists of lists, which the autodetector can't put into a set.
        options = state.models[key].options
        if "unique_together" in options:
            options["unique_together"] = {tuple(names) for names in options["unique_together"]}

    def contract_label(self, at: Situation) -> str:
        old, new = self._columns(at)
        return f"drop {old.name} of {old.label}, after proving that it equals {new.name}"

    def _columns(self, at: Situation) -> tuple[Column, Column]:
        old, new = at.old(self.model_name), at.new(self.model_name)
        return (
            Column(at.editor, old, old._meta.get_field(self.old_name)),
            Column(at.editor, new, new._meta.get_field(self.new_name)),
        )

    def _twins(self, at: Situation) -> Twins:
        # django-pgtrigger loads psycopg: a tenth of a second that no `manage.py check` should pay.
        from ..twins import Twins

        old, new = self._columns(at)
        # A volatile default gives each of the two another value, and so can't tell which of them was given.
        same = old.field.has_db_default() and defaults.kind(old.field) is Kind.INSTANT
        return Twins(
            old=old,
            twin=new,
            over=_is_renamed(old, new),
            default=defaults.sql(at.connection, old.field) if same else "",
        )

    def _has_same_column(self, at: Situation) -> bool:
        old, new = self._columns(at)
        return old.field.column is None or old.name == new.name

    def expand(self, at: Situation) -> Plan:
        if self._has_same_column(at):
            return ()
        twins = self._twins(at)
        return (twins.unwatched(), twins.begin(), twins.fill(), twins.copy_indexes(), twins.equal())

    def contract(self, at: Situation) -> Plan:
        if self._has_same_column(at):
            return ()
        twins = self._twins(at)
        return (twins.free(), _no_function_names(twins), twins.equal(), twins.move_additions(), self._swap(twins))

    def _swap(self, twins: Twins) -> Together:
        old, new = twins.old, twins.twin
        back = Together(
            why=f"{old.label}: {new.name} is called {old.name} again",
            sql=(_rename(new, old), *_rename_foreign_key(old)),
            locks={old.table: Lock.ACCESS_EXCLUSIVE},
            done=old.exists,
        )
        return Together(
            why=f"{old.label}: drop the twin {new.name}; from now on {old.name} is called {new.name}",
            sql=(*twins.end().sql, _rename(old, new), *_rename_foreign_key(new)),
            locks={old.table: Lock.ACCESS_EXCLUSIVE},
            done=twins.over,
            undo=(back,),
            frees=(old.title, twins.title),
            about=new.title,
        )


class FollowRename(Change):
    """Of an index, a constraint or a generated field that Django makes anew after a rename: it follows the column.

    On another backend, which may build the whole table anew, the stock operation does its work.
    """

    stock_when_alone = False

    def __init__(self, operation: Operation) -> None:
        self.operation, self.category = operation, operation.category  # type: ignore[misc]
        self.model_name = getattr(operation, "model_name", None) or operation.name  # type: ignore[attr-defined]
        self.wrap(operation)

    def deconstruct(self):  # type: ignore[no-untyped-def]
        return type(self).__name__, [], {"operation": self.operation}

    def describe(self) -> str:
        return f"{self.operation.describe()}; it follows the rename"

    @property
    def migration_name_fragment(self) -> Any:
        return self.operation.migration_name_fragment

    @property
    def identity(self) -> str:
        return f"FollowRename({self.operation.describe()})"


def _no_function_names(twins: Twins) -> Proof:
    """By the contract: both columns are there, so that a function can be written for both, and tried."""
    old, new = twins.old, twins.twin
    examples = (
        f"IF to_jsonb(NEW) ? {literal(column.name)} THEN ... NEW.{column.quoted} ...; END IF;" for column in (old, new)
    )
    return Proof(
        why=f"{old.label}: no function of your triggers knows {old.name} alone",
        query=catalog.functions_naming(old.table, old.name),
        failure=(
            f"{old.name} of {old.label} can't be called {new.name}, because functions of the table's triggers take it "
            "by its old name, and every write would fail. They are: {rows}. Nothing was changed. Both columns are "
            f"there now; let the function work on the one that is: {' '.join(examples)} "
            "Then run the same command again."
        ),
        done=twins.over,
    )


def _is_renamed(old: Column, new: Column) -> str:
    return f"{new.exists} AND NOT EXISTS ({old.exists})"


def _rename(one: Column, other: Column) -> str:
    return f"ALTER TABLE {one.table} RENAME COLUMN {one.quoted} TO {other.quoted}"


def _rename_foreign_key(column: Column) -> tuple[str, ...]:
    """To the name that Django gives it; the one that it has only the catalog knows."""
    if not column.has_foreign_key:
        return ()
    reference = column.editor._create_fk_sql(column.model, column.field, FK_SUFFIX)  # type: ignore[attr-defined]
    name = literal(raw(str(reference.parts["name"])))
    return (
        catalog.for_each(
            f"{catalog.foreign_keys(column.table, column.name)} AND conname <> {name}",
            f"EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {literal(column.table)}, found.conname,"
            f" {name});",
        ),
    )


def find(operation: Operation, context: Context) -> Finding | None:
    if type(operation) is RenameField:
        return _of_rename(operation, context)
    if type(operation) in FOLLOWERS and _follows_a_rename(operation, context):
        return Finding(
            f"{operation.describe()}: what is here made anew is there already and follows the rename of its field.",
            (FollowRename(operation),),
        )
    return None


def _of_rename(operation: RenameField, context: Context) -> Finding | None:
    old = _bound(context.model_before(operation.model_name).fields[operation.old_name], operation.old_name)
    new = _bound(context.model_after(operation.model_name).fields[operation.new_name], operation.new_name)
    what = f"RenameField {operation.old_name} of {operation.model_name} to {operation.new_name}"
    if old.many_to_many:
        return _of_many_to_many(what, operation, old, context)
    if old.column is None or old.column == new.column:
        return None
    only_python = f'{operation.new_name} = ...(db_column="{old.column}")'
    harm = (
        f"{what} renames the column at once: the release that is still running names it in every query. (Where only "
        f"Python's name has to change, {only_python} in models.py costs nothing.)"
    )
    if reason := _no_twin(operation, old, context):
        return Finding(harm, way_by_hand=reason)
    return Finding(
        harm,
        (ExpandRename(operation.model_name, operation.old_name, operation.new_name),),
        notice=(
            f"{operation.model_name}.{operation.new_name}: the column is renamed too, which copies it for a while. If "
            f"only Python's name has to change, write {only_python} and make the migration again: that costs nothing."
        ),
    )


def _of_many_to_many(what: str, operation: RenameField, field: Any, context: Context) -> Finding | None:
    if field.db_table or field.remote_field.through:
        return None
    model = context.model_before(operation.model_name)
    table = model.options.get("db_table") or f"{context.app_label}_{operation.model_name_lower}"
    return Finding(
        f"{what} renames its table at once: the release that is still running names it in every query.",
        way_by_hand=(
            f'Write {operation.new_name} = models.ManyToManyField(..., db_table="{table}_{operation.old_name}") in '
            "models.py: then only Python's name changes, at no cost."
        ),
    )


def _no_twin(operation: RenameField, field: Any, context: Context) -> str:
    """Why a column can't live under two names; empty if it can."""
    fields = context.model_before(operation.model_name).fields.values()
    composite = any(operation.old_name in getattr(other, "field_names", ()) for other in fields)
    if field.primary_key or composite:
        return "Do that: queries that group by the primary key accept no other column, so it can't have two names."
    if field.generated:
        return (
            "Do that: PostgreSQL computes a generated column after every trigger, so no twin can be kept equal to it."
        )
    for label, other in context.release:
        same_model = getattr(other, "model_name_lower", None) == operation.model_name_lower
        if (
            label == context.app_label
            and other is not operation
            and same_model
            and _alters(other, operation.new_name, field)
        ):
            return (
                f"The same release has {type(other).__name__} of {operation.new_name}, which would change one of the "
                "two columns only: do that in the release after the contract."
            )
    return ""


def _alters(other: Operation, name: str, field: Field[Any, Any]) -> bool:
    if isinstance(other, AlterField):
        return other.name == name and _in_database(other.field) != _in_database(field)
    return isinstance(other, RenameField | RemoveField) and other.name == name


def _in_database(field: Any) -> Any:
    _, path, args, options = field.deconstruct()
    return path, args, {key: value for key, value in options.items() if key not in field.non_db_attrs}


def _bound(field: Field[Any, Any], name: str) -> Any:
    bound = field.clone()
    bound.set_attributes_from_name(name)
    return bound


# An index or constraint of a renamed field stands in Meta under the field's new name: the autodetector removes and adds
# it, although it is the same.

FOLLOWERS = (RemoveIndex, AddIndex, RemoveConstraint, AddConstraint, AlterUniqueTogether, AlterField)


def _follows_a_rename(operation: Any, context: Context) -> bool:
    if isinstance(operation, AlterUniqueTogether):
        return _is_same_together(operation, context)
    if isinstance(operation, AlterField) and not operation.field.generated:
        return False
    key = context.app_label, operation.model_name_lower
    of_model = [
        other
        for label, other in context.release
        if label == context.app_label and getattr(other, "model_name_lower", None) == operation.model_name_lower
    ]
    renames = [other for other in of_model if isinstance(other, RenameField)]
    before = context.start.models.get(key) if context.start else None
    if before is None or not renames:
        return False
    if isinstance(operation, AlterField):
        return operation.name in before.fields and _is_same(operation.name, operation.field, renames, context)
    name = _name_of(operation)
    added = [
        _what(other) for other in of_model if isinstance(other, AddIndex | AddConstraint) and _name_of(other) == name
    ]
    there = [
        one for one in (*before.options.get("indexes", ()), *before.options.get("constraints", ())) if one.name == name
    ]
    try:
        return len(added) == len(there) == 1 and _is_same(there[0], added[0], renames, context)
    except FieldDoesNotExist:  # it names a field that the same release adds
        return False


def _is_same_together(operation: AlterUniqueTogether, context: Context) -> bool:
    """The rename has changed the sets in the state already, and in the database they follow the column."""
    renamed = any(
        isinstance(other, RenameField) and (label, other.model_name_lower) == (context.app_label, operation.name_lower)
        for label, other in context.release
    )
    before, after = (sets_of(state, context.app_label, operation.name) for state in (context.before, context.after))
    return renamed and before == after


def _what(operation: Any) -> Any:
    return operation.index if isinstance(operation, AddIndex) else operation.constraint


def _name_of(operation: Any) -> str:
    return str(_what(operation).name if isinstance(operation, AddIndex | AddConstraint) else operation.name)


def _is_same(one: Any, other: Any, renames: list[RenameField], context: Context) -> bool:
    """Is it the same SQL, when the renamed fields keep their columns?"""
    assert context.start
    before, after = context.start.clone(), context.start.clone()
    for rename in renames:
        model = after.models[context.app_label, rename.model_name_lower]
        column = _bound(model.fields[rename.old_name], rename.old_name).column
        rename.state_forwards(context.app_label, after)
        model.fields[rename.new_name] = field = model.fields[rename.new_name].clone()
        field.db_column = column
    aliases = [alias for alias in connections if connections[alias].vendor == "postgresql"] or list(connections)
    key = context.app_label, renames[0].model_name_lower
    if isinstance(other, Field):
        after.models[key].fields[one], other = other, one
    with connections[aliases[0]].schema_editor(collect_sql=True, atomic=False) as editor:
        return _sql_of(one, before.apps.get_model(*key), editor) == _sql_of(other, after.apps.get_model(*key), editor)


def _sql_of(what: Any, model: Any, editor: Any) -> str:
    """Of an index, a constraint or, by its name, a generated field."""
    if not isinstance(what, str):
        return str(what.create_sql(model, editor))
    field: Any = model._meta.get_field(what)
    if not field.generated:
        return ""
    return f"{field.db_type(editor.connection)} {field.db_persist} {field.generated_sql(editor.connection)}"


rule = Rule("safemigrations.E050", find)
