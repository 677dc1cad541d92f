"""Looks before a change: queries that must find no row, and statements that PostgreSQL must accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db import DataError, NotSupportedError, ProgrammingError

from ..errors import StepFailed
from ..plans.steps import Proof, Trial
from ..postgres.families import with_descendants
from .session import Session

ROWS_NAMED = 5  # how many of the rows that contradict a proof are named
PAGES = 10_000  # of a table, read under one snapshot


class Contradicted(StepFailed):
    """Rows contradict a step, which then removes what was made only for it (`on_failure`)."""


def proof(session: Session, step: Proof, *, given: Sequence[str] = ()) -> str:
    """Raises Contradicted. `given` are statements that come before, and are rolled back."""
    if found := contradictions(session, step.query, step.pages_of, given=given):
        # Not format(): a name in the text may have braces of its own.
        raise Contradicted(step.failure.replace("{rows}", found))
    return ""


def contradictions(session: Session, query: str, pages_of: str = "", *, given: Sequence[str] = ()) -> str:
    """The first rows of a query that should find none, and the number of the others; empty if there are none."""
    named: list[str] = []
    count = 0
    with session.settings(statement_timeout=0):
        for pages in _page_ranges(session, pages_of) if pages_of else ("",):
            limited = f"SELECT count(*) OVER (), found.* FROM ({query}{pages}) AS found LIMIT {ROWS_NAMED}"
            rows = session.rows_after(given, limited) if given else session.rows(limited)
            named += [" ".join(map(str, row)) for _, *row in rows]
            count += rows[0][0] if rows else 0
    first = ", ".join(named[:ROWS_NAMED])
    return f"{first} and {count - ROWS_NAMED:,} more" if count > ROWS_NAMED else first


def _page_ranges(session: Session, table: str) -> Iterator[str]:
    """Conditions that select some pages each, those of partitions and of tables that inherit included."""
    size = "pg_relation_size(relid) / current_setting('block_size')::int"
    ((last,),) = session.rows(f"SELECT coalesce(max({size}), 0) FROM ({with_descendants(table)}) AS family")
    for page in range(0, int(last), PAGES):
        yield f" AND ctid >= '({page},0)' AND ctid < '({page + PAGES},0)'"


def trial(session: Session, step: Trial) -> str:
    for what, statements in step.trials:
        try:
            session.rows_after(statements, "SELECT 1")
        except (ProgrammingError, DataError, NotSupportedError) as error:
            reason = str(error).strip().partition("\n")[0]
            # Not format(): a name in the text may have braces of its own.
            raise StepFailed(step.failure.replace("{what}", what).replace("{error}", reason)) from error
    return ""
