"""What a team wants to be true before anything is dropped, such as a snapshot of the last hour."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from .. import conf

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
LAST = 500  # characters of what a command wrote


def refusal(connection: BaseDatabaseWrapper) -> str | None:
    """The reason that CONTRACT_REQUIRES gives against the contract; None if it agrees or isn't set."""
    required = conf.contract_requires()
    if required is None:
        return None
    if isinstance(required, str) and not FUNCTION.fullmatch(required):
        return _of_command(required, connection)
    return _of_function(_imported(required) if isinstance(required, str) else required, connection)


def _imported(path: str) -> Callable[[str], Any]:
    try:
        found: Callable[[str], Any] = import_string(path.replace(":", "."))
    except ImportError as error:
        raise ImproperlyConfigured(f"SAFEMIGRATIONS['CONTRACT_REQUIRES']: {error}") from error
    return found


def _of_function(function: Callable[[str], Any], connection: BaseDatabaseWrapper) -> str | None:
    """Call a function with the alias of the database. It refuses by returning False or raising an exception."""
    name = getattr(function, "__name__", repr(function))
    try:
        answer = function(connection.alias)
    except Exception as error:  # whatever it raises, nothing may be dropped
        return f"{name} failed: {error}"
    return f"{name} returned False" if answer is False else None


def _of_command(command: str, connection: BaseDatabaseWrapper) -> str | None:
    """Run a command, with the alias and the name of the database in its environment."""
    environment = {
        **os.environ,
        "SAFEMIGRATIONS_DATABASE": connection.alias,
        "SAFEMIGRATIONS_DATABASE_NAME": str(connection.settings_dict["NAME"]),
    }
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    said = f"{done.stdout}{done.stderr}".strip()[-LAST:]
    return f"{command} ended with {done.returncode}{f': {said}' if said else ''}" if done.returncode else None
