"""Two releases, each in a process of its own with its own models, through every phase of a change.

The default run takes the representatives of the cases (tests/representatives.py); where SAFEMIGRATIONS_TEST_ONE_IN
is 1, as in the matrix, every case.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from .forked import Server
from .representatives import forms_of_plans, representatives


@pytest.mark.parametrize("case", representatives(forms_of_plans), ids=repr)
def test_no_request_fails_and_no_value_is_lost(case, release):
    with ExitStack() as stack:
        old = Server(case.name, "old")
        stack.callback(old.stop)
        old.call("rounds", 1)
        with old.going_on():
            release.expand()
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
            release.contract()
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
