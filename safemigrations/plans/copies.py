"""Steps that depend on which indexes and constraints a column has: only the catalog knows them."""

from __future__ import annotations

from typing import ClassVar

from ..postgres.names import scope_of_counterparts
from .steps import Step


class CopyIndexes(Step):
    """Every index that knows a column built once more, without blocking, for its twin; names are raw.

    Which these are only the catalog knows: names that Django has long forgotten, indexes that were made by hand.
    """

    table: str
    column: str
    twin: str

    transactional: ClassVar[bool] = False

    @property
    def statements(self) -> tuple[str, ...]:
        return (
            f"-- CREATE INDEX CONCURRENTLY, with {self.twin}, for each index of {self.table} that has {self.column}",
        )


class BuildCounterparts(Step):
    """Every index, unique and check constraint of columns made once more, without blocking, for their twins.

    They are called name_of_copy() of the one whose place they will take. `twins` are pairs of raw names, `but`
    is a query for the names of indexes that are left out. With `copies` what was made so for a twin of another column
    is made for these, too.
    """

    table: str
    twins: tuple[tuple[str, str], ...]
    but: str = ""
    copies: bool = False

    transactional: ClassVar[bool] = False

    @property
    def scope(self) -> str:
        return scope_of_counterparts(self.table, dict(self.twins))

    @property
    def statements(self) -> tuple[str, ...]:
        return tuple(
            f"-- each index, unique and check constraint of {self.table} that has {column}: made for {twin} too"
            for column, twin in self.twins
        )


class TryTypes(Step):
    """A proof that each index and check constraint of columns means something for other types, asked of no row.

    `types` are pairs of a raw name and a type; `but` is a query for the names of indexes that are left out. `failure`
    explains what doesn't: {what} is its name and {error} PostgreSQL's words.
    """

    table: str
    types: tuple[tuple[str, str], ...]
    failure: str
    but: str = ""

    @property
    def statements(self) -> tuple[str, ...]:
        """None: what is tried the catalog says, and it leaves nothing behind."""
        return ()


class MoveAdditions(Step):
    """Indexes, unique and check constraints that later migrations gave a twin, built for the column that stays.

    Each takes over its name there, and what the twin has is from then on one of the copies that go with it.
    """

    table: str
    column: str
    twin: str

    transactional: ClassVar[bool] = False

    @property
    def statements(self) -> tuple[str, ...]:
        return (f"-- each index and constraint that a later migration gave {self.twin}: built for {self.column}",)
