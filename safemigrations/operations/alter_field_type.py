"""AlterField that gives a column another type, collation or name -> ExpandAlterField.

ALTER TYPE rewrites the table, and those of every foreign key that points at the column, while nobody can use them.
RENAME COLUMN is instant, but the old release names the old column in every SELECT and INSERT.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES

Two releases live with such a change in one of three ways, each with a module of plans that tells its story:

- Another name alone, by db_column (plans/two_names.py): the column has both names until the contract, as after a
  RenameField.
- Another type under the same name (plans/new_type.py): the column is exchanged for one that was filled and indexed
  beside it. While a column has the wider of two types, both releases can use it. So a wider type comes during expand,
  and a narrower one with the contract.
- Another type and another name (plans/two_types.py), where the values of the two types are not the same to Python: each
  release has a column of its own, of the type that it knows. Under one name no column can be of both types, so that is
  refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import router
from django.db.backends.base.schema import _related_non_m2m_objects  # type: ignore[attr-defined]
from django.db.migrations.operations import AlterField, AlterModelTable, RenameModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState
from django.db.migrations.utils import get_references
from django.db.models import Field

from ..data import Data
from ..plans import end_of_many_to_many, old_table_name
from ..plans.carried import Carried, Renamed, carried
from ..plans.casts import Cast, cast, cut_off, numeric_of_both, parse
from ..plans.claims import Claim, Claims
from ..plans.column import Column
from ..plans.new_type import Exchange, Retyped
from ..plans.steps import Plan
from ..plans.triggers import Kept
from ..plans.two_names import TwoNames
from ..plans.two_parents import TwoParents
from ..plans.two_types import TwoTypes
from ..typed import field_of
from .alteration import Alteration, described, is_instant
from .base import Change, Situation
from .forms import alteration_at
from .home import home_of
from .parents import points_at_other_rows
from .parts import Altered, Part
from .rename_field import is_of_composite_key, no_second_name
from .rule import Context, Finding, Option, Rule
from .set_not_null import fills_twice

TwoColumns = TwoNames | TwoTypes | TwoParents
OF_TYPE = ("changes_type", "changes_collation")


class ExpandAlterField(Change, AlterField):
    """Give a column another type, collation or name, or the table of a many-to-many field another name, or let that
    field point at another model; both releases can use it until the contract.

    `using` is SQL that makes a value of the new type of one of the old, which is {}; `back` makes the old one again.
    """

    category = AlterField.category
    reaches_others = True

    def __init__(
        self,
        model_name: str,
        name: str,
        field: Field[Any, Any],
        preserve_default: bool = True,
        using: str = "",
        back: str = "",
    ) -> None:
        AlterField.__init__(self, model_name, name, field, preserve_default)
        if using and "{}" not in using:
            raise ValueError(f"using={using!r} of ExpandAlterField {model_name}.{name} lacks {{}}, the old value.")
        if back and "{}" not in back:
            raise ValueError(f"back={back!r} of ExpandAlterField {model_name}.{name} lacks {{}}, the new value.")
        self.using, self.back = using, back
        self.wrap(AlterField(model_name, name, field, preserve_default))

    def describe(self) -> str:
        return f"{AlterField.describe(self)}; both releases can use it until the contract"

    @property
    def identity(self) -> str:
        return f"ExpandAlterField({self.model_name_lower}.{self.name_lower}: {described(self.field)})"

    def _tables(self, at: Situation) -> list[old_table_name.Pair]:
        """The tables of a many-to-many field, which has no column."""
        old, new = self._fields(at)
        return old_table_name.renamed_with_field(old, new) if new.many_to_many else []

    def _fields(self, at: Situation) -> tuple[Any, Any]:
        return field_of(at.old(self.model_name), self.name), field_of(at.new(self.model_name), self.name)

    def _two_columns(self, at: Situation) -> TwoColumns | None:
        """The two columns, if each release has one of its own."""
        if self.field.many_to_many:
            return end_of_many_to_many.two_columns(at.editor, *self._fields(at), using=self.using, back=self.back)
        change = self._change(at)
        if not change.renames_column:
            return None
        old = Column(at.editor, at.old(self.model_name), change.old.field)
        new = Column(at.editor, at.new(self.model_name), change.new.field)
        if not (change.work or self.using):
            return TwoNames(old, new)
        return TwoTypes(old=old, new=new, using=self.using, back=self.back, like=change.changes_text)

    def contract_label(self, at: Situation) -> str:
        if tables := self._tables(at):
            return old_table_name.contract_label(tables)
        if columns := self._two_columns(at):
            return columns.contract_label
        change = self._change(at)
        column = f"{change.old.field.column} of {at.old(self.model_name)._meta.db_table}"
        if change.narrows:
            return f"{column} becomes {change.new.type}"
        others = len(self._exchange(at, change).columns) - 1
        return f"drop the former {column}" + (f", and those of {others} that point at it" if others else "")

    def _change(self, at: Situation) -> Alteration:
        change = alteration_at(at, self.model_name, self.name)
        self.refuse(change)
        return change

    def refuse(self, change: Alteration) -> None:
        """Raises ValueError for changes that the operation doesn't make."""
        if not (change.rewrites or change.changes_type) or _others(change):
            raise ValueError(
                f"ExpandAlterField {self.model_name}.{self.name} gives a column another type, collation or name and "
                "does nothing else. Use AlterField for the rest, before it, or let makemigrations write them."
            )

    def reworks(self, at: Situation) -> Claims:
        """Claims of the columns that are exchanged: no type changes while a view has the table's old name, or while an
        open contract works on the column.

        What an exchange makes again is as the new release has it. An open contract may still hold it as the old
        release needs it: null is allowed, or the foreign key lets go.
        """
        if self._two_columns(at) or self.field.many_to_many:
            return ()
        return tuple(claim for twin in self._exchange(at, self._change(at)).twins for claim in twin.claims)

    def expand(self, at: Situation) -> Plan:
        if columns := self._two_columns(at):
            return columns.expand()
        if self.field.many_to_many:
            return old_table_name.expand(at.editor, self._tables(at))
        change = self._change(at)
        exchange = self._exchange(at, change)
        return exchange.proofs() if change.narrows else exchange.expand()

    def renames(self, at: Situation) -> tuple[Renamed, ...]:
        return old_table_name.renames(self._tables(at))

    def carries(self, at: Situation) -> tuple[Carried, ...]:
        if columns := self._two_columns(at):
            return (columns.carried,)
        if self.field.many_to_many:
            return ()
        exchanged = self._exchange(at, self._change(at)).columns
        return tuple(carried(one.old, one.new, one.forth.or_null, one.back.or_null) for one in exchanged)

    def kept(self, at: Situation) -> tuple[Kept, ...]:
        if columns := self._two_columns(at):
            return (columns.kept,)
        if self.field.many_to_many:
            return ()
        change = self._change(at)
        return () if change.narrows else self._exchange(at, change).kept

    def contract(self, at: Situation) -> Plan:
        if columns := self._two_columns(at):
            return columns.contract()
        if self.field.many_to_many:
            return old_table_name.contract(at.editor, self._tables(at))
        change = self._change(at)
        exchange = self._exchange(at, change)
        return (*exchange.expand(), *exchange.contract()) if change.narrows else exchange.contract()

    def _exchange(self, at: Situation, change: Alteration) -> Exchange:
        columns: dict[Claim, Retyped] = {}
        for old, new in _with_those_that_point_at_it(change.old.field, change.new.field, at.connection.alias):
            one, other = Column(at.editor, old.model, old), Column(at.editor, new.model, new)
            forth = self._made_by_hand(other.type) if self.using else cast(one.type, other.type)
            retyped = Retyped(old=one, new=other, forth=forth, back=cast(other.type, one.type))
            columns.setdefault(one.claim, retyped)
        return Exchange(columns=tuple(columns.values()))

    def _made_by_hand(self, type_: str) -> Cast:
        return Cast(f"CAST({self.using} AS {type_})", cut_off(self.using, type_))


def _with_those_that_point_at_it(old: Any, new: Any, alias: str) -> Iterator[tuple[Any, Any]]:
    """The two forms of the field, and of each foreign key of the same type, which changes with it."""
    yield old, new
    for old_relation, new_relation in _related_non_m2m_objects(old, new):  # as the stock operation finds them
        model = old_relation.field.model
        if model._meta.managed and router.allow_migrate_model(alias, model):
            yield old_relation.field, new_relation.field


def _others(change: Alteration) -> str:
    """What else the change does to the column."""
    own = (*OF_TYPE, "sets_default") if change.keeps_two_defaults else OF_TYPE
    return ", ".join(name.replace("_", " ") for name in change.work_besides(*own))


def find(part: Part, context: Context) -> Finding | None:
    operation, change, whole = part.operation, part.change, part.whole
    if not change.rewrites or points_at_other_rows(whole, context):
        return None
    harm = f"AlterField {operation.name} of {operation.model_name} {_harm(whole.change)}"
    if refusal := _refusal(whole, context):
        return Finding(harm, way_by_hand=refusal.reason, options=refusal.options)
    if others := _others(change):
        return Finding(harm, way_by_hand=f"It also {others}: do that in the release before.")
    safe = ExpandAlterField(operation.model_name, operation.name, operation.field, operation.preserve_default)
    return Finding(harm, (safe,), notice=_notice(operation, change))


def _harm(change: Alteration) -> str:
    if change.renames_column:
        return (
            f"gives its column another name ({change.old.field.column} becomes {change.new.field.column}): the old "
            "release names it in every query."
        )
    if change.is_relied_on and is_instant(change.old.type, change.new.type):
        return (
            "gives its column another type: an index, a check or a foreign key that relies on it is made anew while "
            "nobody can use the table."
        )
    return (
        "gives its column another type: PostgreSQL rewrites the table, and those that point at it, while nobody can "
        "use them."
    )


# What is refused.


class Refusal(Data):
    """Why two releases can't live with the change, and what somebody may write into models.py so that they can."""

    reason: str
    options: tuple[Option, ...] = ()


def _refusal(whole: Altered, context: Context) -> Refusal | None:
    operation, change = whole.operation, whole.change
    if reason := _of_identity(change) or _of_column(operation, change, context):
        return Refusal(reason)
    if not change.retypes:
        return None
    if reason := _of_new_type(operation, change, context):
        return Refusal(reason)
    if change.renames_column:
        reason = _pointed_at(operation, context)
        return Refusal(reason) if reason else None
    if change.has_wider_type:
        return None
    if reason := _of_exchange(operation, change, context):
        return Refusal(reason)
    return _needs_own_column(whole, context)


def _of_identity(change: Alteration) -> str:
    if not change.changes_identity:
        return ""
    if change.changes_type and not change.has_wider_type:
        return (
            "A key of another kind is another key, for every row that points at it. Add a field beside it that is "
            "unique, let what points at the old key follow in releases of their own, or keep the key. Or decide that "
            "the table is small, with allow_unsafe on the migration."
        )
    return (
        "One of the two releases inserts rows without a number. First let a release number its rows itself; then "
        "decide with allow_unsafe on the migration: the change is instant. Do nothing else to the field with it."
    )


def _of_column(operation: AlterField, change: Alteration, context: Context) -> str:
    """What is refused whether or not the column gets another type."""
    field = change.old.field
    if change.renames_column and (reason := no_second_name(operation, operation.name, field, context)):
        return reason
    if is_of_composite_key(operation.name, context.model_before(operation.model_name)):
        return BESIDE
    if change.tightens_null and change.removes_unique:
        return fills_twice(operation, was_unique=True)
    return ""


def _of_new_type(operation: AlterField, change: Alteration, context: Context) -> str:
    """What is refused whether or not the new type has a column of its own."""
    if any(_renames_table(label, other, operation, context) for label, other in context.release):
        return (
            "The same release renames the table, and the view under its old name keeps the column as it is: do that in "
            "the release after the contract."
        )
    if far := _in_another_database(operation, context):
        return (
            f"{far} points at it from another database, where this migration doesn't come: its column would keep the "
            f"old type. {BESIDE}"
        )
    return BESIDE if change.old.field.remote_field or change.new.field.remote_field else ""


def _of_exchange(operation: AlterField, change: Alteration, context: Context) -> str:
    """What is refused where a column of the new type would take the place of the old one."""
    if both := numeric_of_both(change.old.type, change.new.type):
        return (
            f"First give it max_digits={both[0]} and decimal_places={both[1]}, which holds the values of both releases;"
            " and then, in the release after the contract, the digits that it shall have."
        )
    return BESIDE if change.old.field.primary_key else _pointed_at(operation, context)


def _needs_own_column(whole: Altered, context: Context) -> Refusal:
    operation = whole.operation
    column = _column_of_type(operation, whole.change)
    reason = (
        "No column can be of both types while two releases run. Give the new type a column of its own: write "
        f'{operation.name} = ...(db_column="{column}") in models.py and make the migration again. Each '
        "release then has the type that it knows, and a trigger makes the one from the other until the contract. Or "
        "decide that the table is small, with allow_unsafe on the migration."
    )
    return Refusal(reason, (_own_column(operation, column, context),))


def _column_of_type(operation: AlterField, change: Alteration) -> str:
    return f"{operation.name}_{parse(change.new.type)[0].split()[0].strip('[]')}"


def _own_column(operation: AlterField, column: str, context: Context) -> Option:
    wanted: Any = context.model_after(operation.model_name).fields[operation.name]
    # On the way to a foreign key the operation is that of a plain column.
    field = (operation.field if bool(operation.field.remote_field) == bool(wanted.remote_field) else wanted).clone()
    field.db_column = column
    alter = AlterField(operation.model_name, operation.name, field, operation.preserve_default)
    question = (
        f"No column can be of both types of {operation.model_name}.{operation.name} while two releases run. Give the "
        f'new type a column of its own, and write db_column="{column}" into models.py?'
    )
    return Option(operation.model_name, operation.name, "db_column", column, (alter,), question)


def _renames_table(label: str, other: Operation, operation: AlterField, context: Context) -> bool:
    name = operation.model_name_lower
    renamed = isinstance(other, RenameModel) and other.new_name_lower == name
    moved = isinstance(other, AlterModelTable) and other.name_lower == name
    return label == context.app_label and (renamed or moved)


BESIDE = (
    "No column can be of both types while two releases run. Add a new field beside it, which one release writes "
    "together with the old one and AddFieldNullableThenBackfill fills for the rows that are there; let the next "
    "release read it, and remove the old one in a third. Or decide that the table is small, with allow_unsafe on the "
    "migration."
)


def _pointed_at(operation: AlterField, context: Context) -> str:
    pointing = ", ".join(label for _, label in _pointing(operation, context))
    return f"{pointing} points at it, and would have to become of its type. {BESIDE}" if pointing else ""


def _in_another_database(operation: AlterField, context: Context) -> str:
    home, pointing = home_of(context.model_before(operation.model_name)), _pointing(operation, context)
    homes = [(home_of(model), label) for model, label in pointing] if home else []
    return ", ".join(label for there, label in homes if home and there and there.alias != home.alias)


def _pointing(operation: AlterField, context: Context) -> list[tuple[ModelState, str]]:
    """The models whose fields point at the field, and what these fields are called."""
    key = context.app_label, operation.model_name.lower()
    field = context.before.models[key].fields[operation.name]
    return [
        (model, f"{model.app_label}.{model.name}.{name}")
        for model, name, _, reference in get_references(context.before, key, (operation.name, field))
        # A many-to-many field says of no field that it points at this one; it points at the key.
        if reference.to and (field.primary_key or not model.fields[name].many_to_many)
    ]


def _notice(operation: AlterField, change: Alteration) -> str:
    what = f"{operation.model_name}.{operation.name}"
    if change.renames_column and not change.retypes:
        return (
            f"{what}: the column is renamed, which copies it for a while. Keeping "
            f'db_column="{change.old.field.column}" costs nothing.'
        )
    if change.renames_column or not change.narrows:
        return ""
    return f"{what} gets its new type with the contract, as the old release may still write what that can't hold."


rule = Rule("safemigrations.E043", Part, find)
