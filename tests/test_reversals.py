"""A way back that was stopped half way is remembered: what goes on then, and what has to wait."""

from __future__ import annotations

import json
from itertools import count

import pytest
from django.db import models
from django.db.migrations import AddField
from django.db.models import F, Q

from safemigrations.operations import Backfill

from .attacks.deployment import deployment
from .attacks.library import COMPUTED, library
from .attacks.test_unfinished_backfills import stopped_half_way

EXTRA = AddField("book", "extra", models.IntegerField(default=7))
TOLD = {"pages": F("pages") + 1}  # rows that are filled still meet the condition
LINES = 7  # that the command says before it is interrupted: the first steps are done by then


@pytest.fixture
def shop(dsn, tmp_path):
    """The second of two operations is taken back, perhaps in part; the first isn't."""
    said = count(1)

    def interrupt() -> None:
        if next(said) == LINES:
            raise KeyboardInterrupt

    with deployment(tmp_path, dsn) as made:
        library(made)
        made.deploy(COMPUTED.operation, EXTRA).check()
        assert made.migrate("0001", meanwhile=interrupt).error == "interrupted"
        yield made


def explanation(name: str) -> str:
    return (
        f"The way back of shop.{name} began and was stopped half way. To go on: python manage.py migrate shop "
        "0001_release. To bring back what was expanded: python manage.py migrate."
    )


def test_the_contract_refuses_and_status_says_why(shop):
    half_way, name = shop.catalog(), shop.names[-1]
    contracted = shop.contract()
    assert contracted.error == f"{explanation(name)} Nothing was changed. Then run the contract again."
    shop.assert_unchanged(half_way)
    assert shop.status().output.splitlines()[0] == explanation(name)
    found = json.loads(shop.manage("safemigrations", "status", "--format", "json").output)
    assert found["half_way_back"] == [{"app": "shop", "migration": name}]


def test_plain_migrate_brings_back_what_was_expanded(shop):
    shop.migrate().check()
    assert shop.count("lines = truth * 30 AND extra = 7") == 120
    assert shop.sql("SELECT count(*) FROM django_migrations WHERE app = 'shop'") == [len(shop.names)]
    shop.contract().check()


def test_the_same_command_goes_on_and_it_is_forgotten(shop):
    shop.migrate("0001").check()
    assert "half way" not in shop.status().output
    shop.migrate().check()
    assert "half way" not in shop.status().output
    shop.contract().check()


# Rows that are filled, where nothing tells them from the others.


def test_whoever_turns_round_fills_no_row_twice(dsn, tmp_path):
    """The backfill has no way back, so its rows are as they were; what comes after it is interrupted."""

    def interrupt() -> None:
        if next(said) in (4, 20):
            raise KeyboardInterrupt

    with deployment(tmp_path, dsn) as made:
        library(made)
        made.deploy(COMPUTED.operation, Backfill("book", TOLD, where=Q(truth__gt=0))).check()
        for lines in (1, 15):  # it is interrupted after the fourth, and after the sixth
            said = count(lines)
            assert made.migrate("0001", meanwhile=interrupt).error == "interrupted"
            made.migrate().check()
            assert made.count("pages = truth + 1") == 120
        made.migrate("0001").check()
        made.migrate().check()
        assert made.count("pages = truth + 2") == 120


@pytest.mark.parametrize("reverse", [{"pages": F("truth")}, {"pages": F("pages") - 1}], ids=["absolute", "relative"])
def test_nobody_turns_round_where_some_rows_are_taken_back(dsn, tmp_path, reverse):
    with deployment(tmp_path, dsn, BACKFILL_BATCH_SIZE=20) as made:
        library(made)
        made.deploy(Backfill("book", TOLD, where=Q(truth__gt=0), reverse=reverse)).check()
        with stopped_half_way(made):
            assert made.migrate("0001").error
        assert 0 < made.count("pages = truth") < 120
        half_way = made.catalog()
        for _ in range(2):
            assert made.migrate().error == (
                "The way back of shop.0002_release began to take back the rows of a backfill (shop_book: fill pages), "
                "and nothing tells these rows from the others. Nothing was changed. Go on first: python manage.py "
                "migrate shop 0001_release. Then run the same command again."
            )
        made.assert_unchanged(half_way)
        made.migrate("0001").check()
        assert made.count("pages = truth") == 120
        made.migrate().check()
        assert made.count("pages = truth + 1") == 120
