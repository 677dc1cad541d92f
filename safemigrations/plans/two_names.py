"""A column that gets another name.

It gets a twin under the new name until the contract. The twin comes nullable and, in the same transaction, the sync
trigger that keeps the two equal; then the rows that were there are copied. (The other way round, rows that are written
meanwhile are lost.) Each index is built for the twin too: its queries want it, its ON CONFLICT needs it. Nothing else
has to be: NOT NULL, checks and foreign keys of the original hold for the twin, as the two are equal when PostgreSQL
looks at them.

The contract proves that they are equal in every row. Then, in one short transaction, the twin goes and the original
gets its name. So the constraints, indexes, defaults, views and grants of the original, and the foreign keys that point
at it, are in the end what a plain rename leaves.
"""

from __future__ import annotations

from ..data import Data
from ..postgres.blocks import for_each, rename_found
from ..postgres.columns import column_missing, default_of
from ..postgres.constraints import foreign_keys
from ..postgres.dependents import dependents_of_column, watchers_of_column
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..postgres.probe import Probe, said_if
from ..postgres.takeover import carry_grants, refuse_another_type
from ..postgres.triggers import functions_in_order, functions_naming
from ..postgres.values import differ, differ_in_0_1_0, literal
from .carried import Carried, carried
from .claims import Claim
from .column import Column
from .copies import CopyIndexes, MoveAdditions
from .foreign_key import ForeignKey
from .steps import Backfill, Plan, Proof, Together
from .triggers import Kept, drop_of, sync_two_names


def there_already(column: Column) -> str:
    return f"column {column.name}, which is there already"


class TwoNames(Data):
    """A column under two names: the original has the old release's name, the twin the new one's."""

    original: Column
    twin: Column

    @property
    def contract_label(self) -> str:
        return f"drop the twin {self.twin.name} of {self.label}; {self.original.name} is called {self.twin.name} then"

    @property
    def carried(self) -> Carried:
        return carried(self.original, self.twin)

    def expand(self) -> Plan:
        return (self._unwatched(), self._begin(), self._fill(), self._copy_indexes(), self._equal())

    def contract(self) -> Plan:
        return (self._free(), self._no_function_names(), self._equal(), self._move_additions(), self._swap())

    @property
    def table(self) -> Name:
        return self.original.table

    @property
    def label(self) -> str:
        return self.original.label

    @property
    def over(self) -> Probe:
        """Does the original have the twin's name already?"""
        return self.twin.exists.unless(self.original.exists)

    @property
    def claim(self) -> Claim:
        """The claim that no other migration may change before the contract: one side alone would change."""
        return self.twin.claim.twin

    @property
    def differ(self) -> str:
        return differ(self.original.quoted, self.twin.quoted)

    @property
    def trigger(self) -> Together:
        default = f"CAST({self._default} AS {self.twin.type})" if self._default else ""
        return sync_two_names(self.original, self.twin, default=default)

    @property
    def kept(self) -> Kept:
        return Kept(self.trigger, self.twin, self.original)

    @property
    def _default(self) -> str:
        """The default of both columns.

        A volatile default differs between the two, and can't tell which value was given: then there is none.
        """
        return self.original.default_of_all_rows

    def _unwatched(self) -> Proof:
        """Asks before anything is changed: which triggers would miss a write under the other name?"""
        original, twin = self.original, self.twin
        watchers, functions = watchers_of_column(self.table, original.name), functions_in_order(self.table)
        taken = said_if(twin.exists.unless(self.trigger.done), there_already(twin))
        query = f"{watchers} UNION {functions} UNION {taken}"
        if original.field.null and not original.field.has_db_default():
            # A null that the new release inserts would become that.
            query += f" UNION {default_of(self.table, original.name, as_unknown=True)}"
        return Proof(
            why=f"{self.label}: no trigger, rule or partition of yours waits for writes of {original.name}",
            query=query,
            failure=(
                f"{original.name} of {self.label} can't have a twin called {twin.name}, because of: {{rows}}. Nothing "
                "was changed. A trigger or rule that names the column misses what is written under the other name: "
                "write the trigger without UPDATE OF and WHEN, let its function compare OLD and NEW, and run the same "
                f"command again. Or rename the field in Python alone, with db_column={original.name!r}."
            ),
            done=self.over,
        )

    def _begin(self) -> Together:
        """Twin and trigger are created together: whatever is written from then on is in both columns."""
        trigger, original, twin = self.trigger, self.original, self.twin
        add = f"ALTER TABLE {self.table} ADD COLUMN {twin.quoted} {twin.definition(null=True)}"
        # A default in ADD COLUMN would be that of the existing rows too.
        default = f"ALTER TABLE {self.table} ALTER COLUMN {twin.quoted} SET DEFAULT {self._default}"
        return Together(
            why=f"{self.label}: add column {twin.name}, and a trigger that keeps it equal to {original.name}",
            sql=(
                add,
                *([default] if self._default else []),
                refuse_another_type(self.table, original.name, twin.name),
                carry_grants(self.table, original.name, twin.name),
                *trigger.sql,
            ),
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
            done=trigger.done.or_(self.over),
            undo=(self._move_additions(), self._end()),
            takes=(original.claim, original.claim.twin, twin.claim, self.claim),
        )

    def _fill(self) -> Backfill:
        return Backfill(
            why=f"{self.label}: copy {self.original.name} to {self.twin.name}",
            table=self.table,
            key=self.original.key,
            guard=self.differ,
            known_by=differ_in_0_1_0(self.original.quoted, self.twin.quoted),
            assign=f"{self.twin.quoted} = {self.original.quoted}",
            sets=(self.twin.quoted,),
            done=self.over,
        )

    def _copy_indexes(self) -> CopyIndexes:
        return CopyIndexes(
            why=f"{self.label}: every index of {self.original.name} for {self.twin.name} too",
            table=self.table,
            column=self.original.name,
            twin=self.twin.name,
            done=self.over,
        )

    def _equal(self) -> Proof:
        original, twin, keys = self.original, self.twin, ", ".join(self.original.key)
        repair = "UPDATE {0} SET {1} = {2} WHERE {3}"
        from_original = repair.format(self.table, twin.quoted, original.quoted, self.differ)
        from_twin = repair.format(self.table, original.quoted, twin.quoted, self.differ)
        return Proof(
            why=f"{self.label}: {twin.name} equals {original.name} in every row",
            query=f"SELECT {keys} FROM {self.table} WHERE {self.differ}",
            pages_of=self.table,
            failure=(
                f"{original.name} and {twin.name} of {self.label} differ, so neither is dropped: {keys} {{rows}}. "
                "Somebody wrote while the trigger that keeps them equal was disabled. Look at these rows. Where the "
                f"old release wrote last: {from_original}; where the new one did: {from_twin}. Then run the same "
                "command again."
            ),
            done=self.over,
        )

    def _move_additions(self) -> MoveAdditions:
        return MoveAdditions(
            why=f"{self.label}: what later migrations gave {self.twin.name} goes to the column that stays",
            table=self.table,
            column=self.original.name,
            twin=self.twin.name,
            done=self.over,
        )

    def _free(self) -> Proof:
        """Asks before the contract changes anything: which objects were made on the twin and can't be moved?"""
        return Proof(
            why=f"{self.label}: nothing of yours depends on the twin {self.twin.name}",
            query=dependents_of_column(self.table, self.twin.name),
            failure=(
                f"{self.twin.name} of {self.label} is still a twin. It goes now, and these depend on it: {{rows}}. "
                f"Nothing was changed. Drop them, or let them use {self.original.name}, which is about to get the name "
                f"{self.twin.name}; then run the same command again. A trigger that has the column in UPDATE OF or "
                "WHEN can be made again afterwards (pgtrigger install)."
            ),
            done=self.over,
        )

    def _end(self) -> Together:
        """The twin goes, with its trigger and its indexes."""
        original, twin, drop = self.original, self.twin, drop_of(self.trigger)
        return Together(
            why=f"{self.label}: drop column {twin.name} and the trigger that kept it equal to {original.name}",
            sql=(*drop.statements, f"ALTER TABLE {self.table} DROP COLUMN IF EXISTS {twin.quoted}"),
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
            done=column_missing(self.table, twin.name),
        )

    def _no_function_names(self) -> Proof:
        """Asked by the contract, while both columns exist: so a function can be written for both, and tried."""
        original, twin = self.original, self.twin
        examples = (
            f"IF to_jsonb(NEW) ? {literal(column.name)} THEN ... NEW.{column.quoted} ...; END IF;"
            for column in (original, twin)
        )
        return Proof(
            why=f"{original.label}: no function of your triggers knows {original.name} alone",
            query=functions_naming(original.table, original.name),
            failure=(
                f"{original.name} of {original.label} can't be called {twin.name}, because functions of the table's "
                "triggers take it by its old name, and every write would fail. They are: {rows}. Nothing was changed. "
                f"Both columns are there now; let the function work on the one that is: {' '.join(examples)} "
                "Then run the same command again."
            ),
            done=self.over,
        )

    def _swap(self) -> Together:
        original, twin = self.original, self.twin
        back = Together(
            why=f"{original.label}: {twin.name} is called {original.name} again",
            sql=(_rename(twin, original), *_rename_foreign_key(original)),
            locks={original.table: Lock.ACCESS_EXCLUSIVE},
            done=original.exists,
            works_on=(twin.claim,),
        )
        return Together(
            why=f"{original.label}: drop the twin {twin.name}; from now on {original.name} is called {twin.name}",
            sql=(*self._end().sql, _rename(original, twin), *_rename_foreign_key(twin)),
            locks={original.table: Lock.ACCESS_EXCLUSIVE},
            done=self.over,
            undo=(back,),
            remains=(drop_of(self.trigger),),
            frees=(original.claim, self.claim),
            works_on=(twin.claim,),
        )


def _rename(one: Column, other: Column) -> str:
    return f"ALTER TABLE {one.table} RENAME COLUMN {one.quoted} TO {other.quoted}"


def _rename_foreign_key(column: Column) -> tuple[str, ...]:
    """Rename it to the name that Django gives it; only the catalog knows its present name."""
    if not column.has_foreign_key:
        return ()
    name = ForeignKey(column).name
    others = foreign_keys(column.table, column.name, but_named=name)
    return (for_each(others, rename_found(column.table, literal(name))),)
