"""The columns and tables that are lost when rows of the contract run, with their row counts and sizes."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper

from ..data import Data
from ..plans.claims import Claim, Kind
from ..plans.steps import Plan, Step
from ..postgres.sizes import rows_and_size


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
            column = claim.name if claim.kind is Kind.COLUMN else ""
            cursor.execute(rows_and_size(claim.quoted_table, column))
            found += [Loss(claim, int(rows), size) for rows, size in cursor.fetchall()]
    return found


def _drops_a_view(step: Step) -> bool:
    return bool(step.works_on) and step.works_on[0].kind is Kind.VIEW
