"""A squash that merges our operations into CreateModel while their contract is open."""

from __future__ import annotations

import importlib
import sys

import pytest

from .deployment import Deployment
from .library import BIGGER, NOT_NULL, RENAMED, TEXT, UNIQUE, Change, library


def squash(shop: Deployment) -> None:
    last = shop.names[-1]
    shop.manage("squashmigrations", "shop", last, interactive=False, squashed_name="all").check()
    for name in [name for name in sys.modules if name.startswith(shop.package)]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.mark.parametrize("change", [BIGGER, RENAMED, TEXT, NOT_NULL], ids=str)
def test_it_is_not_taken_back_before_that_contract(shop: Deployment, change: Change):
    """Nothing in it would drop the functions of the triggers, and the contract would be one of the next table."""
    library(shop)
    shop.deploy(change.operation).check()
    squash(shop)
    shop.migrate().check()
    change.write(shop)
    before = shop.catalog()
    refused = shop.migrate("zero")
    assert refused.refused
    assert "are open: 0002_release" in refused.error
    shop.assert_unchanged(before)
    shop.contract().check()
    assert shop.count(change.wrong) == 0
    shop.migrate("zero").check()
    assert shop.sql("SELECT proname FROM pg_proc WHERE proname LIKE 'safemig%'") == []
    assert shop.sql("SELECT label FROM safemigrations_contract WHERE status <> 'done'") == []
    shop.migrate().check()
    shop.manage("safemigrations", "verify").check()


def test_it_is_taken_back_where_no_contract_is_open(shop: Deployment):
    library(shop)
    shop.deploy(UNIQUE.operation).check()
    squash(shop)
    shop.migrate().check()
    shop.migrate("zero").check()
    shop.migrate().check()
    shop.manage("safemigrations", "verify").check()
