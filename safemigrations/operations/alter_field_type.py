"""AlterField that gives a column another type, collation or name -> ExpandAlterField.

ALTER TYPE rewrites the table, and those of every foreign key that points at the column, while nobody can use them.
RENAME COLUMN is instant, but the release that is still running names the old column in every SELECT and INSERT.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES

A column that db_column moves is renamed as RenameField renames it: both names live until the contract. One of another
type is exchanged for a column that was filled and indexed beside it. While a column has the wider of two types both
releases can use it: so where the new type is the wider one that is done during expand, and where the old one is, with
the contract. Types whose values are not the same to Python can't be one column's while two releases run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.backends.base.schema import _related_non_m2m_objects  # type: ignore[attr-defined]
from django.db.migrations.operations import AlterField
from django.db.models import Field

from ..casts import Cast, cast, is_wider, numeric_of_both
from ..columns import Column
from ..steps import Plan
from .alteration import Alteration, alteration_at, alteration_in
from .base import Change, Context, Finding, Rule, Situation
from .rename_field import is_of_composite_key, no_second_name

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..twins import TwoNames

OF_TYPE = {"changes_type", "changes_collation"}


class ExpandAlterField(Change, AlterField):
    """Give a column another type, collation or name; both releases can use it until the contract.

    `using` is SQL that makes a value of the new type of one of the old, which is {}.
    """

    category = AlterField.category
    reaches_others = True

    def __init__(
        self, model_name: str, name: str, field: Field[Any, Any], preserve_default: bool = True, using: str = ""
    ) -> None:
        AlterField.__init__(self, model_name, name, field, preserve_default)
        if using and "{}" not in using:
            raise ValueError(f"using={using!r} of ExpandAlterField {model_name}.{name} lacks {{}}, the old value.")
        self.using = using
        self.wrap(AlterField(model_name, name, field, preserve_default))

    def deconstruct(self):  # type: ignore[no-untyped-def]
        name, args, kwargs = AlterField.deconstruct(self)
        if self.using:
            kwargs["using"] = self.using
        return name, args, kwargs

    def describe(self) -> str:
        return f"{AlterField.describe(self)}; both releases can use it until the contract"

    @property
    def identity(self) -> str:
        return f"ExpandAlterField({self.model_name_lower}.{self.name_lower})"

    def contract_label(self, at: Situation) -> str:
        change = self._change(at)
        if change.renames_column:
            return self._names(at, change).contract_label
        column = f"{change.old.field.column} of {at.old(self.model_name)._meta.db_table}"
        if _waits(change):
            return f"{column} becomes {change.new.type}"
        others = len(self._exchange(at, change).columns) - 1
        return f"drop the former {column}" + (f", and those of {others} that point at it" if others else "")

    def _change(self, at: Situation) -> Alteration:
        change = alteration_at(at, self.model_name, self.name)
        if not change.rewrites or _others(change):
            raise ValueError(
                f"ExpandAlterField {self.model_name}.{self.name} gives a column another type, collation or name and "
                "does nothing else. Use AlterField for the rest, before it, or let makemigrations write them."
            )
        return change

    def reworks(self, at: Situation) -> tuple[str, ...]:
        """Nor does a type change while a view has the table's old name."""
        change = self._change(at)
        if change.renames_column:
            return ()
        followers = self._exchange(at, change).followers
        return tuple(name for one in followers for name in (one.title, f"view of {one.label}"))

    def expand(self, at: Situation) -> Plan:
        change = self._change(at)
        if change.renames_column:
            return self._names(at, change).expand()
        exchange = self._exchange(at, change)
        return exchange.proofs() if _waits(change) else exchange.expand()

    def contract(self, at: Situation) -> Plan:
        change = self._change(at)
        if change.renames_column:
            return self._names(at, change).contract()
        exchange = self._exchange(at, change)
        return (*exchange.expand(), *exchange.contract()) if _waits(change) else exchange.contract()

    def _names(self, at: Situation, change: Alteration) -> TwoNames:
        from ..twins import TwoNames  # see ExpandRename

        return TwoNames(
            Column(at.editor, at.old(self.model_name), change.old.field),
            Column(at.editor, at.new(self.model_name), change.new.field),
        )

    def _exchange(self, at: Situation, change: Alteration) -> Exchange:
        from ..exchange import Exchange, Retyped  # see ExpandRename

        columns: dict[str, Retyped] = {}
        for old, new in _with_those_that_point_at_it(change.old.field, change.new.field, at.connection.alias):
            one, other = Column(at.editor, old.model, old), Column(at.editor, new.model, new)
            forth = Cast(f"CAST({self.using} AS {other.type})") if self.using else cast(one.type, other.type)
            retyped = Retyped(old=one, new=other, forth=forth, back=cast(other.type, one.type))
            columns.setdefault(one.title, retyped)
        return Exchange(columns=tuple(columns.values()))


def _with_those_that_point_at_it(old: Any, new: Any, alias: str) -> Iterator[tuple[Any, Any]]:
    """The two forms of the field, and of each foreign key of the same type, which changes with it."""
    yield old, new
    for old_relation, new_relation in _related_non_m2m_objects(old, new):  # as the stock operation finds them
        model = old_relation.field.model
        if model._meta.managed and router.allow_migrate_model(alias, model):
            yield old_relation.field, new_relation.field


def _waits(change: Alteration) -> bool:
    """Would the new type refuse what the release that is still running writes?"""
    return not is_wider(change.old.type, change.new.type) and is_wider(change.new.type, change.old.type)


def _others(change: Alteration) -> str:
    """What the change does to the column besides."""
    allowed = () if change.renames_column else OF_TYPE
    return ", ".join(name.replace("_", " ") for name in change.work if name not in allowed)


def find(operation: AlterField, context: Context) -> Finding | None:
    if type(operation) is not AlterField:
        return None
    change = alteration_in(context, operation)
    if change is None or not change.rewrites:
        return None
    return _of_name(operation, change, context) if change.renames_column else _of_type(operation, change, context)


def _of_name(operation: AlterField, change: Alteration, context: Context) -> Finding:
    old, new = change.old.field, change.new.field
    harm = (
        f"AlterField {operation.name} of {operation.model_name} gives its column another name ({old.column} becomes "
        f"{new.column}): the release that is still running names it in every query."
    )
    if others := _others(change):
        return Finding(harm, way_by_hand=_apart(others))
    if reason := no_second_name(operation, operation.name, operation.name, old, context):
        return Finding(harm, way_by_hand=reason)
    safe = ExpandAlterField(operation.model_name, operation.name, operation.field, operation.preserve_default)
    return Finding(
        harm,
        (safe,),
        notice=(
            f"{operation.model_name}.{operation.name}: the column is renamed, which copies it for a while. Keeping "
            f'db_column="{old.column}" costs nothing.'
        ),
    )


def _of_type(operation: AlterField, change: Alteration, context: Context) -> Finding:
    harm = (
        f"AlterField {operation.name} of {operation.model_name} gives its column another type: PostgreSQL rewrites the "
        "table, and those that point at it, while nobody can use them."
    )
    if reason := _no_exchange(operation, change, context):
        return Finding(harm, way_by_hand=reason)
    safe = ExpandAlterField(operation.model_name, operation.name, operation.field, operation.preserve_default)
    if change.tightens_null:
        return Finding(harm, way_by_hand=_apart("forbids null"))
    if not _others(change) and not change.changes_like_index:
        return Finding(harm, (safe,), notice=_notice(operation, change))
    first = _rest(operation, change)
    if others := _others(change.with_old(first.field)):
        return Finding(harm, way_by_hand=_apart(others))
    return Finding(harm, (first, safe), notice=_notice(operation, change))


def _apart(others: str) -> str:
    return f"It also {others}: do that in the release before, or in the one after the contract."


def _no_exchange(operation: AlterField, change: Alteration, context: Context) -> str:
    """Why two releases can't live with one column of either type; empty if they can."""
    old, new = change.old, change.new
    if is_of_composite_key(operation.name, context.model_before(operation.model_name)):
        return BESIDE
    if change.changes_identity:
        return "Do that in a release of its own: a column that numbers rows is another thing than one that doesn't."
    if change.retargets or (old.field.remote_field and new.field.remote_field):
        return BESIDE
    if is_wider(old.type, new.type) or is_wider(new.type, old.type):
        return ""
    if both := numeric_of_both(old.type, new.type):
        return (
            f"First give it max_digits={both[0]} and decimal_places={both[1]}, which holds the values of both releases;"
            " and then, in the release after the contract, the digits that it shall have."
        )
    return BESIDE


BESIDE = (
    "Add a new field beside it (AddFieldNullableThenBackfill fills it for both releases), let the code use that one, "
    "and remove the old one in a later release: no column can be of both types while two releases run. Or decide that "
    "the table is small, with allow_unsafe on the migration."
)


def _rest(operation: AlterField, change: Alteration) -> AlterField:
    """What the operation changes besides, in one of its own that goes first and keeps the type."""
    old, new = change.old.field, operation.field
    if change.changes_like_index:
        return _without_limit(operation, change)
    field = old.clone()
    for name in ("null", "_unique", "db_index", "db_default", "default", "db_comment", "choices"):
        setattr(field, name, getattr(new, name, None))
    return AlterField(operation.model_name, operation.name, field, operation.preserve_default)


def _without_limit(operation: AlterField, change: Alteration) -> AlterField:
    """The type alone, which is instant: the index for LIKE belongs to a type, and is built anew with it."""
    field: Any = operation.field.clone()
    field.max_length, field.db_collation = None, getattr(change.old.field, "db_collation", None)
    return AlterField(operation.model_name, operation.name, field, operation.preserve_default)


def _notice(operation: AlterField, change: Alteration) -> str:
    if not _waits(change):
        return ""
    return (
        f"{operation.model_name}.{operation.name} gets its new type with the contract, as the running release may "
        "still write what that can't hold."
    )


rule = Rule("safemigrations.E043", find)
