"""Django's system checks: of the settings, and of the migrations, whose findings they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management.commands import makemigrations

from .. import conf
from ..typed import set_on
from .findings import findings

BAD_KEY = "safemigrations.E100"
BAD_VALUE = "safemigrations.E101"

_silent: ContextVar[bool] = ContextVar("safemigrations_silent", default=False)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """For commands that must work although a migration is unsafe."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """A key that doesn't exist, or a value that makes no sense."""
    value = getattr(settings, "SAFEMIGRATIONS", {})
    if not isinstance(value, dict):
        return [Error("SAFEMIGRATIONS must be a dictionary.", id=BAD_KEY)]
    errors: list[CheckMessage] = [
        Error(
            f"SAFEMIGRATIONS has no key {key!r}.",
            hint=f"The keys are: {', '.join(sorted(conf.KEYS))}.",
            id=BAD_KEY,
        )
        for key in value
        if key not in conf.KEYS
    ]
    for read in conf.READERS:
        try:
            read()
        except ImproperlyConfigured as error:
            errors.append(Error(str(error), id=BAD_VALUE))
    return errors


def check_migrations(**kwargs: Any) -> list[CheckMessage]:
    if _silent.get() or any(error.id == BAD_VALUE for error in check_settings()):
        return []
    return [finding.as_error() for finding in findings()]


def install() -> None:
    register(check_settings)
    register(check_migrations)
    stock = makemigrations.Command.check

    def check(self: Any, *args: Any, **kwargs: Any) -> Any:
        # The command that writes the safe form must not be stopped by the unsafe one.
        with silenced():
            return stock(self, *args, **kwargs)

    if not hasattr(makemigrations.Command, "_checks_without_safemigrations"):
        set_on(makemigrations.Command, _checks_without_safemigrations=True, check=check)
