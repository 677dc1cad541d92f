"""The table of docs/phases.md says what is so; see tests/phases.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

import safemigrations.operations

from .phases import DONE, LATE, LINES, NEW, OLD, PAGE, Line, written
from .releases import Values
from .shop import Shop
from .traffic import Traffic


def models_of(shop: Shop, state: Any) -> SimpleNamespace:
    models = state.apps.all_models[shop.label].values()
    return SimpleNamespace(**{model.__name__: model for model in models})


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{type(line.operation).__name__} {line.variant}".strip())
def test_each_release_may_do_what_the_page_says(database, line):
    shop = Shop(database, *line.before)
    old = shop.state
    usual_requests(old, "before", 0, line)
    shop.migrate(line.operation)
    new = shop.state
    releases = models_of(shop, old), models_of(shop, new)
    usual_requests(old, "old", 1_000, line)
    usual_requests(new, "new", 2_000, line)
    try_all(line, (OLD, NEW), releases)
    shop.contract()
    usual_requests(new, "done", 3_000, line)
    try_all(line, (DONE, LATE), releases)


def usual_requests(state: Any, name: str, start: int, line: Line) -> None:
    names = {model.name_lower for model in state.models.values()}
    traffic = Traffic(state, names, names, Values(name, start), lambda: True, filled=line.filled)
    traffic.rounds(1)
    assert traffic.report()[1] == []


def try_all(line: Line, phases: tuple[str, ...], releases: tuple[Any, Any]) -> None:
    for says in line.says:
        if says.phase in phases:
            failed = failure_of(says.request, releases)
            assert bool(failed) is says.fails, f"{says.phase}: {says.what}: {failed}"


def failure_of(request: Any, releases: tuple[Any, Any]) -> str:
    """What the database said to it; nothing of it stays."""
    try:
        with transaction.atomic():
            request(*releases)
            connection.check_constraints()  # the deferred ones too
            transaction.set_rollback(True)
    except DatabaseError as error:
        return str(error)
    return ""


def test_every_change_is_in_the_table():
    changes = set(safemigrations.operations.__all__) - {"FollowRename"}  # that does nothing in the database
    missing = changes - {type(line.operation).__name__ for line in LINES}
    assert missing == set(), "Add a Line for each to LINES in tests/phases.py, then run: python -m tests.phases"


def test_the_page_is_the_one_that_is_written():
    assert PAGE.read_text() == written(), "Run: python -m tests.phases"
