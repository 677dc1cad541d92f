"""Metrics of a run that has ended go to a gateway, where a setting names one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .. import conf
from .metrics import push


@contextmanager
def pushed(database: str) -> Iterator[None]:
    """The block is a run; at its end, however it ends, the metrics of its database are pushed."""
    try:
        yield
    finally:
        if gateway := conf.metrics_gateway():
            push(database, gateway)
