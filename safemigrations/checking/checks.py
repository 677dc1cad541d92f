"""Django's system checks: of the settings, and of the migrations, whose findings they are.

`check` fails on errors. Every other command shows each finding as a warning on one line, and goes on: who has just
installed this app, or pulled somebody's migration, must be able to work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand
from django.core.management.commands import check, makemigrations

from .. import conf
from ..postgres.driver import INSTALL_PSYCOPG, ONLY_PSYCOPG2, driver, has_psycopg2
from ..typed import is_testing, set_on
from . import baseline, coverage
from .finding import Older
from .findings import NOT_UNDERSTOOD, report
from .in_words import DoesNotFit

BAD_KEY = "safemigrations.E100"
BAD_VALUE = "safemigrations.E101"
UNKNOWN_APP = "safemigrations.E102"
UNKNOWN_BASELINE = "safemigrations.W103"
NO_BASELINE = "safemigrations.W105"
DOES_NOT_FIT = "safemigrations.E106"
TWO_DRIVERS = "safemigrations.I107"
OLD_DRIVER = "safemigrations.E108"

_silent: ContextVar[bool] = ContextVar("safemigrations_silent", default=False)
_failing: ContextVar[bool] = ContextVar("safemigrations_failing", default=False)


@contextlib.contextmanager
def _holding(variable: ContextVar[bool], value: bool) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def silenced() -> contextlib.AbstractContextManager[None]:
    """Keep the checks silent, for commands that must work although a migration is unsafe."""
    return _holding(_silent, True)


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report keys of SAFEMIGRATIONS that don't exist, and values that make no sense."""
    value = getattr(settings, "SAFEMIGRATIONS", {})
    if not isinstance(value, dict):
        return [Error("SAFEMIGRATIONS must be a dictionary.", id=BAD_KEY)]
    errors: list[CheckMessage] = [
        Error(
            f"SAFEMIGRATIONS has no key {key!r}.",
            hint=f"{baseline.nearest(str(key), conf.KEYS)} The keys are: {', '.join(sorted(conf.KEYS))}.".lstrip(),
            id=BAD_KEY,
        )
        for key in value
        if key not in conf.KEYS
    ]
    for read in (*conf.READERS, baseline.read):
        try:
            read()
        except ImproperlyConfigured as error:
            if str(error) not in [other.msg for other in errors]:
                errors.append(Error(str(error), id=BAD_VALUE))
    return errors


def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Report apps and migrations that the settings name and that don't exist."""
    if _silent.get() or _settings_are_bad():
        return []
    return [
        Error(misfit.message, hint=misfit.hint, id=UNKNOWN_APP)
        if misfit.key == "CHECK_APPS"
        else Warning(misfit.message, hint=misfit.hint, id=UNKNOWN_BASELINE)
        for misfit in baseline.misfits()
    ]


def check_migrations(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    if _silent.get() or _settings_are_bad():
        return []
    try:
        found = report()
    except baseline.UnknownRef as error:
        return [(Error if _failing.get() else Warning)(str(error), id=BAD_VALUE)]
    except DoesNotFit as error:
        return [(Error if _failing.get() else Warning)(error.message, hint=error.hint, id=DOES_NOT_FIT)]
    if app_configs is not None:
        found = found.of({config.label for config in app_configs})
    messages = [finding.as_message() if _failing.get() else finding.as_line() for finding in found.findings]
    if found.older:
        messages.append(no_baseline(found.older))
    if found.unread and _failing.get():
        messages.append(Info(coverage.sentence(found.unread), hint=coverage.details(found.unread), id=NOT_UNDERSTOOD))
    return messages


def check_driver(**kwargs: Any) -> list[CheckMessage]:
    """Report a second driver of PostgreSQL, or the lack of psycopg 3, in a project that this installation changes."""
    match driver() if _failing.get() else "":
        case "psycopg" if has_psycopg2():
            return [
                Info(
                    "psycopg2 is installed, and Django uses psycopg 3, which is installed with safemigrations.",
                    hint="If this project was on psycopg2, its driver has changed: change it first, in a release of "
                    "its own (docs/installing.md). When nothing imports psycopg2 any more, uninstall it; or set "
                    f"SILENCED_SYSTEM_CHECKS = [{TWO_DRIVERS!r}].",
                    id=TWO_DRIVERS,
                )
            ]
        case "psycopg2":
            return [Error(f"{ONLY_PSYCOPG2} Its migrate refuses to run.", hint=INSTALL_PSYCOPG, id=OLD_DRIVER)]
    return []


def no_baseline(older: list[Older]) -> Warning:
    """The one warning for a project that had migrations before it added this app."""
    number = sum(app.findings for app in older)
    what = "1 finding" if number == 1 else f"{number} findings"
    setting = baseline.as_setting({app.app_label: app.last for app in older})
    return Warning(
        f"{what} in migrations from before safemigrations. Until BASELINE is set, only what comes after the first "
        "migration that was written with safemigrations is checked.",
        hint=f"Run `python manage.py safemigrations baseline --write`, or paste into SAFEMIGRATIONS:\n{setting}",
        id=NO_BASELINE,
    )


def _settings_are_bad() -> bool:
    return any(error.id == BAD_VALUE for error in check_settings())


def install() -> None:
    register(check_settings)
    register(check_names)
    register(check_migrations)
    register(check_driver)
    if hasattr(makemigrations.Command, "_checks_without_safemigrations"):
        return
    # The command that writes the safe form must not be stopped by the unsafe one.
    _while_checking(makemigrations.Command, _silent, lambda command: True)
    _while_checking(check.Command, _failing, lambda command: not _asked_by_test_runner(command))
    set_on(makemigrations.Command, _checks_without_safemigrations=True)


def _while_checking(command: type[BaseCommand], variable: ContextVar[bool], value: Any) -> None:
    stock = command.check

    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _holding(variable, value(self)):
            return stock(self, *args, **kwargs)

    set_on(command, check=checked)


def _asked_by_test_runner(command: Any) -> bool:
    """Does `test` call `check`? It does after it has set up the test environment."""
    return not command._called_from_command_line and is_testing()
