"""A project that an earlier version left half way goes on with this one, and goes back."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from . import stored
from .conftest import new_database
from .project import Project
from .snapshot import snapshot
from .test_stored import assert_same, load

VERSIONS = sorted(path.name.removesuffix(".json.xz") for path in stored.PROJECTS.glob("*.json.xz"))
each_version = pytest.mark.parametrize("version", VERSIONS)
OLD, NEW = (21, "old", 5, 1), (22, "new", 5, 2)  # what each release wrote: number, remark or note, amount, customer
ORDERS = [*((n, f"note {n}", n * 10, 1 + n % 2) for n in range(1, 21)), OLD, NEW]


@pytest.fixture
def left(project: Project, version: str) -> Project:
    """Its last release isn't applied; of the one before contracts are open, and a backfill."""
    recorded = stored.read_project(version)
    load(connection, recorded["expanded"])
    project.write_models("shop", recorded["models"])
    for name, text in recorded["files"].items():
        project.write_migration("shop", name, text)
    return project


def orders(project: Project, *columns: str) -> list[Any]:
    return project.sql(f"SELECT number, {', '.join(columns)} FROM shop_order ORDER BY number")


def assert_no_drift(project: Project) -> None:
    assert project.manage("safemigrations", "verify").check().stdout.startswith("No drift")


@each_version
def test_it_goes_on_to_its_last_release(left):
    last = left.migration_files("shop")[-1]
    assert f"Applying shop.{last}" in left.manage("migrate").check().stdout
    left.manage("safemigrations", "backfill", "run").check()
    left.manage("migrate", "--contract", "--noinput").check()
    assert_no_drift(left)
    assert left.manage("makemigrations", "--check").check().stdout == "No changes detected\n"
    assert left.manage("safemigrations", "status").check().stdout == "Left for the contract in database default: 0\n"
    assert orders(left, "remark", "amount", "customer_id") == ORDERS
    assert set(orders(left, "is_large", "paid")) == {(number, False, False) for number, *_ in ORDERS}


@each_version
def test_it_goes_back_and_on_again(left, version, monkeypatch):
    with new_database("other", monkeypatch) as other:
        before = load(other, stored.read_project(version)["before"])
    left.manage("migrate", "shop", "0002_contracted").check()
    assert_same(before, snapshot(connection))
    assert orders(left, "note", "amount", "customer_id") == ORDERS
    left.manage("migrate").check()
    left.manage("migrate", "--contract", "--noinput").check()
    assert_no_drift(left)
    assert orders(left, "remark", "amount", "customer_id") == ORDERS
