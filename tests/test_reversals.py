"""A way back that was stopped half way is remembered: what goes on then, and what has to wait."""

from __future__ import annotations

import json
from itertools import count

import pytest
from django.db import models
from django.db.migrations import AddField

from .attacks.deployment import deployment
from .attacks.library import COMPUTED, library

EXTRA = AddField("book", "extra", models.IntegerField(default=7))
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
