"""Processes that tests start. None outlives its test, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_started: list[subprocess.Popen[Any]] = []


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """As subprocess.Popen does."""
    process = subprocess.Popen(command, **options)
    _started.append(process)
    return process


@contextmanager
def ended() -> Iterator[None]:
    """What the block starts has ended with it."""
    before = len(_started)
    try:
        yield
    finally:
        while len(_started) > before:
            _end(_started.pop())


def _end(process: subprocess.Popen[Any]) -> None:
    """With what it has started itself, where it leads a group."""
    if process.poll() is None:
        end = os.killpg if os.getpgid(process.pid) == process.pid else os.kill
        end(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with suppress(BrokenPipeError):  # of what it was told and never read
                stream.close()
