"""A run from its beginning to its end, told to whoever listens."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator

from django.db import connections

from ..errors import NotNow, said_of
from .events.event import on
from .events.vocabulary import RunEnded, RunStarted
from .run import Report

PARENT = "SAFEMIGRATIONS_PARENT_RUN"  # an environment variable: the run whose worker a process is


@contextlib.contextmanager
def a_run(report: Report, database: str, command: str) -> Iterator[None]:
    """Everything inside the block is part of one run; `command` is what a person typed, or "task"."""
    began = time.monotonic()
    with on(connections[database], run=uuid.uuid4().hex, parent=os.environ.get(PARENT, "")):
        report.tell(RunStarted(command))
        try:
            yield
        except BaseException as error:
            report.tell(RunEnded(command, _outcome(error), time.monotonic() - began, said_of(error)))
            raise
        report.tell(RunEnded(command, "done", time.monotonic() - began))


def _outcome(error: BaseException) -> str:
    return "not_now" if isinstance(error, NotNow) else "interrupted" if _is_interrupt(error) else "failed"


def _is_interrupt(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
