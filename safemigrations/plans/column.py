"""Plans for a column and what belongs to it: default, NOT NULL, index, unique, check.

All SQL for types, indexes and constraints comes from Django's schema editor, so that the end is Django's own. What
the stock operations do in one blocking statement is taken apart here into steps that block nobody.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import NOT_PROVIDED, Field, Model

from ..data import Data
from ..postgres.columns import (
    column_exists,
    column_has_default,
    column_has_no_default,
    column_is,
    column_missing,
    column_nullable,
    column_stores,
    type_unlike,
)
from ..postgres.lock import Lock
from ..postgres.names import Name, object_name
from ..postgres.probe import Probe
from ..postgres.values import literal
from ..typed import compose, create_index_name, field_indexes_sql
from . import claims, defaults
from .claims import Claim, Claims
from .defaults import DefaultKind
from .index_and_check import build_index, check_constraint, name_in, unique_constraint
from .spelled import spelled
from .steps import Online, Plan, Proof, Statement, Together


def bound(field: Field[Any, Any], name: str) -> Any:
    """A field of a migration with its name and column, as its model would bind it."""
    field = field.clone()
    field.set_attributes_from_name(name)
    return field


def table_of(model: type[Model]) -> Name:
    return Name.from_django(model._meta.db_table)


def key_of(model: type[Model]) -> tuple[Name, ...]:
    """The columns of the primary key."""
    pk = model._meta.pk
    fields = getattr(pk, "fields", None) or [pk]
    return tuple(Name.from_django(field.column) for field in fields)


def has_foreign_key(field: Any) -> bool:
    """Does the column of the field have a foreign key in the database?"""
    return bool(field.remote_field) and bool(getattr(field, "db_constraint", False))


def have_their_types(columns: Sequence[Column], *, done: Probe) -> Proof:
    """A column that somebody altered by hand can't be compared with its twin: every write would fail."""
    names = ", ".join(f"{column.name} of {column.label}" for column in columns)
    return Proof(
        why=f"{names}: of the type that the migrations say",
        query=" UNION ".join(type_unlike(column.table, column.name, column.type) for column in columns),
        failure=(
            "Somebody has given a column another type than the migrations say. No trigger can keep it equal to one of "
            "a further type: {rows}. Nothing was changed. Give it the type of the migrations (safemigrations verify "
            "--sql prints the statement), then run the same command again."
        ),
        done=done,
    )


class Column(Data):
    """A field's column, as the model of some state describes it."""

    editor: BaseDatabaseSchemaEditor
    model: type[Model]
    field: Any  # a Field; the stubs lack column, target_field and others

    @property
    def table(self) -> Name:
        return table_of(self.model)

    @property
    def label(self) -> str:
        """The table's name for people."""
        return self.table.raw

    @property
    def name(self) -> str:
        """The name as the catalog has it."""
        return self.quoted.raw

    @property
    def quoted(self) -> Name:
        return Name.from_django(self.field.column)

    @property
    def key(self) -> tuple[Name, ...]:
        """The columns of the primary key."""
        return key_of(self.model)

    @property
    def exists(self) -> Probe:
        return column_exists(self.table, self.name)

    @property
    def claim(self) -> Claim:
        return claims.column(self.table, self.name)

    @property
    def collation(self) -> str:
        """Quoted; empty where it is that of the type."""
        name = self.field.db_parameters(self.editor.connection).get("collation")
        return Name.from_django(name) if name else ""

    @property
    def type_with_collation(self) -> str:
        return f"{self.type} COLLATE {self.collation}" if self.collation else self.type

    def definition(self, *, null: bool, default: str = "") -> str:
        """The column's type, collation and nullability, and nothing that scans or builds."""
        bare = copy.copy(self.field)
        bare.null, bare._unique, bare.primary_key = null, False, False
        bare.__dict__.pop("unique", None)  # a cached property of these two
        if not bare.generated:
            bare.db_default = NOT_PROVIDED
        sql, params = self.editor.column_sql(self.model, bare)
        text = compose(self.editor.connection, sql, params) if params else sql
        return f"{text} DEFAULT {default}" if default else str(text)

    def alter(self, why: str, change: str, **rest: Any) -> Statement:
        return Statement(
            why=f"{self.label}: {why}",
            sql=f"ALTER TABLE {self.table} {change}",
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
            works_on=(self.claim,),
            **rest,
        )

    def add(self, why: str, *, null: bool, default: str = "") -> Plan:
        """The bare column, instantly: PostgreSQL stores a constant or STABLE default once for all rows."""
        comment = self._comment()
        sql = f"ALTER TABLE {self.table} ADD COLUMN {self.quoted} {self.definition(null=null, default=default)}"
        return (
            Together(
                why=f"{self.label}: {why}",
                sql=(sql, *comment),
                locks={self.table: Lock.ACCESS_EXCLUSIVE},
                done=self.is_added,
                # Its foreign key has gone by then, and with it the need to lock the parent.
                undo=(self.drop(locks={self.table: Lock.ACCESS_EXCLUSIVE}),),
                takes=(self.claim,),
            ),
        )

    @property
    def is_added(self) -> Probe:
        """Has this step added the column, and not an earlier one whose file somebody has edited since?"""
        return column_is(self.table, self.name, self.type, self.collation)

    def is_added_with(self, default: str) -> Probe:
        """`default` is constant: PostgreSQL stores it once for all rows that were there."""
        return self.is_added.and_(column_stores(self.table, self.name, f"({default})::{self.type}"))

    @property
    def type(self) -> str:
        return spelled(str(self.field.db_parameters(self.editor.connection)["type"]))

    def _comment(self) -> tuple[str, ...]:
        comment = getattr(self.field, "db_comment", None)
        if not comment:
            return ()
        return (f"COMMENT ON COLUMN {self.table}.{self.quoted} IS {literal(comment)}",)

    def drop(self, why: str = "", *, locks: dict[str, Lock] | None = None, undo: Plan = ()) -> Statement:
        """Instant; PostgreSQL drops the column's indexes and constraints with it."""
        return Statement(
            why=f"{self.label}: {why or f'drop column {self.name}'}",
            sql=f"ALTER TABLE {self.table} DROP COLUMN IF EXISTS {self.quoted}",
            locks=locks or {**self.parent_locks(Lock.ACCESS_EXCLUSIVE), self.table: Lock.ACCESS_EXCLUSIVE},
            done=column_missing(self.table, self.name),
            undo=undo,
            frees=(self.claim,),
            works_on=self.points_at,
        )

    @property
    def has_foreign_key(self) -> bool:
        return has_foreign_key(self.field)

    def parent_locks(self, lock: Lock) -> dict[str, Lock]:
        """The lock on the table at which a foreign key points; it is taken first, as DELETE of a parent does."""
        return {self.parent: lock} if self.has_foreign_key else {}

    @property
    def parent(self) -> Name:
        return table_of(self.field.target_field.model)

    @property
    def points_at(self) -> Claims:
        """The key at which its foreign key points, if it has one."""
        if not self.has_foreign_key:
            return ()
        target = Name.from_django(self.field.target_field.column)
        return (claims.key(self.parent, target.raw),)

    @property
    def unique_sets(self) -> tuple[tuple[str, ...], ...]:
        """The sets of quoted columns that it belongs to, and of which no two rows have the same values."""
        meta: Any = self.model._meta
        sets = [[self.field.name]] if self.field.unique else []
        sets += [list(names) for names in meta.unique_together]
        sets += [list(one.fields) for one in meta.total_unique_constraints]
        columns = {field.name: Name.from_django(field.column) for field in meta.local_concrete_fields}
        # Until Django makes a constraint anew after a rename, it names a field that isn't there.
        there = (names for names in sets if columns.keys() >= {*names} and self.field.name in names)
        return tuple(tuple(columns[name] for name in names) for names in there)

    @property
    def default_of_all_rows(self) -> str:
        """SQL of the db_default if it is the same for all rows; else empty."""
        instant = self.field.has_db_default() and defaults.kind(self.field) is DefaultKind.INSTANT
        return defaults.sql(self.editor.connection, self.field) if instant else ""

    def analyze(self, *, done: Probe, works_on: Claims = ()) -> Online:
        return Online(
            why=f"{self.label}: statistics of {self.name}",
            sql=f"ANALYZE {self.table} ({self.quoted})",
            locks={self.table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=done,
            works_on=works_on,
        )

    def set_default(self, default: str) -> Statement:
        return self.alter(
            f"{self.name} defaults to {default}",
            f"ALTER COLUMN {self.quoted} SET DEFAULT {default}",
            done=column_has_default(self.table, self.name),
        )

    def drop_default(self, *, undo: Plan = ()) -> Statement:
        return self.alter(
            f"{self.name} needs no default in the database any more",
            f"ALTER COLUMN {self.quoted} DROP DEFAULT",
            done=column_has_no_default(self.table, self.name),
            undo=undo,
        )

    def drop_not_null(self, *, undo: Plan = ()) -> Statement:
        return self.alter(
            f"{self.name} may be null",
            f"ALTER COLUMN {self.quoted} DROP NOT NULL",
            done=column_nullable(self.table, self.name),
            undo=undo,
        )

    def indexes(self) -> Plan:
        """The index of db_index=True and, for text, the one for LIKE."""
        return tuple(
            build_index(f"{self.label}: index {name_in(reference).raw}", self.table, reference)
            for reference in field_indexes_sql(self.editor, self.model, self.field)
        )

    def unique_by_name(self) -> Plan:
        """UNIQUE, under the name that Django gives when it alters a column."""
        return unique_constraint(self.table, self.index_name("_uniq").raw, (self.quoted,))

    def unique(self) -> Plan:
        """UNIQUE, under the name that PostgreSQL gives to the one that Django writes into ADD COLUMN."""
        if not self.field.unique:
            return ()
        name = object_name(self.label, self.name, "key")
        # The stock builder knows it only here: a constraint that is added later has none.
        tablespace = self.field.db_tablespace or self.model._meta.db_tablespace
        return unique_constraint(self.table, name, (self.quoted,), tablespace=Name.of(tablespace) if tablespace else "")

    @property
    def check_condition(self) -> str:
        """The check that belongs to the type, as of PositiveIntegerField."""
        return str(self.field.db_parameters(self.editor.connection)["check"] or "")

    def check(self) -> Plan:
        """The check, under the name that PostgreSQL gives to the one that Django writes into ADD COLUMN."""
        return self._check(object_name(self.label, self.name, "check")) if self.check_condition else ()

    def check_by_name(self) -> Plan:
        """The check, under the name that Django gives when it alters a column."""
        return self._check(self.index_name("_check").raw)

    def index_name(self, suffix: str) -> Name:
        """The name that Django gives to an object that it adds for a column."""
        name = create_index_name(self.editor, self.model._meta.db_table, [self.field.column], suffix)
        return Name.from_django(name)

    def _check(self, name: str) -> Plan:
        add = f"ALTER TABLE {self.table} ADD CONSTRAINT {Name.of(name)} CHECK ({self.check_condition})"
        violators = f"SELECT {', '.join(self.key)} FROM {self.table} WHERE NOT ({self.check_condition})"
        return check_constraint(self.table, name, add, works_on=(self.claim,), violators=violators)
