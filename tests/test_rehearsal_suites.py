"""rehearse --tests: the project's own tests, of both releases, on what the rollout makes of their database."""

from __future__ import annotations

import json

import pytest

from .project import Project
from .rehearsed import QUICK, git
from .representatives import ONE_IN
from .test_rehearse import MODELS, STOCK, TOTAL, left_behind

TESTS = """
from django.db import connection
from django.test import TestCase, TransactionTestCase
from shop.models import Customer, Order

ORDER = "INSERT INTO shop_order (customer_id, number, pages, state) VALUES (%s, 'a', 1, 'open')"


class OrderTest(TestCase):
    def test_an_import_writes_orders(self):
        customer = Customer.objects.create(name="a")
        with connection.cursor() as cursor:
            cursor.execute(ORDER, [customer.pk])
        self.assertEqual(Order.objects.get().pages, 1)

    def test_it_is_empty(self):
        self.assertEqual(Order.objects.count(), 0)


class AlsoWithoutATransaction(TransactionTestCase):
    def test_it_is_empty(self):
        self.assertEqual(Customer.objects.count(), 0)
"""
BROKEN = """
class Broken(TestCase):
    def test_it_fails_as_ever(self):
        self.fail("as ever")
"""
DJANGO = "python manage.py test --noinput"
PYTEST = "python -m pytest -n 2 --no-migrations shop/tests.py"
INSERTED = (
    'django.db.utils.IntegrityError: null value in column "total" of relation "shop_order" violates not-null constraint'
)


@pytest.fixture
def released(project: Project) -> Project:
    project.write_models("shop", MODELS)
    project.manage("makemigrations", "shop").check()
    git(project, "init")
    project.write("pytest.ini", "[pytest]\npython_files = tests.py\n")
    return project


def release(project: Project, tests: str) -> None:
    project.write("shop/tests.py", tests)
    git(project, "add", ".")
    git(project, "commit", "-m", "Release")


def findings(project: Project, command: str) -> list[tuple[str, str, str]]:
    """What the tests brought to light: release, phase, what is said."""
    done = project.manage("safemigrations", "rehearse", *QUICK, "--tests", command, "--format", "json")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    found = [finding for finding in json.loads(done.stdout)["findings"] if finding["kind"] == "test"]
    return [(finding["release"], finding["phase"], finding["message"]) for finding in found]


RUNNERS = [
    pytest.param(DJANGO, "shop.tests.OrderTest.test_an_import_writes_orders", id="django"),
    pytest.param(PYTEST, "shop/tests.py::OrderTest::test_an_import_writes_orders", id="pytest"),
]


@pytest.mark.skipif(ONE_IN != 1, reason="the matrix asks it; the default run has the test below")
@pytest.mark.parametrize(("command", "test"), RUNNERS)
def test_what_a_test_of_a_release_finds_and_requests_do_not(released, command, test):
    """A test that fails in the old release as it is, is no finding. Nothing is left for the contract, so none runs."""
    release(released, TESTS + BROKEN)
    released.write_models("shop", TOTAL)
    released.write_migration("shop", "0002_total", STOCK)
    found = findings(released, command)
    assert [(release, phase) for release, phase, _ in found] == [
        ("old", "tests of the old release, expanded"),
        ("new", "tests of the new release, expanded"),
    ]
    assert {said for *_, said in found} == {f"{test}: {INSERTED}"}
    assert left_behind(released) == ([], "")


def test_tests_of_both_releases_pass_where_the_change_fits_both(released):
    """One fails in the old release as it is, which is no finding."""
    release(released, TESTS + BROKEN)
    # The statement that the test sends doesn't know the column, as nothing of the new release should by then.
    said = f"shop.tests.OrderTest.test_an_import_writes_orders: {INSERTED}"
    assert found_of_ours(released, DJANGO) == [("new", "tests of the new release, contracted", said)]
    assert left_behind(released) == ([], "")


@pytest.mark.skipif(ONE_IN != 1, reason="the same in two processes")
def test_tests_of_both_releases_in_two_processes(released):
    release(released, TESTS)
    found = found_of_ours(released, f"{DJANGO} --parallel 2")
    assert [(release, phase) for release, phase, _ in found] == [("new", "tests of the new release, contracted")]


def found_of_ours(project: Project, command: str) -> list[tuple[str, str, str]]:
    project.write_models("shop", TOTAL)
    project.manage("makemigrations", "shop").check()
    return findings(project, command)


def test_tests_that_cannot_be_run(released):
    release(released, "import nothing_of_this_name")
    released.write_models("shop", TOTAL)
    released.manage("makemigrations", "shop").check()
    done = released.manage("safemigrations", "rehearse", *QUICK, "--tests", "echo hello; false")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "CommandError: --tests: echo hello; false of the old release made no test database that could be taken over. "
    )
    assert done.stderr.endswith("It said:\nhello\n")
    assert left_behind(released) == ([], "")
