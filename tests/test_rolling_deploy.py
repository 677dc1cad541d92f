"""Two releases, each in a process of its own with its own models, through every phase of a change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .cases import CASES, Case, base, ours
from .forked import Server
from .releases import contract, installed, migrate, write


@pytest.fixture
def last(case: Case, database: Any, tmp_path: Path) -> Iterator[str]:
    """The case's last migration, on a database with rows that the release before it wrote."""
    parts = ours(case)
    with installed(tmp_path, write(tmp_path, [base(), *parts])):
        yield parts[-1].name


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_no_request_fails_and_no_value_is_lost(case, last):
    with ExitStack() as stack:
        old = Server(case.name, "old")
        stack.callback(old.stop)
        old.call("rounds", 1)
        with old.going_on():
            migrate(last)
        old.call("rounds", 1)

        new = Server(case.name, "new")
        stack.callback(new.stop)
        new.send("rounds", 1)
        old.call("rounds", 1)
        new.answer()
        look_at_each_other(old, new)
        delete_parents(of=old, by=new)
        delete_parents(of=new, by=old)
        new.call("find_nulls", case.none_until_contract)
        written, errors = old.call("report")
        assert errors == []

        new.call("rounds", 1)
        with new.going_on():
            contract()
        new.call("rounds", 1)
        new.call("audit", written)
        new.call("find_nulls", frozenset())
        ledger, errors = new.call("report")
        new.call("audit", ledger)
        assert errors == []


def look_at_each_other(old: Server, new: Server) -> None:
    """Each reads what the other wrote and changes it, as far as it knows the columns."""
    for one, other in ((old, new), (new, old)):
        ledger, _ = one.call("report")
        other.call("audit", ledger)
        one.call("update_ledger", other.call("touch", ledger))
        ledger, _ = one.call("report")
        one.call("audit", ledger)


def delete_parents(*, of: Server, by: Server) -> None:
    families = of.call("families")
    of.call("read_children", by.call("delete_parents_of", families))
