"""Metrics of a run that has ended go to a gateway, where a setting names one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from .. import conf

NO_CLIENT = "Metrics need: pip install 'safemigrations[prometheus]'"
HAS_CLIENT = find_spec("prometheus_client") is not None
if HAS_CLIENT:
    from .metrics import push

log = logging.getLogger("safemigrations.metrics")


@contextmanager
def pushed(database: str) -> Iterator[None]:
    """The block is a run; at its end, however it ends, the metrics of its database are pushed."""
    try:
        yield
    finally:
        gateway = conf.metrics_gateway()
        if gateway and HAS_CLIENT:
            push(database, gateway)
        elif gateway:
            log.warning("%s, for METRICS_GATEWAY", NO_CLIENT)
