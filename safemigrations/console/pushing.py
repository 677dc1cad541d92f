"""Pushes the metrics of a run to a gateway at its end. Loaded only where METRICS_GATEWAY names one."""

from __future__ import annotations

import logging
from typing import Any

from .. import conf
from ..signals import run_ended
from .client import HAS_CLIENT, NO_CLIENT

if HAS_CLIENT:
    from .metrics import push

log = logging.getLogger("safemigrations.metrics")


def install() -> None:
    run_ended.connect(_push, dispatch_uid="safemigrations.console.pushing")


def _push(database: str, **kwargs: Any) -> None:
    gateway = conf.metrics_gateway()
    if gateway and HAS_CLIENT:
        push(database, gateway)
    elif gateway:
        log.warning("%s, for METRICS_GATEWAY", NO_CLIENT)
