"""A column that gets another type under the same name, together with those that point at it.

Each gets a twin: a column of the new type under a temporary name, which a sync trigger keeps what the original is.
Existing rows are copied, and each index and constraint of the originals is made for the twins too, without blocking.
Then one short transaction exchanges the names of the columns, and of their indexes and constraints. From then on the
former originals are the twins, so that there is a way back with every value.

Both directions are the same work with the parts exchanged; only the casts differ.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce

from ..data import Data
from ..postgres.lock import Lock
from ..postgres.names import Name, scope_of_copies, temporary_name
from ..postgres.probe import Probe
from ..postgres.takeover import (
    carry_comment_of_foreign_key,
    drop_unique,
    exchange_checks,
    exchange_indexes,
    exchange_primary_key,
    forget_plans,
    move_default,
    move_identity,
    move_sequence,
    name_not_null,
    rename_foreign_key,
    rename_not_null,
)
from ..typed import create_fk_sql
from .casts import Cast
from .column import Column, have_their_types
from .copies import BuildCounterparts
from .foreign_key import FK_SUFFIX, ForeignKey
from .index_and_check import name_in
from .new_type_twin import Twin
from .steps import Plan, Step, Together
from .takeover import try_types
from .triggers import Kept, drop_of, sync_new_type

FK_ANEW = "_fk"  # BaseDatabaseSchemaEditor._alter_field() gives it to a foreign key that it makes again


class Retyped(Data):
    """A column before and after, under the same name, and the casts between the two."""

    old: Column
    new: Column
    forth: Cast
    back: Cast


class Exchange(Data):
    """All steps that exchange columns for others of another type. Columns that others point at come first."""

    columns: tuple[Retyped, ...]
    backwards: bool = False

    @property
    def back(self) -> Exchange:
        return replace(self, backwards=not self.backwards)

    @property
    def twins(self) -> list[Twin]:
        return [self._twin(column) for column in self.columns]

    def _twin(self, column: Retyped) -> Twin:
        before, after = (column.new, column.old) if self.backwards else (column.old, column.new)
        forth, back = (column.back, column.forth) if self.backwards else (column.forth, column.back)
        old, new = _under(column.old, "old"), _under(column.new, "new")
        twin, former = (old, new) if self.backwards else (new, old)
        # Django makes the index for LIKE of what is altered, and drops that of what points at it.
        points = column != self.columns[0]
        likes = (self.backwards, not self.backwards) if points else (True, True)
        return Twin(original=before, column=twin, successor=after, former=former, cast=forth, back=back, likes=likes)

    def _by_table(self) -> dict[Name, list[Twin]]:
        tables: dict[Name, list[Twin]] = {}
        for twin in self.twins:
            tables.setdefault(twin.table, []).append(twin)
        return tables

    def expand(self) -> Plan:
        return (*self.proofs(), *self.begin(), *self.prepare(), self.exchange())

    @property
    def kept(self) -> tuple[Kept, ...]:
        """From the exchange on the former originals are the twins."""
        return tuple(Kept(_trigger_back(twin), twin.successor, twin.former, adds=False) for twin in self.twins)

    def contract(self) -> Plan:
        """The former originals go. On the way back they are made again as twins, and all is as before the contract."""
        going = list(reversed(self.back.twins))
        first, *others = (twin.end() for twin in going)
        return (*(twin.is_not_the_last() for twin in going), replace(first, undo=self.back.begin()), *others)

    def proofs(self) -> Plan:
        """Questions that are asked before anything is changed."""
        twins = self.twins
        all_over = reduce(Probe.and_, (twin.over for twin in twins))  # if only some are, it was done by hand
        return (
            have_their_types([twin.original for twin in twins], done=all_over),
            *(twin.nothing_stuck(twins) for twin in twins),
            *self._indexes_fit(),
            *(step for twin in twins for step in twin.every_value_fits()),
            *(step for twin in twins for step in twin.values_stay_unique()),
            *(step for twin in twins for step in twin.sequence_fits()),
        )

    def _indexes_fit(self) -> Iterator[Step]:
        for twins in self._by_table().values():
            yield try_types([(one.original, one.successor) for one in twins], but=_likes(twins), done=twins[0].over)

    def begin(self) -> Plan:
        return (*(twin.add() for twin in self.twins), *(twin.fill() for twin in self.twins))

    def prepare(self) -> Plan:
        """Build the indexes and constraints of the originals for the twins."""
        twins = self.twins
        return (
            *self.proofs(),  # again, as copying takes its time
            *(step for twin in twins for step in twin.stays_fitting()),
            *self._indexes_and_checks(),
            *(step for twin in twins for step in twin.not_null()),
            *(step for twin in twins for step in twin.foreign_key()),
            *(twin.column.analyze(done=twin.over, works_on=(twin.original.claim,)) for twin in twins),
            *(twin.equal() for twin in twins),
        )

    def _indexes_and_checks(self) -> Iterator[Step]:
        for table, twins in self._by_table().items():
            yield BuildCounterparts(
                why=f"{table.raw}: every index, unique and check constraint for what takes the place of"
                f" {', '.join(twin.original.name for twin in twins)}",
                table=table,
                twins=tuple((twin.original.name, twin.column.name) for twin in twins),
                but=_likes(twins),
                done=twins[0].over,
                works_on=(twins[0].original.claim,),
            )
            for twin in twins:
                yield from twin.like_index(_scope(table, twins))

    # The moment itself.

    def exchange(self) -> Together:
        back = self.back
        return replace(self._exchanged("from now on"), undo=(*back.prepare(), back._exchanged("again")))

    def _exchanged(self, when: str) -> Together:
        twins = self.twins
        names = ", ".join(f"{twin.original.name} of {twin.label}" for twin in twins)
        return Together(
            why=f"{names}: {twins[0].successor.type} {when}",
            sql=tuple(self._statements()),
            locks={twin.table: Lock.ACCESS_EXCLUSIVE for twin in twins},
            for_newer_snapshots=True,  # in older ones the twin isn't filled
            done=twins[0].over,
            works_on=(twins[0].original.claim,),
        )

    def _statements(self) -> Iterator[str]:
        twins, tables = self.twins, self._by_table()
        for twin in twins:
            yield from _stop_syncing(twin)
        for table, together in tables.items():
            yield from _take_over(table, together)
        for twin in twins:
            yield from _exchange_names(twin)
        for twin in twins:
            yield from _rename_foreign_key(twin, FK_SUFFIX if self.backwards else FK_ANEW)
        for trigger in map(_trigger_back, self.twins):
            yield from trigger.statements
        yield forget_plans(tables)


def _trigger_back(twin: Twin) -> Together:
    """The trigger that keeps the former original what the new column is."""
    return sync_new_type(twin.successor, twin.former, twin.back)


def _stop_syncing(twin: Twin) -> Iterator[str]:
    """Drop the objects that keep twin and original equal."""
    yield from drop_of(twin.trigger).statements
    if twin.cast.misfit:
        yield f"ALTER TABLE {twin.table} DROP CONSTRAINT IF EXISTS {Name.of(twin.fits)}"
    if twin.original.has_foreign_key:
        yield carry_comment_of_foreign_key(twin.table, twin.original.name, twin.column.name)
        yield ForeignKey(twin.original).drop().sql


def _take_over(table: Name, twins: list[Twin]) -> Iterator[str]:
    """The indexes and constraints of the twins get the names of those of the originals."""
    scope = _scope(table, twins)
    yield exchange_checks(table, scope)
    yield exchange_primary_key(table, scope)
    yield exchange_indexes(table, scope, [twin.original.name for twin in twins])
    yield drop_unique(table, scope)


def _scope(table: Name, twins: list[Twin]) -> str:
    return scope_of_copies(table, [twin.original.name for twin in twins])


def _likes(twins: list[Twin]) -> str:
    """A query for the indexes for LIKE that another type has no use for."""
    queries = filter(None, (twin.former_like_index for twin in twins))
    return " UNION ".join(f"SELECT * FROM ({query}) AS found" for query in queries)  # one begins with WITH


def _exchange_names(twin: Twin) -> Iterator[str]:
    table, successor, former = twin.table, twin.successor, twin.former
    yield f"ALTER TABLE {table} RENAME COLUMN {twin.original.quoted} TO {former.quoted}"
    yield f"ALTER TABLE {table} RENAME COLUMN {twin.column.quoted} TO {successor.quoted}"
    yield move_default(table, former.name, successor.name)
    if twin.may_have_sequence:
        yield move_identity(table, former.name, successor.name)
    yield move_sequence(table, former.name, successor.name, successor.type if twin.may_have_sequence else "")
    yield rename_not_null(table, former.name, successor.name)
    # People let the original be null.
    yield name_not_null(table, successor.name, successor.name, former=twin.column.name)
    yield f"ALTER TABLE {table} ALTER COLUMN {former.quoted} DROP NOT NULL"


def _rename_foreign_key(twin: Twin, suffix: str) -> Iterator[str]:
    if twin.column.has_foreign_key:
        column = twin.successor
        reference = create_fk_sql(column.editor, column.model, column.field, suffix)
        yield rename_foreign_key(twin.table, ForeignKey(twin.column).name, name_in(reference).raw)


# The column that a twin is.


def _under(column: Column, role: str) -> Column:
    """The column under its temporary name. A foreign key to a column of the exchange points at its temporary name."""
    field = copy.copy(column.field)
    field.column = _temporary(field.column, role)
    if field.remote_field:
        to = copy.copy(field.target_field)
        to.column = _temporary(to.column, role)
        field.__dict__["foreign_related_fields"] = (to,)
    return replace(column, field=field)


def _temporary(column: str, role: str) -> str:
    """The temporary name of a column. Both names are given as Django spells them."""
    return Name.of(temporary_name(Name.from_django(column).raw, role)).in_django
