"""The fixture `before_migration` of safemigrations.testing; pytest loads this module wherever it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing import Rollout


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """pytest-django makes the test database, and lets a test use it, where the test has this mark."""
    if not config.pluginmanager.hasplugin("pytest_django.plugin") and not config.pluginmanager.hasplugin("django"):
        return
    for item in items:
        if "before_migration" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("django_db"):
            item.add_marker(pytest.mark.django_db)


def pytest_sessionfinish() -> None:
    """Drop the templates before whoever started the server stops it."""
    if testing := sys.modules.get("safemigrations.testing"):
        testing.drop_templates()


@pytest.fixture
def before_migration() -> Iterator[Callable[..., Rollout]]:
    """A function like the context manager of safemigrations.testing; what it makes goes when the test ends."""
    # Not at the top: pytest loads this module wherever it runs, and Django and psycopg take 217 ms.
    from . import testing

    with ExitStack() as stack:

        def enter(*args: Any, **kwargs: Any) -> Rollout:
            return stack.enter_context(testing.before_migration(*args, **kwargs))

        yield enter
