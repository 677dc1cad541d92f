"""Plans for the foreign key of a column.

Django's own has ON DELETE only where the model says DB_CASCADE and the like. While two releases run, the database may
have to answer for a release that doesn't know the foreign key.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.ddl_references import Statement as Reference

from ..data import Data
from ..postgres.blocks import alter_leaves_without, alter_partitions, drop_found, for_each
from ..postgres.constraints import (
    constraint_exists,
    constraint_missing_everywhere,
    foreign_key_exists,
    foreign_key_of_partitions,
    foreign_keys,
    foreign_keys_by_hand,
)
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..postgres.probe import Probe, no_row
from ..postgres.tables import is_partitioned
from ..postgres.values import literal
from ..typed import create_fk_sql
from .column import Column
from .index_and_check import name_in
from .steps import Instead, Online, Plan, Statement

FK_SUFFIX = "_fk_%(to_table)s_%(to_column)s"  # BaseDatabaseSchemaEditor.add_field()
# pg_constraint.confdeltype: https://www.postgresql.org/docs/current/catalog-pg-constraint.html
ON_DELETE = {"": "a", "NO ACTION": "a", "RESTRICT": "r", "CASCADE": "c", "SET NULL": "n", "SET DEFAULT": "d"}


class ForeignKey(Data):
    """The foreign key of a column, as Django would create it or with another ON DELETE."""

    column: Column

    @property
    def table(self) -> Name:
        return self.column.table

    @property
    def label(self) -> str:
        return self.column.label

    @property
    def parent(self) -> Name:
        """The table at which it points."""
        return self.column.parent

    def both(self, lock: Lock) -> dict[str, Lock]:
        """Locks on both tables; the parent is locked first, as DELETE of a parent does."""
        return {self.parent: lock, self.table: lock}

    def _reference(self) -> Reference:
        return create_fk_sql(self.column.editor, self.column.model, self.column.field, FK_SUFFIX)

    @property
    def name(self) -> str:
        """The name as the catalog has it."""
        return self.quoted.raw

    @property
    def quoted(self) -> Name:
        return name_in(self._reference())

    @property
    def on_delete(self) -> str:
        """ON DELETE of the model; empty before Django 6.1, and if Django itself does the work."""
        return str(self._reference().parts.get("on_delete_db", ""))

    def definition(self, action: str) -> str:
        """FOREIGN KEY as it stands in ADD CONSTRAINT, with another ON DELETE than the model's."""
        to = self._reference().parts
        deferrable = self.column.editor.connection.ops.deferrable_sql()
        return f"FOREIGN KEY ({self.column.quoted}) REFERENCES {to['to_table']} ({to['to_column']}){action}{deferrable}"

    def exists(self, *, validated: bool = False) -> Probe:
        """Does the column have the foreign key that Django would make?"""
        return foreign_key_exists(self.table, self.name, on_delete=self._on_delete_code, validated=validated)

    def _exists_or_of_leaves(self) -> Probe:
        return self.exists().or_(self._of_leaves(self._on_delete_code))

    def _of_leaves(self, on_delete: str) -> Probe:
        return foreign_key_of_partitions(self.table, self.name, on_delete=on_delete)

    @property
    def _on_delete_code(self) -> str:
        return ON_DELETE[self.on_delete.strip().removeprefix("ON DELETE ")]

    def by_hand(self) -> str:
        """A query for foreign keys of the column that differ from Django's, or stand beside it."""
        on_delete = self._on_delete_code if self.column.has_foreign_key else ""
        return foreign_keys_by_hand(self.table, self.column.name, on_delete=on_delete)

    # Before PostgreSQL 18 a partitioned table can't have a foreign key that is NOT VALID. Its partitions can; and when
    # each has a valid one, the table's own takes them over without looking at a row.

    def _on_leaves(self, change: str) -> Instead:
        return Instead(when=self.has_leaves, sql=alter_partitions(self.table, change))

    @property
    def has_leaves(self) -> Probe:
        return is_partitioned(self.table, before=18)

    def _alter(self, why: str, change: str, **rest: Any) -> Statement:
        """An ALTER TABLE; the partitions get it instead if the table itself can't."""
        return Statement(
            why=f"{self.label}: {why}",
            sql=f"ALTER TABLE {self.table} {change}",
            **{
                "locks": self.both(Lock.ACCESS_EXCLUSIVE),
                "instead": self._on_leaves(change),
                "works_on": (self.column.claim,),
                **rest,
            },
        )

    def _drop(self) -> Statement:
        return self._alter(
            f"drop foreign key {self.name}",
            f"DROP CONSTRAINT IF EXISTS {self.quoted}",
            done=constraint_missing_everywhere(self.table, self.name),
            instead=Instead(when=self.has_leaves, sql=self._drop_everywhere()),
        )

    def _drop_everywhere(self) -> str:
        drop = f"DROP CONSTRAINT IF EXISTS {self.quoted}"
        return alter_partitions(self.table, drop, leaves_only=False)

    def add_not_valid(self, action: str) -> str:
        return f"ADD CONSTRAINT {self.quoted} {self.definition(action)} NOT VALID"

    def add(self) -> Plan:
        """NOT VALID, then VALIDATE: both tables are locked only for the moment of the first."""
        if not self.column.has_foreign_key:
            return ()
        drop = self._drop()
        add = Statement(
            why=f"{self.label}: foreign key {self.name} holds for new rows",
            sql=f"{self._reference()} NOT VALID",
            locks=self.both(Lock.SHARE_ROW_EXCLUSIVE),
            done=self._exists_or_of_leaves(),
            undo=(drop,),
            works_on=(self.column.claim,),
            instead=self._on_leaves(self.add_not_valid(self.on_delete)),
        )
        return (add, *self.validate(on_failure=(drop,)))

    def validate(self, *, on_failure: Plan) -> Plan:
        validate = Online(
            why=f"{self.label}: foreign key {self.name} holds for every row (checked without blocking)",
            sql=f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {self.quoted}",
            locks={self.parent: Lock.ROW_SHARE, self.table: Lock.SHARE_UPDATE_EXCLUSIVE},
            done=self.exists(validated=True),
            on_failure=on_failure,
            violators=self.orphans(),
            works_on=(self.column.claim,),
            instead=self._on_leaves(f"VALIDATE CONSTRAINT {self.quoted}"),
        )
        take_over = Statement(
            why=f"{self.label}: the foreign keys of the partitions are the table's",
            sql=str(self._reference()),
            locks={self.parent: Lock.ACCESS_EXCLUSIVE, self.table: Lock.SHARE_ROW_EXCLUSIVE},
            done=self.exists(),
            works_on=(self.column.claim,),
            only_where=self.has_leaves,
        )
        return (validate, take_over)

    def orphans(self) -> str:
        """A query for the keys of rows whose parent is missing."""
        keys, child = ", ".join(self.column.key), self.column.quoted
        target = Name.from_django(self.column.field.target_field.column)
        return (
            f"SELECT {keys} FROM {self.table} AS child WHERE {child} IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {self.parent} AS parent WHERE parent.{target} = child.{child})"
        )

    def of_expand(self, *, null: bool) -> Plan:
        """The foreign key of a new column. The old release doesn't know it, and deletes what the column points at.

        Without a foreign key the new release would meet rows whose parent is gone. Django's own would refuse the old
        release's DELETE. So this one lets go, unless the model has the database answer anyhow (DB_CASCADE).
        """
        if self.column.has_foreign_key and self.on_delete:
            return self.add()
        return self.that_lets_go("SET NULL" if null else "SET DEFAULT")

    def that_lets_go(self, action: str) -> Plan:
        """NOT VALID, as own() exchanges it for one that is validated."""
        if not self.column.has_foreign_key:
            return ()
        return (
            self._alter(
                f"when the old release deletes a parent, {action} {self.column.name}",
                self.add_not_valid(f" ON DELETE {action}"),
                locks=self.both(Lock.SHARE_ROW_EXCLUSIVE),
                done=constraint_exists(self.table, self.name).or_(self._of_leaves(ON_DELETE[action])),
                undo=(self._drop(),),
            ),
        )

    def drop(self, action: str = "", *, undo: Plan = ()) -> Statement:
        """Drop it whatever its name, which is read from pg_constraint; or only the one with this ON DELETE."""
        keys = foreign_keys(self.table, self.column.name, on_delete=ON_DELETE[action] if action else "")
        of_leaves = self._of_leaves(ON_DELETE[action])
        return Statement(
            why=f"{self.label}: drop the foreign key of {self.column.name}{action and f' that says {action}'}",
            sql=for_each(keys, drop_found(self.table)),
            locks=self.both(Lock.ACCESS_EXCLUSIVE),
            done=no_row(keys).unless(of_leaves),
            undo=undo,
            works_on=self.column.points_at,
            instead=Instead(when=of_leaves, sql=self._drop_everywhere()),
        )

    def own(self) -> Plan:
        """Django's own foreign key replaces the one that lets go."""
        if not self.column.has_foreign_key:
            return ()
        drop = self._drop()
        exchange = self._alter(
            f"foreign key {self.name} keeps its parents from now on",
            f"DROP CONSTRAINT IF EXISTS {self.quoted}, {self.add_not_valid(self.on_delete)}",
            done=self._exists_or_of_leaves(),
            undo=(drop,),
            works_on=(self.column.claim, *self.column.points_at),
        )
        return (exchange, *self.validate(on_failure=(drop,)))


def exchanged(key: ForeignKey) -> Plan:
    """Django's own foreign key replaces whichever the column has, whatever its name."""
    table, add = literal(key.table), literal(key.add_not_valid(key.on_delete))
    change = f"format('ALTER TABLE %s DROP CONSTRAINT %I, %s', {table}, found.conname, {add})"
    exchange = Statement(
        why=f"{key.label}: foreign key {key.name} has{key.on_delete or ' no ON DELETE'}",
        sql=for_each(foreign_keys(key.table, key.column.name), f"EXECUTE {change};"),
        locks=key.both(Lock.ACCESS_EXCLUSIVE),
        done=key.exists(),
        works_on=(key.column.claim,),
    )
    return (exchange, *key.validate(on_failure=()))  # its rows were checked by the one that goes


def on_parent_delete(key: ForeignKey, action: str) -> Plan:
    """Let the database answer for a release that doesn't know the foreign key and deletes a parent.

    The constraint is exchanged in one transaction for the same one with ON DELETE. Its name is read from
    pg_constraint, because a table that was renamed keeps the old one. NOT VALID, so nothing is scanned: the rows
    were checked by the constraint that goes.
    https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
    """
    others = foreign_keys(key.table, key.column.name, but_on_delete=ON_DELETE[action])
    rest = f" {key.definition(f' ON DELETE {action}')} NOT VALID"
    change = "'ALTER TABLE %1$s DROP CONSTRAINT %2$I, ADD CONSTRAINT %2$I%3$s'"
    each = f"EXECUTE format({change}, {literal(key.table)}, found.conname, {literal(rest)});"
    return (
        Statement(
            why=f"{key.label}: when a parent is deleted, {action} {key.column.name}: the new release doesn't know it",
            sql=for_each(others, each),
            locks=key.both(Lock.ACCESS_EXCLUSIVE),
            done=no_row(others),
            undo=(*exchanged(key), *key.add()),
            instead=Instead(when=key.has_leaves, sql=_exchange_on_leaves(key, others, rest)),
        ),
    )


def _exchange_on_leaves(key: ForeignKey, others: str, rest: str) -> str:
    """One foreign key for all that the column has; by hand it may have got a second."""
    add = alter_leaves_without(key.table, key.name, f"ADD CONSTRAINT {key.quoted}{rest}")
    return for_each(others, f"{drop_found(key.table)} {add}")
