"""A column that gets another type under the same name, together with those that point at it.

Each gets a follower: a column of the new type under a temporary name, which a trigger keeps what the column is.
Existing rows are copied, and all that hangs on the column is made for the follower too, without blocking: indexes,
unique and check constraints, NOT NULL, foreign keys. Then one short transaction exchanges the names, of the columns and
of what hangs on them. From then on it is the old column that follows, so that there is a way back with every value.

Both directions are the same work with the parts exchanged; only the casts differ.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

from ..data import Data
from ..postgres.columns import column_is, column_missing, sequence_beyond
from ..postgres.dependents import stuck_to_column
from ..postgres.lock import Lock
from ..postgres.names import Name, scope_of_counterparts, temporary_name
from ..postgres.probe import Probe
from ..postgres.values import differ
from ..typed import create_fk_sql
from .casts import INTEGERS, Cast
from .claims import Claim
from .column import Column
from .copies import BuildCounterparts
from .foreign_key import FK_SUFFIX, ForeignKey
from .index_and_check import check_constraint, name_in
from .not_null import not_null
from .steps import Backfill, Plan, Proof, Step, Together
from .takeover import (
    carry,
    drop_unique,
    exchange_checks,
    exchange_indexes,
    exchange_primary_key,
    forget_plans,
    move_default,
    move_identity,
    move_sequence,
    rename_foreign_key,
    rename_not_null,
    try_types,
)
from .triggers import drop_of, follow

FK_ANEW = "_fk"  # BaseDatabaseSchemaEditor._alter_field() gives it to a foreign key that it makes again


class Retyped(Data):
    """A column before and after, under the same name, and the casts between the two."""

    old: Column
    new: Column
    forth: Cast
    back: Cast


class Follower(Data):
    """One column of an exchange, seen from before it.

    `leader` is the column as it is, `column` its follower, `final` what the follower becomes, `left` what the leader
    becomes: the follower of the way back.
    """

    leader: Column
    column: Column
    final: Column
    left: Column
    cast: Cast
    back: Cast

    @property
    def table(self) -> Name:
        return self.leader.table

    @property
    def label(self) -> str:
        return self.leader.label

    @property
    def over(self) -> Probe:
        """Has the exchange been made, or is there nothing any more that it could be made with?"""
        there = column_is(self.table, self.final.name, self.final.type, self.final.collation)
        return self.left.exists.or_(there.unless(self.column.exists))

    @property
    def value(self) -> str:
        return self.cast.or_null.replace("{}", self.leader.quoted)

    @property
    def differ(self) -> str:
        return differ(self.value, self.column.quoted)

    @property
    def trigger(self) -> Together:
        return follow(self.leader, self.column, self.cast)

    @property
    def claim(self) -> Claim:
        """What no later migration may change meanwhile; as of twins."""
        return self.leader.claim.twin


class Exchange(Data):
    """What it takes to exchange columns for others of another type; those that others point at come first."""

    columns: tuple[Retyped, ...]
    backwards: bool = False

    @property
    def back(self) -> Exchange:
        return replace(self, backwards=not self.backwards)

    @property
    def followers(self) -> list[Follower]:
        return [self._follower(column) for column in self.columns]

    def _follower(self, column: Retyped) -> Follower:
        old, new = self._under(column.old, "old"), self._under(column.new, "new")
        if self.backwards:
            return Follower(
                leader=column.new, column=old, final=column.old, left=new, cast=column.back, back=column.forth
            )
        return Follower(leader=column.old, column=new, final=column.new, left=old, cast=column.forth, back=column.back)

    def _under(self, column: Column, role: str) -> Column:
        """The column under its temporary name; if it is a foreign key, one that points at what has such a name, too."""
        field = copy.copy(column.field)
        field.column = _temporary(field.column, role)
        if field.remote_field:
            to = copy.copy(field.target_field)
            to.column = _temporary(to.column, role)
            field.__dict__["foreign_related_fields"] = (to,)
        return replace(column, field=field)

    @property
    def locks(self) -> dict[str, Lock]:
        return {follower.table: Lock.ACCESS_EXCLUSIVE for follower in self.followers}

    def expand(self) -> Plan:
        return (*self.proofs(), *self.begin(), *self.prepare(), self.exchange())

    def contract(self) -> Plan:
        """The old columns go. Taken back, they are made again as followers, and all is as before the contract."""
        again = self.back.begin()
        ends = [self._end(follower) for follower in reversed(self.back.followers)]
        return (replace(ends[0], undo=again), *ends[1:])

    # Before anything is touched.

    def proofs(self) -> Plan:
        followers = self.followers
        return (
            *(self._nothing_stuck(follower) for follower in followers),
            *self._indexes_fit(),
            *(self._every_value_fits(follower) for follower in followers if follower.cast.misfit),
            *(self._sequence_fits(follower) for follower in followers if _may_have_sequence(follower)),
        )

    def _nothing_stuck(self, follower: Follower) -> Proof:
        column = follower.leader
        children = [(other.table, other.leader.name) for other in self.followers]
        return Proof(
            why=f"{column.label}: nothing of yours hangs on {column.name} that can't get a column of another type",
            query=stuck_to_column(column.table, column.name, children),
            failure=(
                f"{column.name} of {column.label} can't get the type {follower.final.type}, because of: {{rows}}. "
                "Nothing was changed. What hangs on a column stays with it, and this one is replaced by another: drop "
                "what is named, run the same command again, and make it anew after the contract."
            ),
            done=follower.over,
        )

    def _indexes_fit(self) -> Iterator[Step]:
        for followers in self._by_table().values():
            yield try_types([(one.leader, one.final) for one in followers], done=followers[0].over)

    def _every_value_fits(self, follower: Follower) -> Proof:
        column, keys = follower.leader, ", ".join(follower.leader.key)
        misfit = follower.cast.misfit.replace("{}", column.quoted)
        return Proof(
            why=f"{column.label}: every {column.name} fits into {follower.final.type}",
            query=f"SELECT {keys}, {column.quoted} FROM {column.table} WHERE ({misfit})",
            pages_of=column.table,
            failure=(
                f"Rows of {column.label} have a {column.name} that {follower.final.type} can't hold: {keys} {{rows}}. "
                "Nothing was lost. Mend them, then run the same command again."
            ),
            done=follower.over,
            works_on=(column.claim,),
        )

    def _sequence_fits(self, follower: Follower) -> Proof:
        """Else the next row would be refused, and the exchange, too."""
        column, type_ = follower.leader, follower.final.type
        return Proof(
            why=f"{column.label}: the sequence of {column.name}, if it has one, stands at what {type_} holds",
            query=sequence_beyond(column.table, column.name, INTEGERS[type_] - 1),
            failure=(
                f"The sequence of {column.name} of {column.label} stands beyond what {type_} holds: {{rows}}. Nothing "
                "was changed. Set it back with setval() and run the same command again, or stay with the wider type."
            ),
            done=follower.over,
        )

    # The followers.

    def begin(self) -> Plan:
        followers = self.followers
        return (*(self._add(follower) for follower in followers), *(self._fill(follower) for follower in followers))

    def _add(self, follower: Follower) -> Together:
        """The follower and its trigger at the same moment: whatever is written from then on stands in both."""
        column, leader, trigger = follower.column, follower.leader, follower.trigger
        add = f"ALTER TABLE {column.table} ADD COLUMN {column.quoted} {column.definition(null=True)}"
        return Together(
            why=f"{column.label}: add column {column.name}, and a trigger that keeps it what {leader.name} is",
            sql=(add, carry(leader, column), *trigger.sql),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=trigger.done.or_(follower.over),
            undo=(*self._drop_foreign_key(follower), self._end(follower)),
            takes=(column.claim,),
            works_on=(leader.claim,),
        )

    def _fill(self, follower: Follower) -> Backfill:
        column, leader = follower.column, follower.leader
        return Backfill(
            why=f"{column.label}: copy {leader.name} to {column.name}",
            table=column.table,
            key=leader.key,
            guard=follower.differ,
            assign=f"{column.quoted} = {follower.value}",
            sets=(column.quoted,),
            done=follower.over,
            works_on=(leader.claim,),
        )

    def _drop_foreign_key(self, follower: Follower) -> Plan:
        if not follower.column.has_foreign_key:
            return ()
        return (ForeignKey(follower.column).drop(),)

    def _end(self, follower: Follower) -> Together:
        """A follower goes, with its trigger and all that hangs on it."""
        column, leader, drop = follower.column, follower.leader, drop_of(follower.trigger)
        return Together(
            why=f"{column.label}: drop column {column.name} and the trigger that kept it what {leader.name} is",
            sql=(*drop.statements, f"ALTER TABLE {column.table} DROP COLUMN IF EXISTS {column.quoted}"),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=column_missing(column.table, column.name),
            takes=(leader.claim, follower.claim),
        )

    # What hangs on the columns, made for the followers.

    def prepare(self) -> Plan:
        followers = self.followers
        return (
            *self.proofs(),  # again, as copying takes its time
            *(step for follower in followers for step in self._stays_fitting(follower)),
            *self._counterparts(),
            *(step for follower in followers for step in self._not_null(follower)),
            *(step for follower in followers for step in self._foreign_key(follower)),
            *(follower.column.analyze(done=follower.over, works_on=(follower.leader.claim,)) for follower in followers),
            *(self._equal(follower) for follower in followers),
        )

    def _stays_fitting(self, follower: Follower) -> Plan:
        """Until the exchange makes the type say so: what was written in between would be lost with it."""
        if not follower.cast.misfit:
            return ()
        column, name = follower.leader, _fits(follower)
        misfit = follower.cast.misfit.replace("{}", column.quoted)
        add = f"ALTER TABLE {column.table} ADD CONSTRAINT {Name.of(name)} CHECK (NOT ({misfit}))"
        violators = f"SELECT {', '.join(column.key)} FROM {column.table} WHERE ({misfit})"
        plan = check_constraint(column.table, name, add, works_on=(column.claim,), violators=violators)
        return _unless(follower.over, plan)

    def _counterparts(self) -> Iterator[Step]:
        for table, followers in self._by_table().items():
            yield BuildCounterparts(
                why=f"{table.raw}: every index, unique and check constraint for what takes the place of"
                f" {', '.join(follower.leader.name for follower in followers)}",
                table=table,
                twins=tuple((follower.leader.name, follower.column.name) for follower in followers),
                done=followers[0].over,
                works_on=(followers[0].leader.claim,),
            )

    def _by_table(self) -> dict[Name, list[Follower]]:
        tables: dict[Name, list[Follower]] = {}
        for follower in self.followers:
            tables.setdefault(follower.table, []).append(follower)
        return tables

    def _not_null(self, follower: Follower) -> Plan:
        return () if follower.leader.field.null else _unless(follower.over, not_null(follower.column))

    def _foreign_key(self, follower: Follower) -> Plan:
        return _unless(follower.over, ForeignKey(follower.column).add())

    def _equal(self, follower: Follower) -> Proof:
        leader, column, keys = follower.leader, follower.column, ", ".join(follower.leader.key)
        return Proof(
            why=f"{leader.label}: {column.name} is what {leader.name} is in every row",
            query=f"SELECT {keys}, {leader.quoted} FROM {leader.table} WHERE {follower.differ}",
            pages_of=leader.table,
            failure=(
                f"Rows of {leader.label} have a {leader.name} that isn't in the column which takes its place: {keys} "
                f"{{rows}}. Somebody wrote while the trigger was disabled. UPDATE {leader.table} SET {column.quoted} = "
                f"{follower.value} WHERE {follower.differ} repairs it; then run the same command again."
            ),
            done=follower.over,
            works_on=(leader.claim,),
        )

    # The moment itself.

    def exchange(self) -> Together:
        back = self.back
        return replace(self._exchanged("from now on"), undo=(*back.prepare(), back._exchanged("again")))

    def _exchanged(self, when: str) -> Together:
        followers = self.followers
        names = ", ".join(f"{follower.leader.name} of {follower.label}" for follower in followers)
        return Together(
            why=f"{names}: {followers[0].final.type} {when}",
            sql=tuple(self._exchange()),
            locks=self.locks,
            done=followers[0].over,
            works_on=(followers[0].leader.claim,),
        )

    def _exchange(self) -> Iterator[str]:
        followers, tables = self.followers, self._by_table()
        for follower in followers:
            yield from drop_of(follower.trigger).statements
            if follower.cast.misfit:
                fits = Name.of(_fits(follower))
                yield f"ALTER TABLE {follower.table} DROP CONSTRAINT IF EXISTS {fits}"
            if follower.leader.has_foreign_key:
                yield ForeignKey(follower.leader).drop().sql
        for table, together in tables.items():
            scope = scope_of_counterparts(table, [follower.leader.name for follower in together])
            yield exchange_checks(table, scope)
            yield exchange_primary_key(table, scope)
            yield exchange_indexes(table, scope)
            yield drop_unique(table, scope)
        for follower in followers:
            yield from self._exchange_columns(follower)
        for follower in followers:
            if follower.column.has_foreign_key:
                yield rename_foreign_key(follower.column, self._foreign_key_name(follower.final))
            yield from follow(follower.final, follower.left, follower.back).statements
        yield forget_plans(tables)

    def _exchange_columns(self, follower: Follower) -> Iterator[str]:
        table, leader, left, column = follower.table, follower.leader, follower.left, follower.column
        yield f"ALTER TABLE {table} RENAME COLUMN {leader.quoted} TO {left.quoted}"
        yield f"ALTER TABLE {table} RENAME COLUMN {column.quoted} TO {follower.final.quoted}"
        yield move_default(left, follower.final)
        if follower.final.type in INTEGERS and not follower.final.field.remote_field:
            yield move_identity(left, follower.final)
            yield move_sequence(left, follower.final)
        yield rename_not_null(left, follower.final)
        yield f"ALTER TABLE {table} ALTER COLUMN {left.quoted} DROP NOT NULL"

    def _foreign_key_name(self, column: Column) -> str:
        suffix = FK_SUFFIX if self.backwards else FK_ANEW
        reference = create_fk_sql(column.editor, column.model, column.field, suffix)
        return name_in(reference).raw


def _may_have_sequence(follower: Follower) -> bool:
    return bool(follower.cast.misfit) and follower.final.type in INTEGERS and not follower.final.field.remote_field


def _fits(follower: Follower) -> str:
    return temporary_name(follower.label, follower.leader.name, "fits")


def _unless(over: Probe, plan: Plan) -> Plan:
    return tuple(replace(step, done=step.done.or_(over)) for step in plan)


def _temporary(column: str, role: str) -> str:
    """The temporary name of a column, both as Django spells it."""
    return Name.of(temporary_name(Name.from_django(column).raw, role)).in_django
