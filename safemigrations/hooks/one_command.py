"""Lets a process that runs one command of manage.py leave alone what it has loaded.

When a process ends, Python looks through everything in it for garbage. With Django and a project that takes a fifth of
the time of a `check`.
https://docs.python.org/3/library/gc.html#gc.freeze
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands import check, makemigrations

from ..typed import set_on


@contextmanager
def kept(command: Any) -> Iterator[None]:
    """What is there before and after the command, where that is the whole process: else the garbage of calls stays."""
    is_all = command._called_from_command_line
    if is_all:
        gc.freeze()
    try:
        yield
    finally:
        if is_all:
            gc.freeze()


def install() -> None:
    """Let Django's own commands do this; ours do it themselves."""
    for command in (check.Command, makemigrations.Command):
        _keeping(command)


def _keeping(command: Any) -> None:
    stock = command.execute
    if hasattr(stock, "keeps_all"):
        return

    def execute(self: Any, *args: Any, **options: Any) -> Any:
        with kept(self):
            return stock(self, *args, **options)

    set_on(execute, keeps_all=True)
    set_on(command, execute=execute)
