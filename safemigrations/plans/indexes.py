"""Steps that build and drop indexes, and the unique constraints that take an index over, without blocking a write."""

from __future__ import annotations

from typing import ClassVar

from ..postgres.names import Name
from .steps import Step


class BuildIndex(Step):
    """An index built without blocking writes, on a plain or on a partitioned table.

    What the definition holds comes after the table's name in CREATE INDEX. Names are raw; `table` is quoted.
    """

    table: str
    name: str
    definition: str
    unique: bool = False
    analyze: bool = False  # PostgreSQL gathers statistics of an expression only by ANALYZE
    for_constraint: bool = False  # an AddUnique takes it over; of a partitioned table, it also sees to building it

    transactional: ClassVar[bool] = False

    @property
    def statements(self) -> tuple[str, ...]:
        unique = "UNIQUE " if self.unique else ""
        create = f"CREATE {unique}INDEX CONCURRENTLY {Name.of(self.name)} ON {self.table} {self.definition}"
        return (create, f"ANALYZE {self.table}") if self.analyze else (create,)


class AddUnique(Step):
    """A unique constraint that takes over the index of its name, in one short transaction.

    A partitioned table can't do that; there each partition does it, and the table's own is attached to theirs.
    """

    table: str
    name: str
    columns: tuple[str, ...]  # quoted
    deferrable: str = ""
    nulls_distinct: str = ""

    transactional: ClassVar[bool] = False

    @property
    def definition(self) -> str:
        """Of the index, after the table's name."""
        return f"({', '.join(self.columns)}){self.nulls_distinct}"

    @property
    def statements(self) -> tuple[str, ...]:
        name = Name.of(self.name)
        return (f"ALTER TABLE {self.table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{self.deferrable}",)

    @property
    def of_the_whole(self) -> str:
        """The constraint of a partitioned table, empty until those of the partitions are attached."""
        columns = f"({', '.join(self.columns)})"
        add = f"ALTER TABLE ONLY {self.table} ADD CONSTRAINT {Name.of(self.name)}"
        return f"{add} UNIQUE{self.nulls_distinct} {columns}{self.deferrable}"


class DropIndex(Step):
    """An index dropped without blocking anybody; of a partitioned table, in one short transaction.

    Where it may be called otherwise than Django calls it today, `query` finds its names.
    """

    table: str
    name: str
    query: str = ""

    transactional: ClassVar[bool] = False

    @property
    def statements(self) -> tuple[str, ...]:
        return (f"DROP INDEX CONCURRENTLY IF EXISTS {Name(self.table).beside(self.name)}",)
