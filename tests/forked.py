"""Processes that are forked from a clean one, which has imported everything and connected to nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import django
from django.conf import settings

if not settings.configured:
    django.setup()  # in the clean process

from django.db import connection, connections

from .releases import installed, migrate

context: Any = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__])


def use_database(name: str) -> None:
    connections.settings["default"]["NAME"] = name


def migrate_and_die(directory: Path, package: str, target: str, *, after: int) -> int:
    """The exit status of a process that kills itself after so many statements; 0 when it was through before."""
    arguments = (settings.DATABASES["default"]["NAME"], directory, package, target, after)
    process = context.Process(target=_migrate_and_die, args=arguments)
    process.start()
    process.join()
    return int(process.exitcode)


def _migrate_and_die(database: str, directory: Path, package: str, target: str, after: int) -> None:
    use_database(database)
    count = 0

    def die(execute: Any, *args: Any) -> Any:
        nonlocal count
        result = execute(*args)
        count += 1
        if count > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    with installed(directory, package), connection.execute_wrapper(die):
        migrate(target)
