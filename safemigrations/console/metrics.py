"""Metrics for Prometheus, scraped or pushed by `migrate`.

All of them come from our tables, so every process gives the same.
"""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Collection
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, Sum
from django.utils.timezone import now

from ..contracts import queue
from ..contracts.table import OPEN, Contract
from ..errors import StepFailed
from ..running import ledger
from ..running.backfill import progress as backfills
from ..running.storage import is_up_to_date
from . import facts
from .text_format import TYPE, Metric, text

OF_BACKFILL = ("backfill", "label", "status")
TIMEOUT = 5.0  # seconds for which `migrate` waits for a gateway
log = logging.getLogger("safemigrations.metrics")


class Metrics:
    """What the databases say at this moment."""

    def __init__(self, databases: Collection[str]) -> None:
        self.databases = databases
        self.gauges = {
            "up": _gauge("up", "1 where the tables of safemigrations could be read.", ()),
            "rows": _gauge("contract_open_rows", "Rows that are left for the contract.", ("status",)),
            "age": _gauge("contract_oldest_age_seconds", "Age of the oldest of these rows.", ()),
            "share": _gauge("backfill_progress_ratio", "How far a backfill is: 0 to 1.", OF_BACKFILL),
            "filled": _gauge("backfill_filled_rows", "Rows that it has filled.", OF_BACKFILL),
            "rate": _gauge("backfill_rows_per_second", "On average since it began.", OF_BACKFILL),
        }
        self.waited = _counter("lock_wait_seconds", "Seconds that steps have waited for locks.", ())
        self.failures = _counter("failures", "Migrations, contracts and backfills that failed.", ("direction",))

    def text(self) -> bytes:
        for alias in self.databases:
            try:
                self._ask(connections[alias])
                up = 1
            except (Error, StepFailed) as error:
                log.warning("The metrics of database %s can't be read: %s", alias, error)
                up = 0
            self.gauges["up"].add([alias], up)
        return text([*self.gauges.values(), self.waited, self.failures])

    def _ask(self, connection: BaseDatabaseWrapper) -> None:
        self._of_the_contract(connection)
        self._of_backfills(connection)
        self._of_the_past(connection)

    def _of_the_contract(self, connection: BaseDatabaseWrapper) -> None:
        there = is_up_to_date(connection, Contract)
        rows = list(queue.rows(connection, status__in=OPEN)) if there else []
        counts = Counter(row.status for row in rows)
        for status in OPEN:
            self.gauges["rows"].add([connection.alias, status.value], counts[status])
        oldest = max(((now() - row.created_at).total_seconds() for row in rows), default=0)
        self.gauges["age"].add([connection.alias], oldest)

    def _of_backfills(self, connection: BaseDatabaseWrapper) -> None:
        """Metrics of unfinished backfills, labelled with the number that people know."""
        there = is_up_to_date(connection, backfills.Progress)
        rows = list(backfills.rows(connection, status__in=backfills.UNFINISHED)) if there else []
        found = facts.working(connection, rows) if rows else {}
        for row in rows:
            labels, speed = [connection.alias, str(row.pk), row.label, found[row.pk].status], found[row.pk].speed
            self.gauges["share"].add(labels, speed.share or 0)
            self.gauges["filled"].add(labels, speed.filled)
            self.gauges["rate"].add(labels, speed.rows_a_second)

    def _of_the_past(self, connection: BaseDatabaseWrapper) -> None:
        """Totals from the ledger, which outlives the processes."""
        if not (is_up_to_date(connection, ledger.Entry) and is_up_to_date(connection, ledger.Noted)):
            return
        waited = ledger.steps(connection).order_by().aggregate(Sum("waited"))["waited__sum"]
        self.waited.add([connection.alias], waited or 0)
        failed = ledger.entries(connection, outcome=ledger.Outcome.FAILED).order_by()
        counts = dict(failed.values_list("direction").annotate(Count("key")))
        for direction in ledger.Direction:
            self.failures.add([connection.alias, direction.value], counts.get(direction.value, 0))


def _gauge(name: str, help: str, labels: Collection[str]) -> Metric:
    return Metric("gauge", f"safemigrations_{name}", help, ["database", *labels])


def _counter(name: str, help: str, labels: Collection[str]) -> Metric:
    return Metric("counter", f"safemigrations_{name}_total", help, ["database", *labels])


def scraped() -> bytes:
    """The metrics of every PostgreSQL database."""
    return Metrics([alias for alias in connections if connections[alias].vendor == "postgresql"]).text()


def push(alias: str, gateway: str) -> None:
    """Push those of one database; what goes wrong is logged, and fails nothing."""
    if connections[alias].vendor != "postgresql":
        return
    try:
        _put(_url(gateway, alias), Metrics([alias]).text())
    except (OSError, ValueError) as error:
        log.warning("The metrics could not be pushed (METRICS_GATEWAY): %s", error)


def _url(gateway: str, alias: str) -> str:
    """Where a gateway keeps those of one database; only in base64 may there be a slash."""
    base = gateway if gateway.startswith(("http://", "https://")) else f"http://{gateway}"
    coded = f"@base64/{urlsafe_b64encode(alias.encode()).decode()}" if "/" in alias else f"/{quote(alias)}"
    return f"{base.rstrip('/')}/metrics/job/safemigrations/database{coded}"


def _put(url: str, body: bytes) -> None:
    try:
        with urlopen(Request(url, body, {"Content-Type": TYPE}, method="PUT"), timeout=TIMEOUT):
            pass
    except HTTPError as error:
        error.close()
        raise
