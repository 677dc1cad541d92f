"""Pushes the metrics of a run to a gateway at its end, if METRICS_GATEWAY names one."""

from __future__ import annotations

import logging
from typing import Any

from .. import conf
from ..signals import run_ended

log = logging.getLogger("safemigrations.metrics")


def install() -> None:
    run_ended.connect(_push, dispatch_uid="safemigrations.console.pushing")


def _push(database: str, **kwargs: Any) -> None:
    gateway = conf.metrics_gateway()
    if not gateway:
        return
    try:
        from .metrics import push  # needs prometheus_client, and 40 ms
    except ImportError:
        log.warning("METRICS_GATEWAY needs: pip install safemigrations[prometheus]")
        return
    push(database, gateway)
