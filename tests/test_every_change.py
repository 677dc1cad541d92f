"""What every change promises, for each case of tests/cases.py: locks, the way back, Django's own end.

One walk (tests/walk.py) goes through a case and carries what looks on at it. What a walk can't show is here apart: a
contract that doesn't wait, and a database that is migrated from nothing. Kills are in
tests/test_every_change_killed.py, the two releases at work in tests/test_rolling_deploy.py.

The default run walks through a case of each form of plan, and through a third of the others, which look like one of
those: the seed of pytest-randomly says which third. Where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, it is
every case, and so it is where -k or the name of a test asks for one.
"""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import override_settings

from safemigrations.contracts import queue

from .cases import CASES
from .lock_modes import Locks
from .releases import installed, migrate
from .representatives import (
    ONE_IN,
    classes_of_operations,
    forms_of_plans,
    forms_of_steps,
    is_stock_when_alone,
    representatives,
)
from .snapshot import rows, snapshot
from .verified import Verified
from .walk import PLACED, Observer, Release, StockEnd, ThereAndBack, walk

CLASSES = representatives(classes_of_operations)
FORMS = representatives(forms_of_plans)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is WALK:
        seed, others = metafunc.config.getoption("randomly_seed", 0), [case for case in CASES if case not in FORMS]
        chosen = others if is_asked_for(metafunc.config) else others[seed % 3 :: 3]
        metafunc.parametrize("case", [*FORMS, *chosen], ids=repr)


def is_asked_for(config: pytest.Config) -> bool:
    """Does somebody want to see a certain test, such as one that failed with another seed?"""
    return bool(config.option.keyword or config.getoption("lf", False) or any("::" in one for one in config.args))


def test_there_and_back_with_the_locks_that_are_declared_to_the_end_of_the_stock_operations(
    stock_end, release, connect
):
    locks = Locks(connect)
    observers: list[Observer] = [ThereAndBack(release), StockEnd(release, stock_end)]
    if release.case in CLASSES:
        observers.append(Verified(release))
    walk(release, observers, report=locks, once_more=ONE_IN == 1)
    found = {"Locks": locks.wrong} | {type(observer).__name__: observer.wrong for observer in observers}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert bool(locks.steps) is not release.case.safe


WALK = test_there_and_back_with_the_locks_that_are_declared_to_the_end_of_the_stock_operations


# It runs the steps of the walk in one go: in the default run of each class of operations once.
@pytest.mark.parametrize("case", CLASSES, ids=repr)
def test_contract_immediately_ends_like_stock(stock_end, release):
    schema, data = stock_end
    with override_settings(SAFEMIGRATIONS={"CONTRACT": "immediately"}):
        release.expand()
    release.assert_ends(schema)
    if not release.case.rows_differ:
        assert rows(connection, leaving_out=PLACED) == data
    assert queue.open_rows(connection) == []


# The stock operation itself is tried once for each class; what isn't that, in the matrix with every case.
ALONE = representatives(classes_of_operations, [case for case in CASES if is_stock_when_alone(case)])
OTHERS = representatives(forms_of_steps, [case for case in CASES if not is_stock_when_alone(case)])


@pytest.mark.parametrize("case", ALONE + OTHERS, ids=repr)
def test_fresh_database_ends_like_stock(stock_end, case, database, tmp_path):
    schema, _ = stock_end
    release = Release.written(case, tmp_path)
    with installed(tmp_path, release.package):
        release.expand()
        release.assert_ends(schema)
        assert queue.open_rows(connection) == []
        migrate("zero")
        assert snapshot(connection)["tables"] == {}
