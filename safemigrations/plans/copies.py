"""Questions about the indexes and constraints of a column: which of them does its twin need, too?

Only the catalog knows them: names that Django has long forgotten, indexes that were made by hand. How PostgreSQL spells
an index of another column is asked, too: of an empty table with the same columns, where the column is renamed. That
table is rolled back, so nobody ever sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from ..data import Data
from ..errors import StepFailed
from ..postgres.columns import column_exists
from ..postgres.constraints import (
    checks_of_columns,
    columns_of_constraint,
    constraint_exists,
    constraint_of_index,
    unique_exists,
)
from ..postgres.indexes import indexes_of_columns
from ..postgres.lock import Lock
from ..postgres.names import COPY, PREFIX, Name, name_of_copy, scope_of_copies
from ..postgres.probe import NEVER
from .indexes import AddUnique, BuildIndex
from .steps import Database, Online, Plan, Question, Statement, Step, Together, Trial

SHAPE = Name.of(f"{PREFIX}shape")  # a table that no other session ever sees


class Index(Data):
    """What indexes_of_columns() finds."""

    name: str
    unique: bool
    on_expression: bool
    definition: str


class Check(Data):
    """What checks_of_columns() finds."""

    name: str
    definition: str


class CopyIndexes(Question):
    """Builds every index over a column once more for its twin, without blocking; names are raw."""

    table: str
    column: str
    twin: str

    def is_too_early(self, database: Database) -> bool:
        return not _has_columns(database, self.table, [self.column])

    def discover(self, database: Database) -> Plan:
        found = _indexes_renamed(database, self.table, {self.column: self.twin})
        return tuple(_copy(self.table, self.twin, index) for index in found)


# What an index finds, it finds at once; only a constraint can wait for the end of the transaction.
AT_ONCE = "; until the next step, two rows can't exchange their values in one transaction"


class BuildCounterparts(Question):
    """Builds every index, unique and check constraint of columns once more for their twins, without blocking.

    Each is called name_of_copy() of the one whose place it will take. `twins` are pairs of raw names, `but` is a query
    for the names of indexes that are left out. With `copies`, objects that were built for a twin of another column are
    built for these, too.
    """

    table: str
    twins: tuple[tuple[str, str], ...]
    but: str = ""
    copies: bool = False

    @property
    def scope(self) -> str:
        return scope_of_copies(self.table, dict(self.twins))

    def is_too_early(self, database: Database) -> bool:
        return not _has_columns(database, self.table, dict(self.twins))

    def discover(self, database: Database) -> Plan:
        return (*self._indexes(database), *self._checks(database))

    def _indexes(self, database: Database) -> Iterator[Step]:
        twins, left_out = dict(self.twins), _names(database, self.but)
        for index in _indexes_renamed(database, self.table, twins):
            if self.copies and index.name.startswith(COPY):
                yield _copy(self.table, ", ".join(twins.values()), index)
            elif self._is_of_theirs(index) and index.name not in left_out:
                yield from self._copy_of(database, index)

    def _is_of_theirs(self, index: Index) -> bool:
        """Did people make the index, or does the new release use it to find rows, by the twin of another column?

        Our other indexes go anyhow.
        """
        others = index.definition
        for _, twin in self.twins:
            others = others.replace(twin, "")
        return not index.name.startswith(PREFIX) or (index.name.startswith(COPY) and PREFIX not in others)

    def _copy_of(self, database: Database, index: Index) -> Plan:
        copy = name_of_copy(self.scope, index.name)
        kind, deferrable = _constraint(database, self.table, index.name)
        why = f"{Name(self.table).raw}: index {index.name}, for what takes its place"
        done = unique_exists(self.table, copy) if kind == "u" else NEVER
        build = BuildIndex(
            why=f"{why}{AT_ONCE if deferrable else ''}",
            table=self.table,
            name=copy,
            definition=index.definition,
            unique=index.unique or kind == "u",
            analyze=index.on_expression,
            for_constraint=kind == "u",
            done=done,
        )
        if kind != "u":
            return (build,)
        columns = self._columns_of(database, index.name)
        return (
            build,
            AddUnique(why=why, table=self.table, name=copy, columns=columns, deferrable=deferrable, done=done),
        )

    def _columns_of(self, database: Database, constraint: str) -> tuple[str, ...]:
        """The columns of a constraint, quoted, and of those that have a twin the twin."""
        twins, columns = dict(self.twins), database.rows(columns_of_constraint(self.table, constraint))
        return tuple(Name.of(twins.get(column, column)) for (column,) in columns)

    def _checks(self, database: Database) -> Iterator[Step]:
        for check in _checks_renamed(database, self.table, dict(self.twins)):
            if not check.name.startswith(PREFIX):
                copy = name_of_copy(self.scope, check.name)
                what = f"check {check.name}, for what takes its place"
                yield from _add_check(self.table, what, copy, check.definition)


class MoveAdditions(Question):
    """Builds indexes, unique and check constraints that later migrations gave a twin for the column that stays.

    Each takes over its name there. The twin's own becomes one of the copies that are dropped with it.
    """

    table: str
    column: str
    twin: str

    def is_too_early(self, database: Database) -> bool:
        return not _has_columns(database, self.table, [self.column, self.twin])

    def discover(self, database: Database) -> Plan:
        names = {self.twin: self.column}
        indexes = [one for one in _indexes_renamed(database, self.table, names) if not _is_copy(one)]
        checks = [one for one in _checks_renamed(database, self.table, names) if not _is_copy(one)]
        return (
            *(step for index in indexes for step in self._index(database, index)),
            *(step for check in checks for step in self._check(check)),
        )

    def _index(self, database: Database, index: Index) -> Plan:
        label, name = Name(self.table).raw, index.name
        kind, deferrable = _constraint(database, self.table, name)
        if kind not in ("", "u"):
            raise StepFailed(
                f"{name} of {label} was made after {self.twin} got its twin, and can't be built without blocking. Drop "
                "it, run the same command again, and then make it anew."
            )
        build = BuildIndex(
            why=f"{label}: index {name}, which a later migration made, for the column that stays",
            table=self.table,
            name=name_of_copy(self.table, index.definition),
            definition=index.definition,
            unique=index.unique or kind == "u",
            analyze=index.on_expression,
        )
        of_twin, built = name_of_copy(self.table, name), Name(self.table).beside(build.name)
        add = f"ALTER TABLE {self.table} ADD CONSTRAINT {Name.of(name)}"
        exchange = Together(
            why=f"{label}: that index is {name} from now on",
            sql=(
                f"ALTER INDEX {Name(self.table).beside(name)} RENAME TO {Name.of(of_twin)}",
                f"{add} UNIQUE USING INDEX {Name.of(build.name)}{deferrable}"
                if kind
                else f"ALTER INDEX {built} RENAME TO {Name.of(name)}",
            ),
            locks={self.table: Lock.ACCESS_EXCLUSIVE} if kind else {},
        )
        return (build, exchange)

    def _check(self, check: Check) -> Plan:
        label, name = Name(self.table).raw, check.name
        new, of_twin = name_of_copy(self.table, check.definition), name_of_copy(self.table, name)
        what = f"check {name}, which a later migration made, for the column that stays"
        rename = f"ALTER TABLE {self.table} RENAME CONSTRAINT"
        exchange = Together(
            why=f"{label}: that check is {name} from now on",
            sql=(
                f"{rename} {Name.of(name)} TO {Name.of(of_twin)}",
                f"{rename} {Name.of(new)} TO {Name.of(name)}",
            ),
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
        )
        return (*_add_check(self.table, what, new, check.definition), exchange)


class TryTypes(Question):
    """Proves that each index and check constraint of columns makes sense for other types; no row is read.

    `types` are pairs of a raw name and a type; `but` is a query for the names of indexes that are left out. `failure`
    explains what doesn't, as that of a Trial.
    """

    table: str
    types: tuple[tuple[str, str], ...]
    failure: str
    but: str = ""

    transactional: ClassVar[bool] = True

    def is_too_early(self, database: Database) -> bool:
        return not _has_columns(database, self.table, dict(self.types))

    def discover(self, database: Database) -> Trial:
        alter = [
            f"ALTER TABLE {SHAPE} ALTER COLUMN {Name.of(name)} TYPE {type_} USING NULL" for name, type_ in self.types
        ]
        trials = tuple((what, (*_on_shape(self.table), create, *alter)) for what, create in self._tried(database))
        return Trial(why=self.why, trials=trials, failure=self.failure)

    def _tried(self, database: Database) -> Iterator[tuple[str, str]]:
        """The indexes and checks that are to be tried, and the statements that make them on the shape."""
        columns, left_out = [name for name, _ in self.types], _names(database, self.but)
        for index in _indexes(database, self.table, columns):
            if index.name not in left_out and not index.name.startswith(PREFIX):
                yield f"index {index.name}", _index_of_shape(0, index)
        for check in _checks(database, self.table, columns):
            if not check.name.startswith(PREFIX):
                yield f"check {check.name}", _check_of_shape(0, check)


# What the catalog is asked.


def _names(database: Database, query: str) -> set[str]:
    return {name for (name,) in database.rows(query)} if query else set()


def _has_columns(database: Database, table: str, columns: Iterator[str] | Sequence[str] | Mapping[str, str]) -> bool:
    return all(database.rows(column_exists(table, column)) for column in columns)


def _indexes(database: Database, table: str, columns: Sequence[str]) -> list[Index]:
    return [Index(*row) for row in database.rows(indexes_of_columns(table, *columns))]


def _checks(database: Database, table: str, columns: Sequence[str]) -> list[Check]:
    return [Check(*row) for row in database.rows(checks_of_columns(table, *columns))]


def _constraint(database: Database, table: str, index: str) -> tuple[str, str]:
    """The kind of the constraint behind an index, and DEFERRABLE as it would be written; empty if there is none."""
    for kind, deferrable in database.rows(constraint_of_index(table, index)):
        return kind, deferrable
    return "", ""


def _is_copy(found: Index | Check) -> bool:
    return found.name.startswith(COPY)


def _indexes_renamed(database: Database, table: str, twins: Mapping[str, str]) -> list[Index]:
    """The indexes of columns, spelled as if the columns had the names of their twins."""
    both = {index.name for index in _indexes(database, table, [*twins.values()])}
    found = [index for index in _indexes(database, table, [*twins]) if index.name not in both]
    create = [_index_of_shape(number, index) for number, index in enumerate(found)]
    renamed = _renamed(database, table, twins, create, indexes_of_columns(SHAPE, *twins.values()))
    return [replace(index, definition=row[-1]) for index, row in zip(found, renamed, strict=True)]


def _checks_renamed(database: Database, table: str, twins: Mapping[str, str]) -> list[Check]:
    """The checks of columns, spelled as if the columns had the names of their twins."""
    both = {check.name for check in _checks(database, table, [*twins.values()])}
    found = [check for check in _checks(database, table, [*twins]) if check.name not in both]
    create = [_check_of_shape(number, check) for number, check in enumerate(found)]
    renamed = _renamed(database, table, twins, create, checks_of_columns(SHAPE, *twins.values()))
    return [replace(check, definition=row[-1]) for check, row in zip(found, renamed, strict=True)]


# The shape of a table.


def _renamed(
    database: Database, table: str, twins: Mapping[str, str], create: list[str], query: str
) -> list[tuple[Any, ...]]:
    """How PostgreSQL spells what is created, after the columns were renamed."""
    if not create:
        return []
    shape = f"ALTER TABLE {SHAPE}"
    drop = [f"{shape} DROP COLUMN IF EXISTS {Name.of(twin)}" for twin in twins.values()]
    rename = [f"{shape} RENAME COLUMN {Name.of(column)} TO {Name.of(twin)}" for column, twin in twins.items()]
    return database.rows_after([*_on_shape(table), *drop, *create, *rename], query)


def _on_shape(table: str) -> tuple[str]:
    return (f"CREATE TABLE {SHAPE} (LIKE {table})",)


def _index_of_shape(number: int, index: Index) -> str:
    unique = "UNIQUE " if index.unique else ""
    return f"CREATE {unique}INDEX {_part_of_shape(number)} ON {SHAPE} {index.definition}"


def _check_of_shape(number: int, check: Check) -> str:
    return f"ALTER TABLE {SHAPE} ADD CONSTRAINT {_part_of_shape(number)} {check.definition}"


def _part_of_shape(number: int) -> Name:
    return Name.of(f"{SHAPE.raw}_{number}")


# What is made.


def _copy(table: str, twin: str, index: Index) -> BuildIndex:
    return BuildIndex(
        why=f"{Name(table).raw}: index {index.name} for {twin} too",
        table=table,
        # A plain and a unique index of the same columns are two.
        name=name_of_copy(table, f"UNIQUE {index.definition}" if index.unique else index.definition),
        definition=index.definition,
        unique=index.unique,
        analyze=index.on_expression,
    )


def _add_check(table: str, what: str, name: str, definition: str) -> Plan:
    """A check as another one is, also in whether it was validated, or is enforced at all (PostgreSQL 18)."""
    label = Name(table).raw
    is_enforced = not definition.endswith(" NOT ENFORCED")
    not_valid = " NOT VALID" if is_enforced else ""
    add = Statement(
        why=f"{label}: {what}",
        sql=f"ALTER TABLE {table} ADD CONSTRAINT {Name.of(name)} {definition.removesuffix(not_valid)}{not_valid}",
        locks={table: Lock.ACCESS_EXCLUSIVE},
        done=constraint_exists(table, name),
    )
    validate = Online(
        why=f"{label}: that check holds for every row (checked without blocking)",
        sql=f"ALTER TABLE {table} VALIDATE CONSTRAINT {Name.of(name)}",
        locks={table: Lock.SHARE_UPDATE_EXCLUSIVE},
        done=constraint_exists(table, name, validated=True),
    )
    return (add, validate) if is_enforced and not definition.endswith(" NOT VALID") else (add,)
