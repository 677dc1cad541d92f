"""What the module of every change asserts, whichever change it is.

A module says which operations it is about, as specimens, and has a test for each section: forwards, backwards, the
written form, the optimizer, a router that says no, another backend, awkward names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import AddField, AlterField, RemoveField
from django.db.migrations.operations.base import Operation
from django.db.models import IntegerField, TextField
from django.test import override_settings

from safemigrations.operations.base import Change
from safemigrations.operations.written import written

from .shop import LIBRARY, Nowhere, Shop, assert_does_what_stock_does, assert_is_read_back, optimized
from .snapshot import Snapshot, difference, nameless, snapshot


class Specimen:
    """An operation on the models that `before` creates; `left` is what it leaves for the contract.

    `named_anew`: going back gives a constraint the name of one that is added, not of one that was created.
    """

    def __init__(self, operation: Change, *before: Operation, left: str = "", named_anew: bool = False) -> None:
        self.operation: Any = operation
        self.before, self.named_anew = before, named_anew
        self.left = [left] if left else []

    def __repr__(self) -> str:
        return written(self.operation)

    @property
    def stock(self) -> Any:
        (stock,) = self.operation.state_operations
        return stock

    def assert_is_back(self, before: Snapshot, now: Snapshot) -> None:
        if self.named_anew:
            before, now = nameless(before), nameless(now)
        assert difference(before, now) == {}

    def assert_ends_like_stock(self, databases: Sequence[BaseDatabaseWrapper]) -> None:
        """Each of the two in a database of its own."""
        ours, theirs = (Shop(database, *self.before) for database in databases)
        ours.migrate(self.operation)
        assert ours.left() == self.left
        ours.contract()
        theirs.migrate(self.stock)
        assert difference(snapshot(databases[1]), snapshot(databases[0])) == {}

    def assert_goes_on_after_a_kill(self, database: BaseDatabaseWrapper) -> None:
        shop = Shop(database, *self.before)
        shop.migrate(self.operation)
        there = snapshot(database)
        shop.again()
        assert difference(there, snapshot(database)) == {}
        assert shop.left() == self.left

    def assert_goes_back_and_forth(self, database: BaseDatabaseWrapper, *, contracted: bool) -> None:
        shop = Shop(database, *self.before)
        before, ends = snapshot(database), []
        for _ in range(2):
            shop.migrate(self.operation)
            if contracted:
                shop.contract()
            ends.append(snapshot(database))
            shop.back()
            self.assert_is_back(before, snapshot(database))
            assert shop.left() == []
        assert difference(*ends) == {}
        assert difference(before, ends[0]) or self.left  # something happens, if only in the contract

    def assert_is_read_back(self) -> None:
        assert_is_read_back(self.operation)

    def assert_is_never_folded(self, name: str) -> None:
        """Into a stock operation on the same field, `name`."""
        model = self.operation.model_name
        for stock in (AlterField(model, name, IntegerField()), RemoveField(model, name)):
            assert optimized(self.operation, stock) in ([written(self.operation), written(stock)], [])
        assert optimized(self.operation, AlterField(model, name, IntegerField())) != []

    def assert_lets_others_pass(self) -> None:
        add, alter = AddField("stranger", "name", TextField()), AlterField("stranger", "name", IntegerField())
        folded = AddField("stranger", "name", IntegerField())
        assert optimized(add, self.operation, alter) == [written(self.operation), written(folded)]

    def assert_does_nothing_where_the_router_says_no(self, database: BaseDatabaseWrapper) -> None:
        with override_settings(DATABASE_ROUTERS=[Nowhere()]):
            shop = Shop(database, *self.before)
            shop.migrate(self.operation)
            assert shop.left() == []
            shop.back()
        assert shop.tables() == {"django_migrations"}

    def assert_is_stock_on_another_backend(self, directory: Path) -> None:
        assert_does_what_stock_does(directory, self.operation, self.stock, *self.before)

    def assert_bears_names(self, database: BaseDatabaseWrapper) -> None:
        """There, back, and to the end, whatever the tables and columns are called."""
        shop = Shop(database, LIBRARY, *self.before)
        before = snapshot(database)
        shop.migrate(self.operation)
        shop.contract()
        there = snapshot(database)
        assert difference(before, there) != {}
        shop.back()
        self.assert_is_back(before, snapshot(database))
        shop.migrate(self.operation)
        shop.contract()
        assert difference(there, snapshot(database)) == {}


def by_name(specimens: dict[str, Specimen]) -> Any:
    """Parameters for a test of each."""
    return pytest.mark.parametrize("specimen", specimens.values(), ids=specimens.keys())
