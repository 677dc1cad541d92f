"""The changes that an AlterField makes, as PostgreSQL sees them.

The rules ask with fields as the migration state has them, the operations with fields that are bound to a model
(forms.py). The answers are the same: those of BaseDatabaseSchemaEditor._alter_field().
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field

from ..data import Data
from ..plans.casts import is_wider, parse, text_of
from ..plans.column import has_foreign_key
from .relied_on import Relied


class Form(Data):
    """One form of a field: how its column is."""

    field: Any
    type: str  # as in CREATE TABLE; empty where there is no column
    target: tuple[str, str]  # what a foreign key points at; two empty strings for anything else

    @property
    def has_foreign_key(self) -> bool:
        return has_foreign_key(self.field)

    @property
    def on_delete(self) -> str:
        """ON DELETE in the database (Django 6.1: DB_CASCADE and the like); empty where Django answers."""
        return str(getattr(getattr(self.field.remote_field, "on_delete", None), "operation", ""))


class Alteration(Data):
    """Two forms of a field. Each property is one effect of the change."""

    connection: BaseDatabaseWrapper
    old: Form
    new: Form
    relied: Relied | None = None  # where a rule asks: what relies on the column may take its time

    @property
    def tightens_null(self) -> bool:
        return bool(self.old.field.null and not self.new.field.null)

    @property
    def relaxes_null(self) -> bool:
        return bool(not self.old.field.null and self.new.field.null)

    @property
    def drops_default(self) -> bool:
        return bool(self.old.field.has_db_default() and not self.new.field.has_db_default())

    @property
    def sets_default(self) -> bool:
        old, new = self.old.field, self.new.field
        return new.has_db_default() and not (old.has_db_default() and old.db_default == new.db_default)

    @property
    def adds_unique(self) -> bool:
        old, new = self.old.field, self.new.field
        return bool(new.unique and not new.primary_key and not old.unique)

    @property
    def removes_unique(self) -> bool:
        return bool(self.old.field.unique and not self.new.field.unique)

    @property
    def adds_index(self) -> bool:
        return _has_index(self.new.field) and not _has_index(self.old.field)

    @property
    def removes_index(self) -> bool:
        return _has_index(self.old.field) and not _has_index(self.new.field)

    @property
    def adds_check(self) -> bool:
        return bool(self._check(self.new)) and self._check(self.old) != self._check(self.new)

    @property
    def removes_check(self) -> bool:
        return bool(self._check(self.old)) and self._check(self.old) != self._check(self.new)

    def _check(self, form: Form) -> str:
        checks: Any = self.connection.data_type_check_constraints
        return str(checks.get(form.field.get_internal_type(), ""))

    @property
    def removes_foreign_key(self) -> bool:
        return self.old.has_foreign_key and not self.new.has_foreign_key

    @property
    def adds_foreign_key(self) -> bool:
        return self.new.has_foreign_key and not self.old.has_foreign_key

    @property
    def retargets(self) -> bool:
        return self.old.has_foreign_key and self.new.has_foreign_key and self.old.target != self.new.target

    @property
    def changes_on_delete(self) -> bool:
        return self._keeps_foreign_key and self.old.on_delete != self.new.on_delete

    @property
    def _keeps_foreign_key(self) -> bool:
        return self.old.has_foreign_key and self.new.has_foreign_key and not self.retargets

    @property
    def checks_foreign_key_again(self) -> bool:
        """Would the stock operation drop and add a foreign key that doesn't change?"""
        return self._keeps_foreign_key and self.is_of_the_database

    @property
    def is_of_the_database(self) -> bool:
        """Would the stock operation send any statement? A default in Python alone sends one only for a foreign key."""
        same: tuple[str, ...] = ("to",) if self.old.target == self.new.target else ()
        if not (self.old.field.remote_field or self.new.field.remote_field):
            same += ("default",)
        return _described(self.old.field, *same) != _described(self.new.field, *same) or self.renames_column

    @property
    def renames_column(self) -> bool:
        return bool(self.old.field.column != self.new.field.column)

    @property
    def changes_type(self) -> bool:
        return self.old.type != self.new.type

    @property
    def changes_collation(self) -> bool:
        return bool(getattr(self.old.field, "db_collation", None) != getattr(self.new.field, "db_collation", None))

    @property
    def changes_identity(self) -> bool:
        """Does PostgreSQL begin, or stop, to number the rows?"""
        suffixes = {form.field.db_type_suffix(connection=self.connection) or "" for form in (self.old, self.new)}
        return len(suffixes) > 1

    @property
    def retypes(self) -> bool:
        """Does the column get a type or a collation for which PostgreSQL has to compute its values?"""
        return self.changes_collation or (self.changes_type and not self._is_instant)

    @property
    def _is_instant(self) -> bool:
        return is_instant(self.old.type, self.new.type) and not (self.has_wider_type and self.is_relied_on)

    @property
    def is_relied_on(self) -> bool:
        """Would PostgreSQL rebuild something that relies on the column, although the new type itself costs nothing?"""
        if not self.relied:
            return False
        return replace(self.relied, old_type=self.old.type, new_type=self.new.type).is_made_anew

    @property
    def rewrites(self) -> bool:
        """Does the change need another column?

        It does for another name, another identity, or a type whose values PostgreSQL computes.
        """
        return self.renames_column or self.changes_identity or self.retypes

    @property
    def has_wider_type(self) -> bool:
        """Can one of the two types hold all values of the other?"""
        return is_wider(self.old.type, self.new.type) or is_wider(self.new.type, self.old.type)

    @property
    def narrows(self) -> bool:
        """Would the new type refuse what the old release writes?"""
        return not is_wider(self.old.type, self.new.type) and is_wider(self.new.type, self.old.type)

    @property
    def converts(self) -> bool:
        """Does each release get a column of its own, because no column can have both types?"""
        return self.renames_column and self.retypes and not self.has_wider_type

    @property
    def keeps_two_defaults(self) -> bool:
        """Does each of the two columns have its own default in the database?"""
        return self.converts and self.old.field.has_db_default() and self.new.field.has_db_default()

    @property
    def changes_like_index(self) -> bool:
        """Does the index for LIKE belong to the old type?"""
        return self.changes_text and all(field.db_index or field.unique for field in (self.old.field, self.new.field))

    @property
    def changes_text(self) -> bool:
        """Would an index for LIKE, if there is one, be of another type?"""
        return text_of(self.old.type) != text_of(self.new.type)

    @property
    def changes_comment(self) -> bool:
        return bool(getattr(self.old.field, "db_comment", None) != getattr(self.new.field, "db_comment", None))

    @property
    def alters_column(self) -> bool:
        return bool(self.work)

    @property
    def work(self) -> list[str]:
        """The names of the properties that say what the change does to the column, other than renaming it."""
        return [name for name in WORK if getattr(self, name)]

    def work_besides(self, *names: str) -> list[str]:
        return [name for name in self.work if name not in names]


# The properties that stand for work in the database.
WORK = (
    "changes_type",
    "changes_collation",
    "tightens_null",
    "relaxes_null",
    "drops_default",
    "sets_default",
    "adds_unique",
    "removes_unique",
    "adds_index",
    "removes_index",
    "adds_check",
    "removes_check",
    "adds_foreign_key",
    "removes_foreign_key",
    "retargets",
    "changes_on_delete",
    "changes_comment",
)


def _has_index(field: Any) -> bool:
    """Does the field have the index of db_index=True? A unique field uses the index of UNIQUE instead."""
    return bool(field.db_index and not field.unique)


def described(field: Any) -> str:
    """A text that tells one AlterField of a field from another in the same migration."""
    _, path, _, kwargs = field.deconstruct()
    options = [
        f"{name}={described(value) if isinstance(value, Field) else repr(value)}"
        for name, value in sorted(kwargs.items())
        if (name == "db_column" or name not in field.non_db_attrs) and _has_same_text_everywhere(value)
    ]
    return f"{path.rpartition('.')[2]}({', '.join(options)})"


def _has_same_text_everywhere(value: Any) -> bool:
    """Is the value's text the same in every process? The text of a function has its address."""
    return isinstance(value, Field) or " at 0x" not in repr(value)


def _described(field: Any, *left_out: str) -> tuple[Any, ...]:
    _, path, args, kwargs = field.deconstruct()
    return path, args, {key: value for key, value in kwargs.items() if key not in (*field.non_db_attrs, *left_out)}


def is_instant(old: str, new: str) -> bool:
    """Does ALTER TYPE change only the catalog?

    It does between binary coercible types, and where only a limit is widened.
    https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
    """
    if old == new:
        return True
    (old_name, old_size), (new_name, new_size) = parse(old), parse(new)
    if old_name == new_name == "numeric":
        return not new_size or (len(old_size) == len(new_size) == 2 and _is_wider_numeric(old_size, new_size))
    if old_name == new_name == "varchar[]":  # PostgreSQL computes arrays, unless no limit is left
        return not new_size
    if old_name == new_name:
        return old_name in LIMITED and (not new_size or (bool(old_size) and old_size <= new_size))
    return not new_size and (old_name, new_name) in BINARY_COERCIBLE


LIMITED = (  # whose limits are no part of a value
    "varchar",
    "bit varying",
    "interval",
    "time",
    "time with time zone",
    "timestamp",
    "timestamp with time zone",
)

BINARY_COERCIBLE = {
    ("varchar", "text"),
    ("text", "varchar"),
    ("citext", "text"),
    ("text", "citext"),
    ("varchar", "citext"),
    ("citext", "varchar"),
    ("cidr", "inet"),
}


def _is_wider_numeric(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return old[0] <= new[0] and old[1] == new[1]


def refuse_besides(change: Alteration, operation: Any, own: str) -> None:
    """Raise ValueError if a change does more to the column than `own`, the effects of the operation."""
    rewrites = ["rewrites"] if change.rewrites else []
    others = [name.replace("_", " ") for name in (*rewrites, *change.work_besides(own))]
    if others:
        raise ValueError(
            f"{type(operation).__name__} {operation.model_name}.{operation.name} also {', '.join(others)}. Put that "
            "into an operation of its own before this one, or let makemigrations write them."
        )
