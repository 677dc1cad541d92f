"""Runs a command, as `manage.py` would, in a process that has loaded its release already."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

from django.core.management import execute_from_command_line
from django.db import connections

from ..operations.base import Change


def run(arguments: Sequence[str], *, stock: bool = False, kill_after: int = 0) -> tuple[int, str]:
    """The exit status and the output. The process can't be used for anything else afterwards."""
    if stock:
        _use_stock_operations()
    if kill_after:
        _kill_after(kill_after)
    with tempfile.TemporaryFile() as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
        status = _status(arguments)
        sys.stdout.flush()
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _status(arguments: Sequence[str]) -> int:
    try:
        execute_from_command_line(["django", *arguments])
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(bool(exit.code))
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        connections.close_all()
    return 0


def _use_stock_operations() -> None:
    """Let every operation of ours do what the one that it replaces does."""

    def forwards(self: Change, *args: Any) -> None:
        self.stock.database_forwards(*args)

    Change.database_forwards = forwards  # type: ignore[method-assign, assignment]


def _kill_after(count: int) -> None:
    """Die after this many statements, as an evicted pod does."""
    left = count

    def counted(execute: Any, *args: Any) -> Any:
        nonlocal left
        result = execute(*args)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    for connection in connections.all():
        connection.execute_wrappers.append(counted)
