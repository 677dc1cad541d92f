"""Columns that plans are going to fill: earlier queries get their future values from the current columns."""

from __future__ import annotations

from ...plans.carried import Carried
from ...plans.claims import Claim, Kind
from ...plans.steps import Database
from ...postgres.columns import columns_of
from ...postgres.names import Name


class FutureColumns:
    """Knows the columns that plans are going to fill from others."""

    def __init__(self) -> None:
        self.values: dict[Name, dict[str, str]] = {}  # by table and raw column: SQL of the columns that are there

    def add(self, one: Carried) -> None:
        columns = self.values.setdefault(one.column.quoted_table, {})
        now = columns.get(one.original.name, Name.of(one.original.name))
        columns[one.column.name] = one.value.replace("{}", f"({now})")

    @property
    def columns(self) -> list[Claim]:
        named = [(table, column) for table, columns in self.values.items() for column in columns]
        return [Claim(Kind.COLUMN, table.raw, column, table.schema) for table, column in named]

    def of(self, database: Database, query: str) -> str:
        """The query, with each table replaced by what it is going to hold."""
        parts = []
        for table in self.values:
            if table in query:
                name = Name.of(".".join(filter(None, (table.schema, table.raw))))  # in WITH it can't have a schema
                query = name.join(query.split(table))
                parts.append(f"{name} AS NOT MATERIALIZED (SELECT {self._columns(database, table)} FROM {table})")
        return f"WITH {', '.join(parts)} {query}" if parts else query

    def _columns(self, database: Database, table: Name) -> str:
        there = {name: str(Name.of(name)) for (name,) in database.rows(columns_of(table))}
        columns = {**there, **self.values[table]}
        # With ctid, for proofs that ask about some pages at a time.
        return ", ".join(["ctid", *(f"{value} AS {Name.of(name)}" for name, value in columns.items())])
