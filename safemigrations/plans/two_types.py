"""A column that gets another name and another type at once.

Each release has a column of its own, of the type that it knows, and a trigger makes the one from whatever is written
to the other. So the types need have nothing in common but a way to convert them. A value that the other type hasn't is
NULL there, which makes no write fail, and is named before one of the two columns goes. What hangs on the column is made
for the new one during expand, as upserts of new code need it, and takes over its names with the contract.

Both directions are the same work: the way back makes the old column from the new one.
"""

from __future__ import annotations

from dataclasses import replace

from ..data import Data
from ..postgres.dependents import stuck_to_column
from ..postgres.indexes import index_of_field
from ..postgres.lock import Lock
from ..postgres.names import scope_of_counterparts
from ..postgres.probe import Probe, said_if
from ..postgres.triggers import functions_naming
from ..postgres.values import differ
from .casts import assigned, misfit
from .claims import Claim
from .column import Column
from .copies import BuildCounterparts, TryTypes
from .indexes import BuildIndex
from .not_null import not_null
from .steps import Backfill, Plan, Proof, Together
from .takeover import carry, drop_leftovers, exchange_checks, exchange_indexes, move_default, name_not_null, try_types
from .triggers import conversion, conversion_name, convert, drop_of
from .two_names import there_already


class Side(Data):
    """One direction: `column` is made from `leader`, and stays when that goes."""

    leader: Column
    column: Column

    @property
    def over(self) -> Probe:
        return self.column.exists.unless(self.leader.exists)

    @property
    def value(self) -> str:
        return self.forth(self.leader.quoted)

    def forth(self, value: str) -> str:
        return f"{conversion_name(self.leader, self.column)}({value})"

    def back(self, value: str) -> str:
        return f"{conversion_name(self.column, self.leader)}({value})"

    @property
    def unmade(self) -> str:
        """Rows whose value in the leader has a counterpart, and not yet in the column."""
        return f"{self.column.quoted} IS NULL AND {self.value} IS NOT NULL"

    @property
    def lost(self) -> str:
        """Rows with a value in the leader that would be lost with it. A rounded one isn't."""
        leader, column = self.leader.quoted, self.column.quoted
        neither = f"{differ(self.value, column)} AND {differ(leader, self.back(column))}"
        return f"{leader} IS NOT NULL AND ({column} IS NULL OR {neither})"


class TwoTypes(Data):
    """The column of the running release and that of the next; `using` is SQL for a new value of an old one, {}.

    `like`: would an index for LIKE, if there is one, be of another type than before?
    """

    old: Column
    new: Column
    using: str = ""
    like: bool = False

    @property
    def forwards(self) -> Side:
        return Side(leader=self.old, column=self.new)

    @property
    def backwards(self) -> Side:
        return Side(leader=self.new, column=self.old)

    @property
    def contract_label(self) -> str:
        return f"drop {self.old.name} of {self.old.label}, after proving that {self.new.name} has its values"

    def expand(self) -> Plan:
        side = self.forwards
        proofs = (self._unwatched(side), self._indexes_fit(side))
        return (*proofs, *self._functions(), self._converts(side), *self._make(side))

    def contract(self) -> Plan:
        again = (*self._functions(), *self._make(self.backwards))
        *steps, end = self._leave(self.forwards)
        drop = tuple(step for made in self._functions() for step in made.undo)
        return (*steps, end, *drop[:-1], replace(drop[-1], undo=again))

    # The functions.

    def _functions(self) -> tuple[Together, ...]:
        old, new = self.old, self.new
        timezone = str(old.editor.connection.timezone_name)
        narrows = "" if self.using else misfit(old.type, new.type)
        forth, back = self.using or assigned(old.type, new.type), assigned(new.type, old.type)
        return (
            conversion(old, new, misfit=narrows, using=forth, timezone=timezone),
            conversion(new, old, misfit=misfit(new.type, old.type), using=back, timezone=timezone),
        )

    # One column is made from the other.

    def _make(self, side: Side) -> Plan:
        column = side.column
        return (
            self._begin(side),
            Backfill(
                why=f"{column.label}: make {column.name} from {side.leader.name}",
                table=column.table,
                key=column.key,
                guard=f"({side.unmade})",
                assign=f"{column.quoted} = {side.value}",
                sets=(column.quoted,),
                done=side.over,
            ),
            *self._counterparts(side),
            column.analyze(done=side.over),
            self._kept(side),
        )

    def _unwatched(self, side: Side) -> Proof:
        leader, column = side.leader, side.column
        taken = said_if(column.exists.unless(self._trigger.done), there_already(column))
        return Proof(
            why=f"{leader.label}: nothing of yours hangs on {leader.name} that can't get a column of another type",
            query=f"{stuck_to_column(leader.table, leader.name, ())} UNION {taken}",
            failure=(
                f"{leader.name} of {leader.label} can't be replaced by {column.name} ({column.type}), because of: "
                "{rows}. Nothing was changed. What hangs on a column goes with it: drop what is named, run the same "
                "command again, and make it anew after the contract."
            ),
            done=side.over,
        )

    def _indexes_fit(self, side: Side) -> TryTypes:
        return try_types(((side.leader, side.column),), but=self._like_index(side), done=side.over)

    def _like_index(self, side: Side) -> str:
        """A query for the one that a column has or hasn't by its type."""
        return index_of_field(side.leader.table, side.leader.name, name="_like") if self.like else ""

    def _converts(self, side: Side) -> Proof:
        leader, column, keys = side.leader, side.column, ", ".join(side.leader.key)
        return Proof(
            why=f"{leader.label}: every {leader.name} can be converted to {column.type}",
            query=(
                f"SELECT {keys}, {leader.quoted} FROM {leader.table}"
                f" WHERE ({leader.quoted} IS NOT NULL AND {side.value} IS NULL)"
            ),
            pages_of=leader.table,
            failure=(
                f"Rows of {leader.label} have a {leader.name} that can't be converted to {column.type}: {keys} "
                "{rows}. Nothing was changed. Mend them, or say with using= of ExpandAlterField how it is done; then "
                "run the same command again."
            ),
            on_failure=tuple(step for made in self._functions() for step in made.undo),
            # Once the columns are there new code may have written what only its own type holds.
            done=self._trigger.done.or_(side.over),
        )

    @property
    def _trigger(self) -> Together:
        side = self.forwards
        return convert(self.old, self.new, to_twin=side.forth, to_old=side.back, default=self._default)

    @property
    def _default(self) -> str:
        """Of both columns; a volatile one gives each of the two another value, and so can't tell which was given."""
        return f"CAST({default} AS {self.new.type})" if (default := self.new.default_of_all_rows) else ""

    def _begin(self, side: Side) -> Together:
        """The column and the trigger at the same moment: whatever is written from then on stands in both."""
        leader, column, trigger = side.leader, side.column, self._trigger
        alter = f"ALTER TABLE {column.table} "
        default = f"{alter}ALTER COLUMN {column.quoted} SET DEFAULT {column.default_of_all_rows}"
        return Together(
            why=f"{column.label}: add column {column.name}, and a trigger that makes it from {leader.name}, and back",
            sql=(
                f"{alter}ADD COLUMN {column.quoted} {column.definition(null=True)}",
                *([default] if self._default else []),  # in ADD COLUMN it would be that of the existing rows, too
                carry(leader, column),
                f"{alter}ALTER COLUMN {leader.quoted} DROP NOT NULL",
                *trigger.sql,
            ),
            locks={column.table: Lock.ACCESS_EXCLUSIVE},
            done=trigger.done.or_(side.over),
            undo=self._leave(Side(leader=column, column=leader)),
            takes=(leader.claim, column.claim, self._claim),
        )

    @property
    def _claim(self) -> Claim:
        return self.new.claim.twin

    def _counterparts(self, side: Side) -> Plan:
        leader, column = side.leader, side.column
        why = f"{column.label}: every index, unique and check constraint of {leader.name} for {column.name}"
        return (
            BuildCounterparts(
                why=why,
                table=column.table,
                twins=((leader.name, column.name),),
                but=self._like_index(side),
                copies=True,
                done=side.over,
            ),
            *(self._like_indexes(column) if self.like else ()),
        )

    def _like_indexes(self, column: Column) -> Plan:
        return tuple(step for step in column.indexes() if isinstance(step, BuildIndex) and step.name.endswith("_like"))

    def _kept(self, side: Side) -> Proof:
        leader, column, keys = side.leader, side.column, ", ".join(side.leader.key)
        return Proof(
            why=f"{leader.label}: {column.name} has every value of {leader.name}",
            query=f"SELECT {keys}, {leader.quoted} FROM {leader.table} WHERE ({side.lost})",
            pages_of=leader.table,
            failure=(
                f"Rows of {leader.label} have a {leader.name} that isn't in {column.name} ({column.type}): "
                f"{keys} {{rows}}. Nothing was dropped. Change them, or give them one with "
                f"UPDATE {leader.table} SET {column.quoted} = ...; then run the same command again."
            ),
            done=side.over,
        )

    # Then the other goes.

    def _leave(self, side: Side) -> Plan:
        column = side.column
        forbids_null = () if column.field.null else not_null(column)
        # Anew, where what hangs on two such columns got another form when the other one of them went.
        again = self._counterparts(side)
        return (
            self._free(side),
            self._no_function_names(side),
            *again,
            self._kept(side),
            *forbids_null,
            self._end(side),
        )

    def _free(self, side: Side) -> Proof:
        leader, column = side.leader, side.column
        return Proof(
            why=f"{leader.label}: nothing of yours depends on {leader.name}",
            query=stuck_to_column(leader.table, leader.name, ()),
            failure=(
                f"{leader.name} of {leader.label} goes now. These depend on it: {{rows}}. Nothing was changed. "
                f"Drop them, or let them use {column.name}; then run the same command again."
            ),
            done=side.over,
        )

    def _no_function_names(self, side: Side) -> Proof:
        leader, column = side.leader, side.column
        return Proof(
            why=f"{leader.label}: no function of your triggers knows {leader.name}",
            query=functions_naming(leader.table, leader.name),
            failure=(
                f"{leader.name} of {leader.label} goes now. Functions of the table's triggers take it by its name, "
                f"and every write would fail: {{rows}}. Nothing was changed. Let them use {column.name}, then run the "
                "same command again."
            ),
            done=side.over,
        )

    def _end(self, side: Side) -> Together:
        leader, column = side.leader, side.column
        table, scope = column.table, scope_of_counterparts(column.table, [leader.name])
        return Together(
            why=f"{column.label}: drop column {leader.name} and the trigger that made {column.name} from it",
            sql=(
                *drop_of(self._trigger).statements,
                exchange_checks(table, scope),
                exchange_indexes(table, scope),
                drop_leftovers(column),
                *(() if self._default else (move_default(leader, column),)),
                name_not_null(column, self.old.name),
                f"ALTER TABLE {table} DROP COLUMN {leader.quoted}",
            ),
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=side.over,
            frees=(leader.claim,),
            takes=(self._claim,),
            works_on=(column.claim,),
        )
