"""A column that lives under two names, or with two types, while two releases run.

The twin comes nullable and, in the same transaction, the trigger that keeps the two equal; then the rows that were
there are copied. (The other way round, rows that are written meanwhile are lost.) Each index is built for the twin
too: its queries want it, its ON CONFLICT needs it. Nothing else has to be: NOT NULL, checks and foreign keys of the one
column hold for the other, as the two are equal when PostgreSQL looks at them.

Before one of the two goes it is proved that they are equal in every row.
"""

from __future__ import annotations

from ..data import Data
from ..postgres.blocks import for_each, rename_found
from ..postgres.columns import column_missing
from ..postgres.constraints import foreign_keys
from ..postgres.dependents import dependents_of_column, watchers_of_column
from ..postgres.lock import Lock
from ..postgres.names import Name, regclass
from ..postgres.probe import Probe, said_if
from ..postgres.triggers import functions_in_order, functions_naming
from ..postgres.values import differ, literal
from .claims import Claim
from .column import Column
from .copies import CopyIndexes, MoveAdditions
from .foreign_key import ForeignKey
from .steps import Backfill, Plan, Proof, Together
from .triggers import drop_of, keep_equal


def there_already(column: Column) -> str:
    return f"column {column.name}, which is there already"


class Twins(Data):
    """Two columns of a table: `old` is that of the running release, `twin` that of the next.

    `default` is the SQL of the default that both have, or nothing; `over` says that one of the two has gone.
    """

    old: Column
    twin: Column
    over: Probe
    default: str = ""

    @property
    def table(self) -> Name:
        return self.old.table

    @property
    def label(self) -> str:
        return self.old.label

    @property
    def claim(self) -> Claim:
        """What nobody else may change meanwhile: it would be changed on one side only."""
        return self.twin.claim.twin

    @property
    def differ(self) -> str:
        return differ(self.old.quoted, self.twin.quoted)

    @property
    def _trigger(self) -> Together:
        default = f"CAST({self.default} AS {self.twin.type})" if self.default else ""
        return keep_equal(self.old, self.twin, default=default)

    def unwatched(self) -> Proof:
        """Found before anything is touched: what would not notice a write under the other name."""
        taken = said_if(self.twin.exists.unless(self._trigger.done), there_already(self.twin))
        return Proof(
            why=f"{self.label}: no trigger, rule or partition of yours waits for writes of {self.old.name}",
            query=(
                f"{watchers_of_column(self.table, self.old.name)} UNION {functions_in_order(self.table)} UNION {taken}"
            ),
            failure=(
                f"{self.old.name} of {self.label} can't have a twin called {self.twin.name}, because of: {{rows}}. "
                "Nothing was changed. A trigger or rule that names the column misses what is written under the other "
                "name: write the trigger without UPDATE OF and WHEN, let its function compare OLD and NEW, and run the "
                f"same command again. Or rename the field in Python alone, with db_column={self.old.name!r}."
            ),
            done=self.over,
        )

    def begin(self) -> Together:
        """The twin and the trigger at the same moment: whatever is written from then on stands in both."""
        trigger, twin = self._trigger, self.twin
        add = f"ALTER TABLE {self.table} ADD COLUMN {twin.quoted} {twin.definition(null=True)}"
        # A default in ADD COLUMN would be that of the existing rows too.
        default = f"ALTER TABLE {self.table} ALTER COLUMN {twin.quoted} SET DEFAULT {self.default}"
        return Together(
            why=f"{self.label}: add column {twin.name}, and a trigger that keeps it equal to {self.old.name}",
            sql=(add, *([default] if self.default else []), self._same_type(), self._same_grants(), *trigger.sql),
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
            done=trigger.done.or_(self.over),
            undo=(self.end(),),
            takes=(self.old.claim, twin.claim, self.claim),
        )

    def _same_type(self) -> str:
        """A column that somebody altered by hand may hold what its twin couldn't, and the trigger would fail."""
        there = f"o.attrelid = {regclass(self.table)} AND o.attname = {literal(self.old.name)}"
        twin = f"t.attrelid = o.attrelid AND t.attname = {literal(self.twin.name)}"
        differing = "(o.atttypid, o.atttypmod, o.attcollation) <> (t.atttypid, t.atttypmod, t.attcollation)"
        return for_each(
            "SELECT o.attname, format_type(o.atttypid, o.atttypmod) AS here,"
            " format_type(t.atttypid, t.atttypmod) AS there FROM pg_attribute o, pg_attribute t"
            f" WHERE {there} AND {twin} AND {differing}",
            "RAISE EXCEPTION 'column % is %, or of another collation, and in the migrations it is %',"
            " found.attname, found.here, found.there;",
        )

    def _same_grants(self) -> str:
        """Privileges that a role has on the column alone."""
        column = f"attrelid = {regclass(self.table)} AND attname = {literal(self.old.name)}"
        return for_each(
            f"SELECT privilege_type, is_grantable, grantee FROM pg_attribute, aclexplode(attacl) WHERE {column}",
            "EXECUTE format('GRANT %s (%I) ON %s TO %s%s', found.privilege_type,"
            f" {literal(self.twin.name)}, {literal(self.table)},"
            " CASE WHEN found.grantee = 0 THEN 'PUBLIC' ELSE found.grantee::regrole::text END,"
            " CASE WHEN found.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);",
        )

    def fill(self) -> Backfill:
        return Backfill(
            why=f"{self.label}: copy {self.old.name} to {self.twin.name}",
            table=self.table,
            key=self.old.key,
            guard=self.differ,
            assign=f"{self.twin.quoted} = {self.old.quoted}",
            sets=(self.twin.quoted,),
            done=self.over,
        )

    def copy_indexes(self) -> CopyIndexes:
        return CopyIndexes(
            why=f"{self.label}: every index of {self.old.name} for {self.twin.name} too",
            table=self.table,
            column=self.old.name,
            twin=self.twin.name,
            done=self.over,
        )

    def equal(self) -> Proof:
        old, twin, keys = self.old, self.twin, ", ".join(self.old.key)
        repair = "UPDATE {0} SET {1} = {2} WHERE {3}"
        from_old = repair.format(self.table, twin.quoted, old.quoted, self.differ)
        from_twin = repair.format(self.table, old.quoted, twin.quoted, self.differ)
        return Proof(
            why=f"{self.label}: {twin.name} equals {old.name} in every row",
            query=f"SELECT {keys} FROM {self.table} WHERE {self.differ}",
            pages_of=self.table,
            failure=(
                f"{old.name} and {twin.name} of {self.label} differ, so neither is dropped: {keys} {{rows}}. Somebody "
                "wrote while the trigger that keeps them equal was disabled. Look at these rows. Where the old "
                f"release wrote last: {from_old}; where the new one did: {from_twin}. Then run the same command again."
            ),
            done=self.over,
        )

    def move_additions(self) -> MoveAdditions:
        return MoveAdditions(
            why=f"{self.label}: what later migrations gave {self.twin.name} goes to the column that stays",
            table=self.table,
            column=self.old.name,
            twin=self.twin.name,
            done=self.over,
        )

    def free(self) -> Proof:
        """Found before the contract touches anything: what was made on the twin and can't be moved."""
        return Proof(
            why=f"{self.label}: nothing of yours depends on the twin {self.twin.name}",
            query=dependents_of_column(self.table, self.twin.name),
            failure=(
                f"{self.twin.name} of {self.label} is still a twin. It goes now, and these depend on it: {{rows}}. "
                f"Nothing was changed. Drop them, or let them use {self.old.name}, which is about to get the name "
                f"{self.twin.name}; then run the same command again. A trigger that has the column in UPDATE OF or "
                "WHEN can be made again afterwards (pgtrigger install)."
            ),
            done=self.over,
        )

    def end(self) -> Together:
        """The twin goes, with its trigger and its indexes."""
        drop = drop_of(self._trigger)
        return Together(
            why=f"{self.label}: drop column {self.twin.name} and the trigger that kept it equal to {self.old.name}",
            sql=(*drop.statements, f"ALTER TABLE {self.table} DROP COLUMN IF EXISTS {self.twin.quoted}"),
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
            done=column_missing(self.table, self.twin.name),
        )


# A column that gets another name.


class TwoNames(Data):
    """The same column under the name of the running release and under that of the next, until the contract.

    Then, in one short transaction, the twin goes and the column gets its name: so all that hangs on the column
    (constraints, indexes, defaults, views, grants, foreign keys of others) is in the end what a plain rename leaves.
    """

    old: Column
    new: Column

    @property
    def twins(self) -> Twins:
        # A volatile default gives each of the two another value, and so can't tell which of them was given.
        return Twins(
            old=self.old,
            twin=self.new,
            over=self.new.exists.unless(self.old.exists),
            default=self.old.default_of_all_rows,
        )

    @property
    def contract_label(self) -> str:
        return f"drop {self.old.name} of {self.old.label}, after proving that it equals {self.new.name}"

    def expand(self) -> Plan:
        twins = self.twins
        return (twins.unwatched(), twins.begin(), twins.fill(), twins.copy_indexes(), twins.equal())

    def contract(self) -> Plan:
        twins = self.twins
        return (twins.free(), _no_function_names(twins), twins.equal(), twins.move_additions(), self._swap(twins))

    def _swap(self, twins: Twins) -> Together:
        old, new = self.old, self.new
        back = Together(
            why=f"{old.label}: {new.name} is called {old.name} again",
            sql=(_rename(new, old), *_rename_foreign_key(old)),
            locks={old.table: Lock.ACCESS_EXCLUSIVE},
            done=old.exists,
            works_on=(new.claim,),
        )
        return Together(
            why=f"{old.label}: drop the twin {new.name}; from now on {old.name} is called {new.name}",
            sql=(*twins.end().sql, _rename(old, new), *_rename_foreign_key(new)),
            locks={old.table: Lock.ACCESS_EXCLUSIVE},
            done=twins.over,
            undo=(back,),
            frees=(old.claim, twins.claim),
            works_on=(new.claim,),
        )


def _no_function_names(twins: Twins) -> Proof:
    """By the contract: both columns are there, so that a function can be written for both, and tried."""
    old, new = twins.old, twins.twin
    examples = (
        f"IF to_jsonb(NEW) ? {literal(column.name)} THEN ... NEW.{column.quoted} ...; END IF;" for column in (old, new)
    )
    return Proof(
        why=f"{old.label}: no function of your triggers knows {old.name} alone",
        query=functions_naming(old.table, old.name),
        failure=(
            f"{old.name} of {old.label} can't be called {new.name}, because functions of the table's triggers take it "
            "by its old name, and every write would fail. They are: {rows}. Nothing was changed. Both columns are "
            f"there now; let the function work on the one that is: {' '.join(examples)} "
            "Then run the same command again."
        ),
        done=twins.over,
    )


def _rename(one: Column, other: Column) -> str:
    return f"ALTER TABLE {one.table} RENAME COLUMN {one.quoted} TO {other.quoted}"


def _rename_foreign_key(column: Column) -> tuple[str, ...]:
    """To the name that Django gives it; the one that it has only the catalog knows."""
    if not column.has_foreign_key:
        return ()
    name = ForeignKey(column).name
    others = foreign_keys(column.table, column.name, but_named=name)
    return (for_each(others, rename_found(column.table, literal(name))),)
