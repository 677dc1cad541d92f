"""A column that gets another name and another type at once.

Each release has a column of its own, of the type that it knows, and a sync trigger makes each column from what is
written to the other. So all that the types need is a way to convert their values. A value that the other type hasn't is
NULL there. That makes no write fail, and such a value is named before one of the two columns goes. Each index and
constraint of the original is made for the twin during expand, as upserts of the new release need them, and takes over
its name with the contract.

Both directions are the same work: the way back makes the old column from the new one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ..data import Data
from ..postgres.columns import column_not_null, default_of, sequence_of
from ..postgres.dependents import stuck_to_column
from ..postgres.indexes import index_of_field, one_null_indexes
from ..postgres.lock import Lock
from ..postgres.names import scope_of_copies
from ..postgres.probe import Probe, said_if
from ..postgres.takeover import (
    carry,
    drop_leftovers,
    exchange_checks,
    exchange_indexes,
    move_default,
    name_not_null,
)
from ..postgres.triggers import functions_naming
from ..postgres.values import differ
from .carried import Carried, carried
from .casts import Cast, assigned, misfit
from .claims import Claim
from .column import Column, have_their_types
from .copies import BuildCounterparts
from .foreign_key import ForeignKey
from .indexes import BuildIndex
from .not_null import not_null
from .steps import Backfill, Plan, Proof, Together
from .takeover import try_types
from .triggers import Kept, conversion, conversion_name, drop_of, sync_two_types
from .two_names import there_already


class Conversion(Data):
    """Converts a value of either column to the other's type: two functions, and the sync trigger that calls them.

    `using` is SQL that makes a new value of an old one, which is {}; `back` makes an old value of a new one.
    """

    old: Column
    new: Column
    using: str = ""
    back: str = ""

    def functions(self) -> tuple[Together, ...]:
        old, new = self.old, self.new
        timezone = str(old.editor.connection.timezone_name)
        narrows = "" if self.using else misfit(old.type, new.type)
        widens = "" if self.back else misfit(new.type, old.type)
        forth, back = self.using or assigned(old.type, new.type), self.back or assigned(new.type, old.type)
        return (
            conversion(old, new, misfit=narrows, using=forth, timezone=timezone, by_hand=bool(self.using)),
            conversion(new, old, misfit=widens, using=back, timezone=timezone, by_hand=bool(self.back)),
        )

    def drop_functions(self) -> Plan:
        return tuple(step for made in self.functions() for step in made.undo)

    @property
    def trigger(self) -> Together:
        old, new = self.old, self.new
        return sync_two_types(
            old,
            new,
            to_twin=partial(converted, old, new),
            to_original=partial(converted, new, old),
            default=self.default,
        )

    @property
    def default(self) -> str:
        """The default of both columns. A volatile one gives each column another value, and so can't tell which was
        given.
        """
        return f"CAST({default} AS {self.new.type})" if (default := self.new.default_of_all_rows) else ""

    @property
    def claim(self) -> Claim:
        return self.new.claim.twin


def converted(one: Column, other: Column, value: str) -> str:
    return f"{conversion_name(one, other)}({value})"


class Direction(Data):
    """The twin is made from the original, and stays when that goes. The way back is the other direction.

    `like`: would an index for LIKE, if there is one, be of another type than before?
    """

    conversion: Conversion
    original: Column
    twin: Column
    like: bool

    @property
    def reversed(self) -> Direction:
        return replace(self, original=self.twin, twin=self.original)

    @property
    def over(self) -> Probe:
        return self.twin.exists.unless(self.original.exists)

    @property
    def value(self) -> str:
        return converted(self.original, self.twin, self.original.quoted)

    # The twin is made from the original.

    def make(self) -> Plan:
        return (
            self._begin(),
            self._fill(),
            *self._indexes_and_checks(),
            self.twin.analyze(done=self.over),
            self._has_every_value(),
        )

    def _begin(self) -> Together:
        """The twin and the trigger at the same moment: whatever is written from then on stands in both."""
        original, twin, trigger = self.original, self.twin, self.conversion.trigger
        alter = f"ALTER TABLE {twin.table} "
        default = f"{alter}ALTER COLUMN {twin.quoted} SET DEFAULT {twin.default_of_all_rows}"
        return Together(
            why=f"{twin.label}: add column {twin.name}, and a trigger that makes it from {original.name}, and back",
            sql=(
                f"{alter}ADD COLUMN {twin.quoted} {twin.definition(null=True)}",
                *([default] if self.conversion.default else []),  # in ADD COLUMN: that of the existing rows, too
                carry(twin.table, original.name, twin.name),
                f"{alter}ALTER COLUMN {original.quoted} DROP NOT NULL",
                *trigger.sql,
            ),
            locks={twin.table: Lock.ACCESS_EXCLUSIVE},
            done=trigger.done.or_(self.over),
            undo=self.reversed.leave(),
            takes=(original.claim, original.claim.twin, twin.claim, self.conversion.claim),
        )

    def _fill(self) -> Backfill:
        original, twin = self.original, self.twin
        return Backfill(
            why=f"{twin.label}: make {twin.name} from {original.name}",
            table=twin.table,
            key=twin.key,
            guard=f"({twin.quoted} IS NULL AND {self.value} IS NOT NULL)",
            assign=f"{twin.quoted} = {self.value}",
            sets=(twin.quoted,),
            done=self.over,
        )

    @property
    def like_index(self) -> str:
        """A query for the index for LIKE, which one of the two types has and the other hasn't."""
        return index_of_field(self.original.table, self.original.name, name="_like") if self.like else ""

    def _indexes_and_checks(self) -> Plan:
        original, twin = self.original, self.twin
        return (
            BuildCounterparts(
                why=f"{twin.label}: every index, unique and check constraint of {original.name} for {twin.name}",
                table=twin.table,
                twins=((original.name, twin.name),),
                but=self.like_index,
                copies=True,
                done=self.over,
            ),
            *(self._like_indexes() if self.like else ()),
        )

    def _like_indexes(self) -> Plan:
        indexes = self.twin.indexes()
        return tuple(step for step in indexes if isinstance(step, BuildIndex) and step.name.endswith("_like"))

    def _has_every_value(self) -> Proof:
        original, twin, keys = self.original, self.twin, ", ".join(self.original.key)
        return Proof(
            why=f"{original.label}: {twin.name} has every value of {original.name}",
            query=f"SELECT {keys}, {original.quoted} FROM {original.table} WHERE ({self._lost})",
            pages_of=original.table,
            failure=(
                f"Rows of {original.label} have a {original.name} that isn't in {twin.name} ({twin.type}): "
                f"{keys} {{rows}}. Nothing was dropped. Change them, or give them one with "
                f"UPDATE {original.table} SET {twin.quoted} = ...; then run the same command again."
            ),
            done=self.over,
        )

    @property
    def _lost(self) -> str:
        """Rows of the original with a value that would be lost with it.

        A rounded value isn't lost. A null may be: if it was written while the trigger was off, the twin still has the
        former value.
        """
        original, twin = self.original.quoted, self.twin.quoted
        neither = f"{differ(self.value, twin)} AND {differ(original, converted(self.twin, self.original, twin))}"
        return f"{original} IS NOT NULL AND {twin} IS NULL OR {neither}"

    # Then the original goes.

    def leave(self) -> Plan:
        return (
            self._free(),
            self._no_function_names(),
            # Again: an index over two such columns got another form when the other column went.
            *self._indexes_and_checks(),
            self._has_every_value(),
            *(() if self.twin.field.null else not_null(self.twin)),
            self._end(),
        )

    def _free(self) -> Proof:
        original, twin = self.original, self.twin
        return Proof(
            why=f"{original.label}: nothing of yours depends on {original.name}",
            query=stuck_to_column(original.table, original.name, ()),
            failure=(
                f"{original.name} of {original.label} goes now. These depend on it: {{rows}}. Nothing was changed. "
                f"Drop them, or let them use {twin.name}; then run the same command again."
            ),
            done=self.over,
        )

    def _no_function_names(self) -> Proof:
        original, twin = self.original, self.twin
        return Proof(
            why=f"{original.label}: no function of your triggers knows {original.name}",
            query=functions_naming(original.table, original.name),
            failure=(
                f"{original.name} of {original.label} goes now. Functions of the table's triggers take it by its name, "
                f"and every write would fail: {{rows}}. Nothing was changed. Let them use {twin.name}, then run the "
                "same command again."
            ),
            done=self.over,
        )

    def _end(self) -> Together:
        original, twin, conversion = self.original, self.twin, self.conversion
        table, scope = twin.table, scope_of_copies(twin.table, [original.name])
        return Together(
            why=f"{twin.label}: drop column {original.name} and the trigger that made {twin.name} from it",
            sql=(
                *drop_of(conversion.trigger).statements,
                exchange_checks(table, scope),
                exchange_indexes(table, scope, [original.name]),
                drop_leftovers(table, twin.name),
                *(() if conversion.default else (move_default(table, original.name, twin.name),)),
                name_not_null(table, twin.name, conversion.old.name),
                f"ALTER TABLE {table} DROP COLUMN {original.quoted}",
            ),
            locks={table: Lock.ACCESS_EXCLUSIVE},
            done=self.over,
            remains=(drop_of(conversion.trigger),),
            frees=(original.claim,),
            takes=(conversion.claim,),
            works_on=(twin.claim,),
        )


class TwoTypes(Data):
    """A column for each release, each with the type that its release knows."""

    old: Column
    new: Column
    using: str = ""
    back: str = ""
    like: bool = False

    @property
    def _conversion(self) -> Conversion:
        return Conversion(self.old, self.new, self.using, self.back)

    @property
    def _forwards(self) -> Direction:
        return Direction(self._conversion, original=self.old, twin=self.new, like=self.like)

    @property
    def trigger(self) -> Together:
        return self._conversion.trigger

    @property
    def kept(self) -> Kept:
        return Kept(self.trigger, self.new, self.old)

    @property
    def carried(self) -> Carried:
        old, new = self.old, self.new
        cast = f"CAST({self.using or assigned(old.type, new.type)} AS {new.type})"
        return carried(old, new, Cast(cast, "" if self.using else misfit(old.type, new.type)).or_null)

    @property
    def contract_label(self) -> str:
        return f"drop {self.old.name} of {self.old.label}, after proving that {self.new.name} has its values"

    def expand(self) -> Plan:
        forwards, over = self._forwards, self._forwards.over
        fits = try_types(((self.old, self.new),), but=forwards.like_index, done=over)
        functions = self._conversion.functions()
        return (
            have_their_types([self.old], done=over),
            self._unwatched(over),
            fits,
            *functions,
            self._converts(forwards),
            *self._stays_unique(forwards),
            *forwards.make(),
        )

    def contract(self) -> Plan:
        again = (*self._conversion.functions(), *self._forwards.reversed.make())
        *others, last = self._conversion.drop_functions()
        return (*self._forwards.leave(), *others, replace(last, undo=again))

    # Before anything is touched.

    def _unwatched(self, over: Probe) -> Proof:
        original, twin = self.old, self.new
        taken = said_if(twin.exists.unless(self.trigger.done), there_already(twin))
        return Proof(
            why=f"{original.label}: nothing of yours keeps {original.name} from getting another type",
            query=f"{self._stuck()} UNION {taken}",
            failure=(
                f"{original.name} of {original.label} can't be replaced by {twin.name} ({twin.type}), because of: "
                "{rows}. Nothing was changed. What depends on a column goes with it. Drop what is named, run the same "
                "command again, and make it anew after the contract."
            ),
            done=over,
        )

    def _stuck(self) -> str:
        """What the new column can't take over: what depends on the old one, and what was given that by hand."""
        table, name = self.old.table, self.old.name
        found = [
            stuck_to_column(table, name, ()),
            ForeignKey(self.old).by_hand(),
            sequence_of(table, name),
            one_null_indexes(table, name),  # what can't be converted is null in each row
        ]
        if self.old.field.null:
            found.append(said_if(column_not_null(table, name), f"NOT NULL of {name}"))
        if not self.old.field.has_db_default():
            found.append(default_of(table, name))
        return " UNION ".join(found)

    def _converts(self, forwards: Direction) -> Proof:
        original, twin, keys = self.old, self.new, ", ".join(self.old.key)
        return Proof(
            why=f"{original.label}: every {original.name} can be converted to {twin.type}",
            query=(
                f"SELECT {keys}, {original.quoted} FROM {original.table}"
                f" WHERE ({original.quoted} IS NOT NULL AND {forwards.value} IS NULL)"
            ),
            pages_of=original.table,
            failure=(
                f"Rows of {original.label} have a {original.name} that can't be converted to {twin.type}: {keys} "
                "{rows}. Nothing was changed. Fix them, or say with using= of ExpandAlterField how it is done; then "
                "run the same command again."
            ),
            on_failure=self._conversion.drop_functions(),
            given=tuple(sql for step in self._conversion.functions() for sql in step.sql),
            # Once the columns are there the new release may have written what only its own type holds.
            done=self.trigger.done.or_(forwards.over),
        )

    def _stays_unique(self, forwards: Direction) -> Plan:
        """Without this PostgreSQL couldn't build the unique index of the twin."""
        original, twin = self.old, self.new
        if not (original.field.unique and twin.field.unique):
            return ()
        return (
            Proof(
                why=f"{original.label}: no two rows have the same {original.name} as {twin.type}",
                query=f"SELECT {forwards.value} FROM {original.table} WHERE {original.quoted} IS NOT NULL"
                " GROUP BY 1 HAVING count(*) > 1",
                failure=(
                    f"Rows of {original.label} have a {original.name} that is another row's, too, as {twin.type}: "
                    "{rows}. Nothing was changed. Fix them, then run the same command again."
                ),
                on_failure=self._conversion.drop_functions(),
                given=tuple(sql for step in self._conversion.functions() for sql in step.sql),
                done=self.trigger.done.or_(forwards.over),
            ),
        )
