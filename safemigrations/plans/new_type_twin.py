"""One column that gets another type under its name, and the twin that takes its place.

The twin is a column of the new type under a temporary name. A sync trigger keeps it what the original is, and existing
rows are copied. Its NOT NULL and its foreign key are made without blocking. Then the two exchange their names. From
then on the former original is the twin, so that there is a way back with every value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.db.backends.ddl_references import Statement as Reference

from ..data import Data
from ..postgres.columns import column_is, column_missing, column_not_null, sequence_beyond
from ..postgres.dependents import stuck_to_column
from ..postgres.indexes import index_of_field
from ..postgres.lock import Lock
from ..postgres.names import Name, name_of_copy, temporary_name
from ..postgres.probe import Probe
from ..postgres.takeover import carry
from ..postgres.values import differ, differ_in_0_1_0
from ..typed import like_index_sql
from . import claims
from .casts import INTEGERS, Cast, text_of
from .claims import Claim, Claims
from .column import Column
from .foreign_key import ForeignKey
from .index_and_check import build_index, check_constraint, name_in
from .not_null import not_null
from .steps import Backfill, Plan, Proof, Together
from .triggers import drop_of, sync_new_type


class Twin(Data):
    """The twin of one column, seen from before the exchange.

    `original` is the column as it is, `column` its twin, `successor` what the twin becomes, `former` what the original
    becomes: the twin of the way back.
    """

    original: Column
    column: Column
    successor: Column
    former: Column
    cast: Cast
    back: Cast
    likes: tuple[bool, bool] = (True, True)  # do the twin and the original have the index for LIKE of their types?

    @property
    def table(self) -> Name:
        return self.original.table

    @property
    def label(self) -> str:
        return self.original.label

    @property
    def over(self) -> Probe:
        """Is the exchange made, or is there nothing left with which it could be made?

        A twin of another type is that of the next exchange, where one migration gives the column two types in turn.
        """
        successor = self.successor
        there = column_is(self.table, successor.name, successor.type, successor.collation)
        return self.former.exists.or_(there.unless(self._has_its_type))

    @property
    def value(self) -> str:
        return self.cast.or_null.replace("{}", self.original.quoted)

    @property
    def differ(self) -> str:
        return differ(self.value, self.column.quoted)

    @property
    def trigger(self) -> Together:
        return sync_new_type(self.original, self.column, self.cast)

    @property
    def claim(self) -> Claim:
        """The claim that no later migration may change before the contract."""
        return self.original.claim.twin

    @property
    def claims(self) -> Claims:
        """The claims that no open contract may hold."""
        column = self.original
        key = claims.key(column.table, column.name)
        return (self.claim, column.claim, key, claims.view_of(column.table))

    # Before anything is touched.

    def nothing_stuck(self, twins: Sequence[Twin]) -> Proof:
        """`twins` are those of the whole exchange: what points at the original is exchanged, too."""
        column, children = self.original, [(other.table, other.original.name) for other in twins]
        stuck = stuck_to_column(column.table, column.name, children)
        return Proof(
            why=f"{column.label}: nothing of yours keeps {column.name} from getting another type",
            query=f"{stuck} UNION {ForeignKey(column).by_hand()}",
            failure=(
                f"{column.name} of {column.label} can't get the type {self.successor.type}, because of: {{rows}}. "
                "Nothing was changed. What depends on a column stays with it, and this column is replaced by another. "
                "Drop what is named, run the same command again, and make it anew after the contract."
            ),
            done=self.over,
        )

    def every_value_fits(self) -> Plan:
        if not self.cast.misfit:
            return ()
        column, keys, type_ = self.original, ", ".join(self.original.key), self.successor.type
        return (
            Proof(
                why=f"{column.label}: every {column.name} fits into {type_}",
                query=f"SELECT {keys}, {column.quoted} FROM {column.table} WHERE ({self._misfit})",
                pages_of=column.table,
                failure=(
                    f"Rows of {column.label} have a {column.name} that {type_} can't hold: {keys} {{rows}}. "
                    "Nothing was lost. Fix them, then run the same command again."
                ),
                done=self.over,
                works_on=(column.claim,),
            ),
        )

    def values_stay_unique(self) -> Plan:
        """Proofs for citext, and for some collations, to which values are the same that differ by case or accent."""
        column, other = self.original, self.successor
        to_citext = text_of(other.type) == "citext" and text_of(column.type) != other.type
        if not (to_citext or (other.collation and other.collation != column.collation)):
            return ()
        return tuple(self._stay_unique(names) for names in column.unique_sets)

    def _stay_unique(self, names: Sequence[str]) -> Proof:
        column, type_ = self.original, self.successor.type_with_collation
        collation = f" COLLATE {self.successor.collation}" if self.successor.collation else ""
        value = f"CAST({column.quoted} AS {self.successor.type}){collation}"
        values = ", ".join(value if name == column.quoted else name for name in names)
        numbers = ", ".join(str(number + 1) for number in range(len(names)))
        return Proof(
            why=f"{column.label}: no two rows have the same {column.name} as {type_}",
            query=f"SELECT {values} FROM {column.table}"
            f" WHERE {' AND '.join(f'{name} IS NOT NULL' for name in names)}"
            f" GROUP BY {numbers} HAVING count(*) > 1",
            failure=(
                f"Rows of {column.label} have a {column.name} that is another row's, too, as {type_}: {{rows}}. "
                "Nothing was changed. Fix them, then run the same command again."
            ),
            done=self.over,
            works_on=(column.claim,),
        )

    @property
    def _misfit(self) -> str:
        return self.cast.misfit.replace("{}", self.original.quoted)

    def sequence_fits(self) -> Plan:
        """Without this PostgreSQL would refuse the next row, and the exchange."""
        column, type_ = self.original, self.successor.type
        if not self.cast.misfit or not self.may_have_sequence:
            return ()
        return (
            Proof(
                why=f"{column.label}: the sequence of {column.name}, if it has one, stands at what {type_} holds",
                query=sequence_beyond(column.table, column.name, INTEGERS[type_] - 1),
                failure=(
                    f"The sequence of {column.name} of {column.label} stands beyond what {type_} holds: {{rows}}. "
                    "Nothing was changed. Set it back with setval() and run the same command again, or stay with the "
                    "wider type."
                ),
                done=self.over,
            ),
        )

    @property
    def may_have_sequence(self) -> bool:
        return self.successor.type in INTEGERS and not self.successor.field.remote_field

    # It comes and goes.

    def add(self) -> Together:
        """The twin and its trigger at the same moment: whatever is written from then on stands in both."""
        column, original, trigger = self.column, self.original, self.trigger
        add = f"ALTER TABLE {column.table} ADD COLUMN {column.quoted} {column.definition(null=True)}"
        return Together(
            why=f"{column.label}: add column {column.name}, and a trigger that keeps it what {original.name} is",
            sql=(add, carry(column.table, original.name, column.name), *trigger.sql),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=trigger.done.and_(self._has_its_type).or_(self.over),
            undo=(*self._drop_foreign_key(), self.end()),
            takes=(column.claim,),
            works_on=(original.claim,),
        )

    @property
    def _has_its_type(self) -> Probe:
        """A run that was stopped, and whose migration somebody edited then, may have left one of another type."""
        column = self.column
        return column_is(column.table, column.name, column.type, column.collation)

    def fill(self) -> Backfill:
        column, original = self.column, self.original
        return Backfill(
            why=f"{column.label}: copy {original.name} to {column.name}",
            table=column.table,
            key=original.key,
            guard=self.differ,
            known_by=differ_in_0_1_0(self.value, self.column.quoted),
            assign=f"{column.quoted} = {self.value}",
            sets=(column.quoted,),
            done=self.over,
            works_on=(original.claim,),
        )

    def _drop_foreign_key(self) -> Plan:
        return (ForeignKey(self.column).drop(),) if self.column.has_foreign_key else ()

    def is_not_the_last(self) -> Proof:
        """Somebody may have dropped the original and the trigger by hand."""
        column, original = self.column, self.original
        return Proof(
            why=f"{column.label}: {original.name} is there",
            query=column_missing(original.table, original.name),
            failure=(
                f"{column.label} has no column {original.name} any more, so {column.name} has the only values. Nothing "
                f"was changed. Put {original.name} back (safemigrations verify --sql prints the statement), fill it "
                f"from {column.name}, and run the same command again."
            ),
            done=column_missing(column.table, column.name),
        )

    def end(self) -> Together:
        """Drop the twin with its trigger, indexes and constraints."""
        column, original, drop = self.column, self.original, drop_of(self.trigger)
        return Together(
            why=f"{column.label}: drop column {column.name} and the trigger that kept it what {original.name} is",
            sql=(*drop.statements, f"ALTER TABLE {column.table} DROP COLUMN IF EXISTS {column.quoted}"),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=column_missing(column.table, column.name),
            takes=(original.claim, self.claim),
        )

    # It becomes fit to take the place of the original.

    def stays_fitting(self) -> Plan:
        """A check that holds until the exchange: a value that was written before it, and doesn't fit, would be lost."""
        if not self.cast.misfit:
            return ()
        column = self.original
        add = f"ALTER TABLE {column.table} ADD CONSTRAINT {Name.of(self.fits)} CHECK (NOT ({self._misfit}))"
        violators = f"SELECT {', '.join(column.key)} FROM {column.table} WHERE ({self._misfit})"
        plan = check_constraint(column.table, self.fits, add, works_on=(column.claim,), violators=violators)
        return self._unless_over(plan)

    @property
    def fits(self) -> str:
        """The name of the check that holds until the exchange makes the type enforce it."""
        return temporary_name(self.label, self.original.name, "fits")

    def not_null(self) -> Plan:
        """Forbid null in the twin, also if people forbade null in the original by hand."""
        plan = self._unless_over(not_null(self.column))
        if not self.original.field.null:
            return plan
        by_hand = column_not_null(self.table, self.original.name)
        return tuple(replace(step, only_where=_both(by_hand, step.only_where)) for step in plan)

    @property
    def former_like_index(self) -> str:
        """A query for the original's index for LIKE, which a twin of another kind of text doesn't get."""
        another = text_of(self.original.type) != text_of(self.successor.type)
        return index_of_field(self.table, self.original.name, name="_like") if another else ""

    def like_index(self, scope: str) -> Plan:
        """The one of its own type, under the name by which it is exchanged; if there is nothing to exchange, its own.

        `scope` is that of the other copies of the table.
        """
        reference, own, former = map(_like_index, (self.column, self.successor, self.original))
        of_twin, of_original = self.likes
        if not (self.former_like_index and of_twin and reference and own):
            return ()
        name = name_of_copy(scope, name_in(former).raw) if of_original and former else name_in(own).raw
        index = build_index(f"{self.label}: index for LIKE, for {self.column.name}", self.table, reference)
        return self._unless_over((replace(index, name=name, takes=(), undo=()),))

    def foreign_key(self) -> Plan:
        return self._unless_over(ForeignKey(self.column).add())

    def _unless_over(self, plan: Plan) -> Plan:
        return tuple(replace(step, done=step.done.or_(self.over)) for step in plan)

    def equal(self) -> Proof:
        original, column, keys = self.original, self.column, ", ".join(self.original.key)
        return Proof(
            why=f"{original.label}: {column.name} is what {original.name} is in every row",
            query=f"SELECT {keys}, {original.quoted} FROM {original.table} WHERE {self.differ}",
            pages_of=original.table,
            failure=(
                f"Rows of {original.label} have a {original.name} that isn't in the column which takes its place: "
                f"{keys} {{rows}}. Somebody wrote while the trigger was disabled, or a trigger of yours keeps rows "
                f"from being changed. UPDATE {original.table} SET {column.quoted} = {self.value} WHERE {self.differ} "
                "repairs it; then run the same command again."
            ),
            done=self.over,
            works_on=(original.claim,),
        )


def _like_index(column: Column) -> Reference | None:
    return like_index_sql(column.editor, column.model, column.field)


def _both(one: Probe, other: Probe | None) -> Probe:
    return one.and_(other) if other else one
