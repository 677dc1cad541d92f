"""The table of docs/phases.md says what is so; see tests/phases.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, transaction

import safemigrations.operations
from safemigrations.rehearsing.changes import unique_relations
from safemigrations.rehearsing.ledger import Names
from safemigrations.rehearsing.requests import Requests
from safemigrations.rehearsing.rows import Rows, label
from safemigrations.rehearsing.traffic import Traffic
from safemigrations.rehearsing.values import Numbers

from .cases import STORE
from .phases import DONE, LATE, LINES, NEW, OLD, PAGE, PAGES, Line, with_section, written
from .releases import models_of
from .shop import Shop


def named_models(shop: Shop, state: Any) -> SimpleNamespace:
    models = [*state.apps.all_models[STORE].values(), *state.apps.all_models[shop.label].values()]
    return SimpleNamespace(**{model.__name__: model for model in models})


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{type(line.operation).__name__} {line.variant}".strip())
def test_each_release_may_do_what_the_page_says(database, line):
    shop = Shop(database, *line.before)
    old = shop.state
    usual_requests(old, "before", 0, line)
    shop.migrate(line.operation)
    new = shop.state
    releases = named_models(shop, old), named_models(shop, new)
    usual_requests(old, "old", 1_000, line)
    usual_requests(new, "new", 2_000, line)
    try_all(line, (OLD, NEW), releases)
    shop.contract()
    usual_requests(new, "done", 3_000, line)
    try_all(line, (DONE, LATE), releases)


def usual_requests(state: Any, name: str, start: int, line: Line) -> None:
    requests, known = Requests(name), {label(model): model for model in models_of(state)}
    rows, filled = Rows(Numbers(name, start), DEFAULT_DB_ALIAS), [f"{Shop.label}.{field}" for field in line.filled]
    plan: dict[str, Any] = {"chosen": known, "filled": filled, "unique": unique_relations(state)}
    Traffic(requests, rows, Names({}, {}), known, **plan).round()
    assert [failure.message for failure in requests.failures.values()] == []


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
    idle = {"FollowRename", "MoveModelOut"}  # that do nothing in the database
    changes = set(safemigrations.operations.__all__) - idle
    missing = changes - {type(line.operation).__name__ for line in LINES}
    assert missing == set(), "Add a Line for each to LINES in tests/phases.py, then run: python -m tests.phases"


def test_the_page_is_the_one_that_is_written():
    assert PAGE.read_text() == written(), "Run: python -m tests.phases"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_of_a_change_says_the_same(page):
    assert page.read_text() == with_section(page), "Run: python -m tests.phases"
