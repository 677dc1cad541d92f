"""Finishes contracts that were left before CONTRACT became "immediately", before the next migration meets them."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import NotNow
from ..running.run import Report
from . import carrying_out, chosen, queue, unfinished
from .judging import judge
from .refusing import Refusing


def finish_open(connection: BaseDatabaseWrapper, report: Report) -> None:
    """Run the open rows that may run; raise NotNow where the gate holds one back.

    What people have postponed or skipped stays; so does what this code doesn't know.
    """
    contracts = {row.pk: row for row in queue.open_rows(connection)}
    if not contracts:
        return
    rows = chosen.as_rows(list(contracts.values()), unfinished.backfills(connection))
    judgement = judge(connection, rows)
    carrying_out.contract(connection, report, [contracts[row.number] for row in judgement.verdict.runs])
    if judgement.verdict.says_no and not judgement.rules.is_open:
        refusing = Refusing(connection, contracts, judgement)
        raise NotNow(f"the gate holds rows back.\n{refusing.text(judgement.verdict.waits)}")
