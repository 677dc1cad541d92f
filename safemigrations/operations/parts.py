"""The parts of an AlterField, in the order in which they are carried out.

Most AlterFields have one part. One that changes everything about a column has these:

1. While the column keeps its name and type: what is added to it and removed from it.
2. Its database default is dropped.
3. It forbids null.
4. It gets the new type, or the new name. What a part of 1 to 3 may do before that is done before: the new column is
   filled from the old one, and gets its default.
5. It gets the other of the two, with 1 to 3 for what had to wait for the first.
6. What is built anew for the new column, by 1 to 3 once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from django.db import models
from django.db.migrations.operations import AlterField
from django.db.models import NOT_PROVIDED, Field

from ..data import Data
from ..plans.casts import numeric_of_both, parse
from .alteration import Alteration, Form, described
from .forms import alteration_in, form_in
from .rule import Context


class Altered(Data):
    """An AlterField and its changes."""

    operation: AlterField
    change: Alteration


class Part(Altered):
    """A part of an AlterField: an AlterField of its own, and its change after the parts before it."""

    stands_for: ClassVar = AlterField

    whole: Altered


class Way:
    """The way from the old form of a field to the new one; `reached` is the form after the parts so far."""

    def __init__(self, whole: Altered, form_of: Callable[[Field[Any, Any]], Form]) -> None:
        self.whole, self.form_of = whole, form_of
        self.reached = whole.change.old

    def change_to(self, field: Field[Any, Any]) -> Alteration:
        return replace(self.whole.change, old=self.reached, new=self.form_of(field))

    @property
    def left(self) -> Altered:
        return Altered(self.whole.operation, self.change_to(self.whole.operation.field))

    def part(self, operation: AlterField) -> Part:
        change = self.change_to(operation.field)
        self.reached = change.new
        return Part(operation, change, self.whole)


def split(operation: AlterField, context: Context) -> list[Part]:
    """The parts of an AlterField; none if it alters no column."""
    change = alteration_in(context, operation)
    if change is None:
        return []
    form_of, parts = partial(form_in, context, operation), list[Part]()
    for stop in (*_stops(operation, change), *_digits_of_both(operation, change, form_of), operation):
        way = Way(Altered(stop, replace(change, new=form_of(stop.field))), form_of)
        parts += _parts(way)
        change = replace(change, old=way.reached)
    return parts


# A foreign key has the type of what it points at. So a column that becomes one, or is one no more, has its old type and
# its new one as a plain column. The foreign key goes before, and comes after.


def _stops(operation: AlterField, change: Alteration) -> Iterator[AlterField]:
    old, new = change.old.field, change.new.field
    if not change.retypes or bool(old.remote_field) == bool(new.remote_field):
        return
    like, form = (old, change.old) if old.remote_field else (new, change.new)
    if plain := plain_like(form, form):
        plain.db_default = like.db_default
        plain.default = NOT_PROVIDED if like is old else operation.field.default
        yield AlterField(operation.model_name, operation.name, plain, like is old or operation.preserve_default)


# Digits that move from one side of the point to the other: first a column that holds the values of both releases.


def _digits_of_both(
    operation: AlterField, change: Alteration, form_of: Callable[[Field[Any, Any]], Form]
) -> Iterator[AlterField]:
    both = numeric_of_both(change.old.type, change.new.type)
    if not both or change.renames_column or not change.retypes or change.has_wider_type:
        return
    wide: Any = operation.field.clone()
    wide.max_digits, wide.decimal_places = both
    if parse(form_of(wide).type) == ("numeric", both):  # else it spells its type itself
        yield AlterField(operation.model_name, operation.name, wide, operation.preserve_default)


def plain_like(form: Form, like: Form) -> Any:
    """A plain column with the type of one form, and everything else from another form.

    None for types that keys seldom have.
    """
    plain = _plain(form.type)
    if plain:
        for name in OF_EVERY_TYPE:
            setattr(plain, name, getattr(like.field, name, None))
        plain.db_column = like.field.column
    return plain


PLAIN: dict[str, Callable[..., Any]] = {
    "smallint": models.SmallIntegerField,
    "integer": models.IntegerField,
    "bigint": models.BigIntegerField,
    "uuid": models.UUIDField,
    "text": models.TextField,
}


def _plain(type_: str) -> Any:
    """A field of the type; None for one that keys seldom have."""
    name, size = parse(type_)
    if name == "varchar" and size:
        return models.CharField(max_length=size[0])
    return PLAIN[type_]() if type_ in PLAIN else None


def _parts(way: Way) -> Iterator[Part]:
    operation, moves = way.whole.operation, _moves(way.whole.change)
    for move in moves:
        left = way.left
        ready = _ready(left)
        if described(ready.field) != described(_with_column(way.reached.field, ready.field.db_column)):
            yield from _in_place(ready, way)
        yield way.part(move(left, ready))
    if not moves or described(way.reached.field) != described(operation.field):
        yield from _in_place(operation, way)


# Parts of a column that keeps its name and type.


def _in_place(operation: AlterField, way: Way) -> Iterator[Part]:
    """Additions and removals, then the default that is dropped, then NOT NULL.

    The last of them is the operation itself.
    """
    change, operations = way.change_to(operation.field), [operation]
    if change.tightens_null:
        operations.insert(0, _nullable(operation))
    if change.drops_default:
        operations.insert(0, _with_default(operations[0], change.old.field.db_default))
    for each in operations:
        if each is operation or way.change_to(each.field).alters_column:
            yield way.part(each)


def _nullable(operation: AlterField) -> AlterField:
    field = operation.field.clone()
    field.null = True
    if not operation.preserve_default:
        field.default = NOT_PROVIDED
    return AlterField(operation.model_name, operation.name, field)


def _with_default(operation: AlterField, default: Any) -> AlterField:
    field = operation.field.clone()
    field.db_default = default
    return AlterField(operation.model_name, operation.name, field, operation.preserve_default)


# A column that gets another type, another name, or both.

Move = Callable[[Altered, AlterField], AlterField]


def _moves(change: Alteration) -> tuple[Move, ...]:
    """A wider type comes before another name. A narrower one comes after it, as it waits for the contract.

    Where no column can be of both types, each release gets a column of its own, with a name of its own.
    """
    if change.renames_column and change.retypes and change.has_wider_type:
        return (_renamed, _retyped) if change.narrows else (_retyped, _renamed)
    if change.retypes:
        return (_retyped,)
    return (_renamed,) if change.renames_column else ()


def _renamed(left: Altered, ready: AlterField) -> AlterField:
    operation = left.operation
    field = _with_column(ready.field, operation.field.db_column)
    return AlterField(operation.model_name, operation.name, field, operation.preserve_default)


def _retyped(left: Altered, ready: AlterField) -> AlterField:
    operation, change = left.operation, left.change
    field = _without_check(operation.field) if change.adds_check else operation.field.clone()
    field.null = operation.field.null or (change.tightens_null and not change.narrows)
    if change.renames_column and not change.converts:
        field.db_column = change.old.field.column
    return AlterField(operation.model_name, operation.name, field, operation.preserve_default)


def _ready(left: Altered) -> AlterField:
    """The column before it moves, with all that its successor can't do for itself.

    A column of another name, or of a narrower type, is filled from this one, and gets this one's default. So null is
    forbidden before. A wider type comes before NOT NULL.
    """
    operation, change = left.operation, left.change
    field = _as_before(change) if change.retypes else _without_additions(operation.field, change)
    if change.tightens_null:
        later = change.retypes and not change.narrows
        field.null, field.default = later, change.old.field.default if later else operation.field.default
    if change.renames_column:
        field.db_column = change.old.field.column
    return AlterField(operation.model_name, operation.name, field, operation.preserve_default)


OF_EVERY_TYPE = ("null", "_unique", "db_index", "db_comment")


def _as_before(change: Alteration) -> Any:
    """The old type with everything else from the new form."""
    like = change.changes_text and (change.new.field.db_index or change.new.field.unique)
    if like and change.has_wider_type and not change.is_relied_on:
        return _without_limit(change.new.field, getattr(change.old.field, "db_collation", None))
    field = _without_check(change.old.field) if change.removes_check else change.old.field.clone()
    for name in OF_EVERY_TYPE:
        setattr(field, name, getattr(change.new.field, name, None))
    if not change.keeps_two_defaults:
        field.db_default = change.new.field.db_default
    return field


def _without_limit(field: Any, collation: str | None) -> Any:
    """The type without its limit. Its index for LIKE belongs to the type, and is built anew with it."""
    bare = field.clone()
    bare.max_length, bare.db_collation = None, collation
    if bare.clone().max_length:  # the limit that an EmailField, or a SlugField, gives itself
        bare = models.CharField(db_collation=collation)
        for name in (*OF_EVERY_TYPE, "db_column", "db_default", "default"):
            setattr(bare, name, getattr(field, name))
    return bare


def _without_additions(field: Any, change: Alteration) -> Any:
    """The field without what Django names after the column; MoveAdditions builds that for the new column."""
    field = _without_check(field) if change.adds_check else field.clone()
    if not field.one_to_one:
        field._unique = field._unique and not change.adds_unique
        field.db_index = field.db_index and not change.adds_index
    return field


def _with_column(field: Any, db_column: str | None) -> Any:
    field = field.clone()
    field.db_column = db_column
    return field


SIGNED: dict[Any, Any] = {
    models.PositiveSmallIntegerField: models.SmallIntegerField,
    models.PositiveIntegerField: models.IntegerField,
    models.PositiveBigIntegerField: models.BigIntegerField,
}


def _without_check(field: Any) -> Any:
    """The field without its check. A subclass stays a subclass."""
    _, _, args, kwargs = field.deconstruct()
    return SIGNED.get(type(field), type(field))(*args, **kwargs)
