"""Steps that build and drop indexes, and the unique constraints that take an index over, without blocking a write.

A partitioned table can't build an index CONCURRENTLY. There it is built ON ONLY the table, which takes no time, then
CONCURRENTLY on each partition, and attached: when the last one is, the index of the table becomes valid.
https://www.postgresql.org/docs/current/sql-createindex.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ..postgres.constraints import constraint_exists, unique_exists
from ..postgres.indexes import index_attached, index_exists, index_of_partition, name_taken, other_of_this_name
from ..postgres.lock import Lock
from ..postgres.names import PREFIX, Name, numbered, object_name, temporary_name
from ..postgres.probe import NEVER
from ..postgres.tables import partitions, place_of_table
from .steps import Database, Nothing, Plan, Question, Statement, Step


class BuildIndex(Step):
    """An index built without blocking writes, on a plain or on a partitioned table.

    What the definition holds comes after the table's name in CREATE INDEX. Names are raw; `table` is quoted.
    """

    table: str
    name: str
    definition: str
    unique: bool = False
    analyze: bool = False  # PostgreSQL gathers statistics of an expression only by ANALYZE
    for_constraint: bool = False  # an AddUnique takes it over; on a partitioned table AddUnique builds it

    transactional: ClassVar[bool] = False

    @property
    def statements(self) -> tuple[str, ...]:
        create = f"CREATE {self._unique}INDEX CONCURRENTLY {Name.of(self.name)} ON {self.table} {self.definition}"
        return (create, f"ANALYZE {self.table}") if self.analyze else (create,)

    @property
    def _unique(self) -> str:
        return "UNIQUE " if self.unique else ""

    def discover(self, database: Database) -> Step | Plan:
        if not _is_partitioned(database, self.table):
            return self
        if self.for_constraint:
            return Nothing(why=self.why, because="with the constraint, partition by partition")
        whole = Statement(
            why=f"{self.why}: the partitioned table's own, empty until its partitions are attached",
            sql=f"CREATE {self._unique}INDEX {Name.of(self.name)} ON ONLY {self.table} {self.definition}",
            locks={self.table: Lock.SHARE},
            done=index_exists(self.table, self.name),
        )
        return (whole, EachPartition(why=f"{self.why}: each partition", of=self))

    def of_partition(self, partition: str, bare: str, name: str) -> Plan:
        why = f"{self.why}: partition {bare}"
        return (replace(self, why=why, table=partition, name=name, done=NEVER, undo=(), takes=()),)

    def name_of_partition(self, bare: str) -> str:
        return temporary_name(bare, self.name).removeprefix(PREFIX)

    @property
    def drop_whole(self) -> Plan:
        """Undoes a build that found duplicates: finished partitions would go on refusing duplicates."""
        if not self.unique:
            return ()
        return (DropIndex(why=f"{self.why}: drop what was built", table=self.table, name=self.name),)


class AddUnique(Step):
    """A unique constraint that takes over the index of its name, in one short transaction.

    A partitioned table can't do that; there each partition does it, and the table's own is attached to theirs.
    """

    table: str
    name: str
    columns: tuple[str, ...]  # quoted
    deferrable: str = ""
    nulls_distinct: str = ""
    tablespace: str = ""  # quoted; empty for the default one

    transactional: ClassVar[bool] = False

    @property
    def definition(self) -> str:
        """The text of CREATE INDEX after the table's name."""
        place = f" TABLESPACE {self.tablespace}" if self.tablespace else ""
        return f"({', '.join(self.columns)}){self.nulls_distinct}{place}"

    @property
    def statements(self) -> tuple[str, ...]:
        add = f"ALTER TABLE {self.table} ADD CONSTRAINT {Name.of(self.name)}"
        return (f"{add} UNIQUE USING INDEX {Name.of(self.name)}{self.deferrable}",)

    def discover(self, database: Database) -> Step | Plan:
        if not _is_partitioned(database, self.table):
            return self
        # First, because it refuses columns that don't include the partition key before anything is built.
        place = f" USING INDEX TABLESPACE {self.tablespace}" if self.tablespace else ""
        columns = f"({', '.join(self.columns)}){place}"
        add = f"ALTER TABLE ONLY {self.table} ADD CONSTRAINT {Name.of(self.name)}"
        whole = Statement(
            why=f"{self.why}: the partitioned table's own, empty until its partitions are attached",
            sql=f"{add} UNIQUE{self.nulls_distinct} {columns}{self.deferrable}",
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
            done=constraint_exists(self.table, self.name),
        )
        return (whole, EachPartition(why=f"{self.why}: each partition", of=self))

    def of_partition(self, partition: str, bare: str, name: str) -> Plan:
        done = unique_exists(partition, name)
        build = BuildIndex(
            why=f"{self.why}: index of partition {bare}",
            table=partition,
            name=name,
            definition=self.definition,
            unique=True,
            for_constraint=True,
            done=done,
        )
        why = f"{self.why}: partition {bare}"
        return (build, replace(self, why=why, table=partition, name=name, done=done, undo=(), takes=()))

    def name_of_partition(self, bare: str) -> str:
        return object_name(bare, "_".join(Name(column).raw for column in self.columns), "key")

    @property
    def drop_whole(self) -> Plan:
        """See BuildIndex."""
        drop = Statement(
            why=f"{self.why}: drop what was built",
            sql=f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {Name.of(self.name)}",
            locks={self.table: Lock.ACCESS_EXCLUSIVE},
        )
        return (drop,)


class EachPartition(Question):
    """The index, or the unique constraint, of each partition, attached to that of the table.

    Asked after the table has its own: a partition that is made from then on comes with one.
    """

    of: BuildIndex | AddUnique

    told: ClassVar[bool] = False

    @property
    def table(self) -> str:
        return self.of.table

    @property
    def on_failure(self) -> Plan:
        return self.of.drop_whole

    def is_too_early(self, database: Database) -> bool:
        return not database.rows(place_of_table(self.table))

    def discover(self, database: Database) -> Plan:
        ((_, schema),) = database.rows(place_of_table(self.table))
        whole = Name.of(self.of.name, schema)
        given: set[str] = set()
        return tuple(
            step for part in self._without(database, whole) for step in self._of(database, whole, given, *part)
        )

    def _without(self, database: Database, whole: str) -> Iterator[tuple[str, str, str]]:
        """The partitions that lack their part of this index; a partition created since has it already."""
        for partition, bare, _, schema in database.rows(partitions(self.table)):
            if not database.rows(index_of_partition(whole, partition)):
                yield partition, bare, schema

    def _of(
        self, database: Database, whole: str, given: set[str], partition: str, bare: str, schema: str
    ) -> Iterator[Step]:
        name = _free_name(database, schema, self.of.name_of_partition(bare), partition, given)
        index = Name.of(name, schema)
        given.add(index)
        yield from self.of.of_partition(partition, bare, name)
        yield Statement(
            why=f"{self.of.why}: attach partition {bare}",
            sql=f"ALTER INDEX {whole} ATTACH PARTITION {index}",
            locks={},
            done=index_attached(whole, index),
        )


class DropIndex(Step):
    """An index dropped without blocking anybody; of a partitioned table, in one short transaction.

    Where it may be called otherwise than Django calls it today, `query` finds its names.
    """

    table: str
    name: str
    query: str = ""
    index: str = ""  # the name as it stands in a statement, once the table is known
    concurrently: bool = True

    transactional: ClassVar[bool] = False

    @property
    def statements(self) -> tuple[str, ...]:
        concurrently = "CONCURRENTLY " if self.concurrently else ""
        return (f"DROP INDEX {concurrently}IF EXISTS {self.index or Name(self.table).beside(self.name)}",)

    def discover(self, database: Database) -> Step | Plan:
        """The index to drop. Its table may be gone; without a found name, it has the one it was given."""
        for kind, schema in database.rows(place_of_table(self.table)):
            names = [name for (name,) in database.rows(self.query)] if self.query else []
            # DROP INDEX CONCURRENTLY is not supported for an index of a partitioned table.
            known = replace(self, concurrently=kind != "p")
            found = tuple(replace(known, name=name, query="")._in(database, schema) for name in names)
            if not found:
                return known._in(database, schema)
            return found[0] if len(found) == 1 else found
        return self

    def _in(self, database: Database, schema: str) -> DropIndex:
        is_hidden = database.rows(other_of_this_name(self.name, schema))
        return replace(self, index=Name.of(self.name, schema) if is_hidden else Name(self.table).beside(self.name))


def _is_partitioned(database: Database, table: str) -> bool:
    return any(kind == "p" for kind, _ in database.rows(place_of_table(table)))


def _free_name(database: Database, schema: str, wanted: str, partition: str, given: set[str]) -> str:
    """The first of name, name1, name2 that is free. After a crash, the index that is to be attached counts as free."""

    def is_free(name: str) -> bool:
        taken = Name.of(name, schema) in given or database.rows(name_taken(schema, name, partition))
        return not taken

    return next(filter(is_free, (numbered(wanted, number) for number in itertools.count())))
