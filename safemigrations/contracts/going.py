"""The columns and tables that are lost when rows of the contract run, with their row counts and sizes."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper

from ..data import Data
from ..plans.claims import Claim, Kind
from ..plans.steps import Plan, Step
from ..postgres.names import regclass
from ..postgres.values import literal


class Loss(Data):
    """A column or table that goes, with estimated rows and bytes; None where statistics are missing."""

    claim: Claim
    rows: int
    size: str | None

    def __str__(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return ", ".join(filter(None, [f"{self.claim}: about {rows}", self.size]))


def losses(connection: BaseDatabaseWrapper, plans: Iterable[Plan]) -> list[Loss]:
    """The losses that these plans cause.

    A column that only gives its name to its twin isn't lost, nor is the old name of a table.
    """
    gone = dict.fromkeys(
        claim
        for plan in plans
        for step in plan
        if not (step.altered_column or _drops_a_view(step))
        for claim in step.frees
        if claim.kind in (Kind.COLUMN, Kind.TABLE)
    )
    with connection.cursor() as cursor:
        found = []
        for claim in gone:
            cursor.execute(_query(claim))
            found += [Loss(claim, int(rows), size) for rows, size in cursor.fetchall()]
    return found


def _drops_a_view(step: Step) -> bool:
    return bool(step.works_on) and step.works_on[0].kind is Kind.VIEW


def _query(claim: Claim) -> str:
    """One row, or none where it isn't there, or is a view. A partitioned table counts with its partitions."""
    rows = "sum(CASE WHEN c.reltuples < 0 THEN pg_stat_get_live_tuples(c.oid) ELSE c.reltuples END)"
    size = "pg_size_pretty(sum(pg_total_relation_size(c.oid)))"
    there = ""
    if claim.kind is Kind.COLUMN:
        name = literal(claim.name)
        there = f" JOIN pg_attribute a ON attrelid = c.oid AND attname = {name} AND NOT attisdropped"
        width = (
            "SELECT max(avg_width * (1 - null_frac)) FROM pg_stats s"
            f" WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND attname = {name}"
        )
        size = f"pg_size_pretty(sum((greatest(c.reltuples, 0) * ({width}))::bigint))"
    table = regclass(claim.quoted_table)
    return (
        f"SELECT {rows}, {size} FROM (SELECT {table}::oid UNION SELECT relid FROM pg_partition_tree({table})) t (oid)"
        f" JOIN pg_class c ON c.oid = t.oid AND relkind = 'r' JOIN pg_namespace n ON n.oid = relnamespace{there}"
        " HAVING count(*) > 0"
    )
