"""Metrics for Prometheus, scraped or pushed by `migrate`.

All of them come from our tables, so every process gives the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, Sum
from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ..contracts import queue
from ..contracts.table import OPEN, Contract
from ..errors import StepFailed
from ..running import ledger
from ..running.backfill import progress as backfills
from ..running.clock import server_time
from ..running.storage import is_up_to_date
from . import facts

TYPE = "text/plain; version=0.0.4; charset=utf-8"
OF_BACKFILL = ("backfill", "label", "status")
TIMEOUT = 5.0  # seconds for which `migrate` waits for a gateway
log = logging.getLogger("safemigrations.metrics")


class Metrics(Collector):
    """Asks the databases when it is scraped."""

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

    def collect(self) -> Iterator[Any]:
        for alias in self.databases:
            try:
                self._ask(connections[alias])
                up = 1
            except (Error, StepFailed) as error:
                log.warning("The metrics of database %s can't be read: %s", alias, error)
                up = 0
            self.gauges["up"].add_metric([alias], up)
        yield from (*self.gauges.values(), self.waited, self.failures)

    def _ask(self, connection: BaseDatabaseWrapper) -> None:
        self._of_the_contract(connection)
        self._of_backfills(connection)
        self._of_the_past(connection)

    def _of_the_contract(self, connection: BaseDatabaseWrapper) -> None:
        there = is_up_to_date(connection, Contract)
        rows = list(queue.rows(connection, status__in=OPEN)) if there else []
        counts = Counter(row.status for row in rows)
        for status in OPEN:
            self.gauges["rows"].add_metric([connection.alias, status.value], counts[status])
        at = server_time(connection)
        oldest = max(((at - row.created_at).total_seconds() for row in rows), default=0)
        self.gauges["age"].add_metric([connection.alias], oldest)

    def _of_backfills(self, connection: BaseDatabaseWrapper) -> None:
        """Metrics of unfinished backfills, labelled with the number that people know."""
        there = is_up_to_date(connection, backfills.Progress)
        rows = list(backfills.rows(connection, status__in=backfills.UNFINISHED)) if there else []
        found = facts.working(connection, rows) if rows else {}
        for row in rows:
            labels, speed = [connection.alias, str(row.pk), row.label, found[row.pk].status], found[row.pk].speed
            self.gauges["share"].add_metric(labels, speed.share or 0)
            self.gauges["filled"].add_metric(labels, speed.filled)
            self.gauges["rate"].add_metric(labels, speed.rows_a_second)

    def _of_the_past(self, connection: BaseDatabaseWrapper) -> None:
        """Totals from the ledger, which outlives the processes."""
        if not (is_up_to_date(connection, ledger.Entry) and is_up_to_date(connection, ledger.Noted)):
            return
        waited = ledger.steps(connection).order_by().aggregate(Sum("waited"))["waited__sum"]
        self.waited.add_metric([connection.alias], waited or 0)
        failed = ledger.entries(connection, outcome=ledger.Outcome.FAILED).order_by()
        counts = dict(failed.values_list("direction").annotate(Count("key")))
        for direction in ledger.Direction:
            self.failures.add_metric([connection.alias, direction.value], counts.get(direction.value, 0))


def _gauge(name: str, text: str, labels: Collection[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"safemigrations_{name}", text, labels=["database", *labels])


def _counter(name: str, text: str, labels: Collection[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"safemigrations_{name}", text, labels=["database", *labels])


def _registry(databases: Collection[str]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Metrics(databases))
    return registry


def scraped() -> bytes:
    """The metrics of every PostgreSQL database, in the text format."""
    postgres = [alias for alias in connections if connections[alias].vendor == "postgresql"]
    return generate_latest(_registry(postgres))


def push(alias: str, gateway: str) -> None:
    """Push the metrics of one database; an error is logged, and never fails the run."""
    if connections[alias].vendor != "postgresql":
        return
    try:
        found = _registry([alias])
        push_to_gateway(gateway, "safemigrations", found, {"database": alias}, timeout=TIMEOUT, handler=_sending)
    except (OSError, ValueError) as error:
        log.warning("The metrics could not be pushed (METRICS_GATEWAY): %s", error)


def _sending(url: str, method: str, timeout: float | None, headers: Any, data: bytes) -> Callable[[], None]:
    """Send as prometheus_client does, but close the connection, which prometheus_client leaves open."""

    def send() -> None:
        try:
            with urlopen(Request(url, data, dict(headers), method=method), timeout=timeout):
                pass
        except HTTPError as error:
            error.close()
            raise

    return send
