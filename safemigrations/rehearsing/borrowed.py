"""Lets the databases of a rehearsal stand in for the test databases, in a process of the project's own tests.

Two variables of the environment say which ones, and where to note what happens. Nothing of the project has to change:
the runner of Django, that of pytest-django and their processes make, or copy, what the settings of the test databases
name. So these name a template, which the rehearsal has migrated, and whatever is there is kept as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connections
from django.test.runner import DiscoverRunner
from django.test.utils import override_settings

from ..running import at_once
from ..typed import set_on

if TYPE_CHECKING:
    import pytest

DATABASES, NOTES = "SAFEMIGRATIONS_REHEARSAL_TEMPLATES", "SAFEMIGRATIONS_REHEARSAL_NOTES"


def environment(templates: Mapping[str, str], notes: Path) -> dict[str, str]:
    """The variables that make a test command use copies of these databases: alias -> name."""
    plugin = f"{os.environ.get('PYTEST_ADDOPTS', '')} -p {__name__}".strip()
    return {DATABASES: json.dumps(templates), NOTES: str(notes), "PYTEST_ADDOPTS": plugin}


def install() -> None:
    """Called when the app is ready."""
    templates: dict[str, str] = json.loads(os.environ[DATABASES])
    for alias, name in templates.items():
        connections.settings[alias]["TEST"].update(NAME=f"{name}_run", TEMPLATE=name, MIGRATE=True)
    set_on(at_once, is_of_tests=lambda connection: False)  # each phase stays as the rehearsal has made it
    for creation in {type(connections[alias].creation) for alias in templates}:
        _keep_what_is_there(creation)
    _note_failures_of_django()


def _keep_what_is_there(creation: Any) -> None:
    make, modules = creation.create_test_db, settings.MIGRATION_MODULES

    def create_test_db(self: Any, *args: Any, **kwargs: Any) -> str:
        with override_settings(MIGRATION_MODULES=modules):  # pytest's --no-migrations would make the tables anew
            name: str = make(self, *args, **{**kwargs, "keepdb": True})
        _note(database=name)
        return name

    set_on(creation, create_test_db=create_test_db)


def _note_failures_of_django() -> None:
    end = DiscoverRunner.suite_result

    def suite_result(self: DiscoverRunner, suite: Any, result: Any, **kwargs: Any) -> int:
        for test, text in (*result.failures, *result.errors):
            _note(test=test.id(), message=_error_of(text))
        for test in result.unexpectedSuccesses:
            _note(test=test.id(), message="passed, and is marked as an expected failure")
        return end(self, suite, result, **kwargs)

    set_on(DiscoverRunner, suite_result=suite_result)


def _error_of(text: str) -> str:
    """The first line of the last error in a traceback; its details follow it, and the frames precede it."""
    last = text.rpartition("Traceback (most recent call last):\n")[2].splitlines()
    return next((line for line in last if line and not line.startswith(" ")), "")


# As a plugin of pytest.


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_failure(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_failure(report)


def _note_failure(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = str(crash.message if crash else report.longrepr)
        _note(test=report.nodeid, message=text.strip().partition("\n")[0])


def _note(**facts: str) -> None:
    with Path(os.environ[NOTES]).open("a") as file:
        file.write(json.dumps(facts) + "\n")
