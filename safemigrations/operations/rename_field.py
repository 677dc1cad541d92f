"""RenameField -> ExpandRename.

RENAME COLUMN is instant, but the old release names the old column in every SELECT and INSERT. And the
next release needs the new name before the last server of the old one is gone.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-RENAME

So the column lives under both names until the contract: plans/two_names.py tells how. A many-to-many field has a table
instead, which is named after it: that is renamed, and a view has its old name until the contract.
"""

from __future__ import annotations

from typing import Any

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
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import get_references, resolve_relation
from django.db.models import Field

from ..plans import old_table_name
from ..plans.carried import Carried, Renamed
from ..plans.column import Column, bound
from ..plans.steps import Plan
from ..plans.triggers import Kept
from ..plans.two_names import TwoNames
from ..typed import field_of, set_on
from .alter_unique_together import sets_of
from .base import FILLS, Change, Situation
from .rule import Context, Finding, Option, Rule


class ExpandRename(Change, RenameField):
    """Rename a field; both names work until the contract."""

    category = RenameField.category
    takes_time = FILLS

    def __init__(self, model_name: str, old_name: str, new_name: str) -> None:
        RenameField.__init__(self, model_name, old_name, new_name)
        self.wrap(RenameField(model_name, old_name, new_name))

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
        # Django leaves the old name here, and can't render the model that has no such field.
        options = state.models[key].options
        if options.get("order_with_respect_to") == self.old_name:
            options["order_with_respect_to"] = self.new_name
        super().state_forwards(app_label, state)
        # The stock operation leaves lists of lists, which the autodetector can't put into a set.
        if "unique_together" in options:
            options["unique_together"] = {tuple(names) for names in options["unique_together"]}

    def contract_label(self, at: Situation) -> str:
        names = self._names(at)
        return names.contract_label if names else old_table_name.contract_label(self._tables(at))

    def _tables(self, at: Situation) -> list[old_table_name.Pair]:
        old, new = field_of(at.old(self.model_name), self.old_name), field_of(at.new(self.model_name), self.new_name)
        return old_table_name.renamed_with_field(old, new) if old.many_to_many else []

    def _names(self, at: Situation) -> TwoNames | None:
        """None where no column gets another name: the field has none, or keeps it, or is many-to-many."""
        old, new = at.old(self.model_name), at.new(self.model_name)
        field = field_of(old, self.old_name)
        names = TwoNames(Column(at.editor, old, field), Column(at.editor, new, field_of(new, self.new_name)))
        is_renamed = field.column is not None and names.original.name != names.twin.name
        return names if is_renamed and not field.many_to_many else None

    def expand(self, at: Situation) -> Plan:
        names = self._names(at)
        return names.expand() if names else old_table_name.expand(at.editor, self._tables(at))

    def renames(self, at: Situation) -> tuple[Renamed, ...]:
        return old_table_name.renames(self._tables(at))

    def carries(self, at: Situation) -> tuple[Carried, ...]:
        names = self._names(at)
        return (names.carried,) if names else ()

    def kept(self, at: Situation) -> tuple[Kept, ...]:
        names = self._names(at)
        return (names.kept,) if names else ()

    def contract(self, at: Situation) -> Plan:
        names = self._names(at)
        return names.contract() if names else old_table_name.contract(at.editor, self._tables(at))


class FollowRename(Change):
    """Leave alone an index, a constraint or a generated field that Django makes anew after a rename: it follows the
    column.

    On another backend, which may build the whole table anew, the stock operation does its work.
    """

    stock_when_alone = False

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        set_on(self, category=operation.category)
        self.model_name = getattr(operation, "model_name", "") or getattr(operation, "name", "")
        self.wrap(operation)

    def describe(self) -> str:
        return f"{self.operation.describe()}; it follows the rename"

    @property
    def migration_name_fragment(self) -> Any:
        return self.operation.migration_name_fragment

    @property
    def identity(self) -> str:
        return f"FollowRename({self.operation.describe()})"


def find(operation: Operation, context: Context) -> Finding | None:
    if isinstance(operation, RenameField):
        return _of_rename(operation, context)
    if _follows_a_rename(operation, context):
        return Finding(
            f"{operation.describe()}: this makes anew what is there already, and what follows the rename of its field.",
            (FollowRename(operation),),
        )
    return None


def _of_rename(operation: RenameField, context: Context) -> Finding | None:
    old = bound(context.model_before(operation.model_name).fields[operation.old_name], operation.old_name)
    new = bound(context.model_after(operation.model_name).fields[operation.new_name], operation.new_name)
    what = f"RenameField {operation.old_name} of {operation.model_name} to {operation.new_name}"
    if old.many_to_many:
        return _of_many_to_many(what, operation, old, context)
    if old.column is None or old.column == new.column:
        return None
    key_of_child = _key_of_child(operation, old, new, context)
    only_python = key_of_child or f'{operation.new_name} = ...(db_column="{old.column}")'
    harm = (
        f"{what} renames the column at once: the old release names it in every query. (Where only "
        f"Python's name has to change, {only_python} in models.py costs nothing.)"
    )
    if reason := no_second_name(operation, operation.new_name, old, context):
        return Finding(harm, way_by_hand=reason, options=(_kept(operation, old.column, key_of_child, context),))
    rename = ExpandRename(operation.model_name, operation.old_name, operation.new_name)
    if _is_altered_too(operation, old, context):
        return Finding(harm, (*_keep_column(operation, context), rename))
    return Finding(
        harm,
        (rename,),
        notice=(
            f"{operation.model_name}.{operation.new_name}: the column is renamed too, which copies it for a while. If "
            f"only Python's name has to change, write {only_python} and make the migration again: that costs nothing."
        ),
    )


def _is_altered_too(operation: RenameField, field: Any, context: Context) -> bool:
    """Does the same release also alter the column? Then the AlterField does both at once."""
    return any(
        isinstance(other, AlterField)
        and (label, other.model_name_lower, other.name) == _key(operation, context)
        and _in_database(other.field) != _in_database(field)
        for label, other in context.release
    )


def _key_of_child(operation: RenameField, old: Any, new: Any, context: Context) -> str:
    """What models.py says of the key that Django makes for a child of a model; it is called after that model."""
    if not (old.auto_created and old.remote_field):
        return ""
    label, name = resolve_relation(new.remote_field.model)
    parent = f"{label}.{context.after.models[label, name].name}"
    return (
        f'{operation.new_name} = models.OneToOneField("{parent}", models.CASCADE, parent_link=True, '
        f'primary_key=True, db_column="{old.column}")'
    )


def _kept(operation: RenameField, column: str, field: str, context: Context) -> Option:
    operations = (*_keep_column(operation, context), operation)
    question = (
        f"The column of {operation.model_name}.{operation.new_name} can't be renamed while two releases run. Keep it, "
        f'and write db_column="{column}" into models.py, so that only Python\'s name changes?'
    )
    return Option(operation.model_name, operation.new_name, "db_column", column, operations, question, field)


def _key(operation: RenameField, context: Context) -> tuple[str, str, str]:
    return context.app_label, operation.model_name_lower, operation.new_name


def _keep_column(operation: RenameField, context: Context) -> tuple[Operation, ...]:
    """An operation that keeps the column, so that the rename happens in Python alone."""
    field: Any = context.model_before(operation.model_name).fields[operation.old_name].clone()
    field.db_column = bound(field, operation.old_name).column
    field.auto_created = False  # a field that Django makes by itself becomes one of models.py
    keep = AlterField(operation.model_name, operation.old_name, field)
    return (SeparateDatabaseAndState(state_operations=[keep]),)


def _of_many_to_many(what: str, operation: RenameField, field: Any, context: Context) -> Finding | None:
    if getattr(field, "db_table", None) or field.remote_field.through:
        return None
    model = context.model_before(operation.model_name)
    table = model.options.get("db_table") or f"{context.app_label}_{operation.model_name_lower}"
    only_python = f'{operation.new_name} = models.ManyToManyField(..., db_table="{table}_{operation.old_name}")'
    return Finding(
        f"{what} renames its table at once: the old release names it in every query. (Where only Python's name has to "
        f"change, {only_python} in models.py costs nothing.)",
        (ExpandRename(operation.model_name, operation.old_name, operation.new_name),),
        notice=(
            f"{operation.model_name}.{operation.new_name}: its table is renamed too, and a view has the old name until "
            f"the contract. If only Python's name has to change, write {only_python} and make the migration again: "
            "that costs nothing."
        ),
    )


def no_second_name(operation: Any, new_name: str, field: Any, context: Context) -> str:
    """The reason why the column of a field can't have two names; empty if it can."""
    # RenameField of Django writes the new name into the key of the state before, too: the two share its field.
    of_key = (is_of_composite_key(name, context.model_before(operation.model_name)) for name in (field.name, new_name))
    if field.primary_key or any(of_key):
        return "Do that: queries that group by the primary key accept no other column, so it can't have two names."
    if field.generated:
        return (
            "Do that: PostgreSQL computes a generated column after every trigger, so no twin can be kept equal to it."
        )
    for label, other in context.release:
        same_model = getattr(other, "model_name_lower", None) == operation.model_name_lower
        if label == context.app_label and same_model and _takes_it(other, new_name):
            return (
                f"The same release has {type(other).__name__} of {new_name}, which would change one of the "
                "two columns only: do that in the release after the contract."
            )
    return ""


def is_of_composite_key(name: str, model: ModelState) -> bool:
    return any(name in getattr(other, "field_names", ()) for other in model.fields.values())


def _takes_it(other: Operation, name: str) -> bool:
    return isinstance(other, RenameField | RemoveField) and other.name == name


def _in_database(field: Any) -> Any:
    _, path, args, options = field.deconstruct()
    return path, args, {key: value for key, value in options.items() if key not in field.non_db_attrs}


# An index or constraint of a renamed field stands in Meta under the field's new name: the autodetector removes and adds
# it, although it is the same.

NEWEST = 1_000_000  # a version of PostgreSQL, as psycopg says it, that has all that there is
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
    """The sets in the state have the new names already. In the database they follow the column."""
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
    """Do both have the same SQL if the renamed fields keep their columns?"""
    assert context.start
    before, after = context.start.clone(), context.start.clone()
    for rename in renames:
        model = after.models[context.app_label, rename.model_name_lower]
        column = bound(model.fields[rename.old_name], rename.old_name).column
        rename.state_forwards(context.app_label, after)
        model.fields[rename.new_name] = field = model.fields[rename.new_name].clone()
        field.db_column = column
    aliases = [alias for alias in connections if connections[alias].vendor == "postgresql"] or list(connections)
    connection = connections[aliases[0]].copy()
    set_on(connection, pg_version=NEWEST)  # makemigrations works without a server, and both are spelled for the same
    key = context.app_label, renames[0].model_name_lower
    if isinstance(other, Field):
        after.models[key].fields[one], other = other, one
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        return _sql_of(one, before.apps.get_model(*key), editor) == _sql_of(other, after.apps.get_model(*key), editor)


def _sql_of(what: Any, model: Any, editor: Any) -> str:
    """The SQL of an index or a constraint, or of a generated field, which is given by its name."""
    if not isinstance(what, str):
        return str(what.create_sql(model, editor))
    field: Any = model._meta.get_field(what)
    if not field.generated:
        return ""
    return f"{field.db_type(editor.connection)} {field.db_persist} {field.generated_sql(editor.connection)}"


rule = Rule("safemigrations.E050", (RenameField, *FOLLOWERS), find)
