"""safemigrations.testing, in the tests of a project: pytest-django's, Django's own, in several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.db import connection

from safemigrations import testing
from tests import three_releases
from tests.conftest import on_server
from tests.project import ROOT, Project, Result
from tests.representatives import ONE_IN
from tests.test_docs import blocks

INSTALLED = ["django.contrib.contenttypes", "django.contrib.auth"]
PLUGINS = ["safemigrations.pytest_plugin", "pytest_django.plugin", "xdist.plugin"]
BODY = """
from django.db import DatabaseError, connection
from shop.models import Item


def sizes_and_notes(rollout):
    Old, New = rollout.old.get_model("shop", "Item"), rollout.new.get_model("shop", "Item")
    Old.objects.create(name="pen", note="blue")
    rollout.expand()
    New.objects.create(name="ink")
    Old.objects.create(name="cap", note="red")
    assert dict(New.objects.values_list("name", "size")) == {"pen": 0, "ink": 0, "cap": 0}
    assert dict(Old.objects.values_list("name", "note")) == {"pen": "blue", "ink": "", "cap": "red"}
    rollout.contract()
    New.objects.create(name="nib", size=3)
    try:
        Old.objects.create(name="old", note="")
    except DatabaseError as error:
        assert "note" in str(error)
    else:
        raise AssertionError("the contract has not run")
    rollout.reverse()
    assert Old.objects.count() == 4
    rollout.expand()
    assert New.objects.count() == 4


def names_and_titles(rollout):
    Old, New = rollout.old.get_model("shop", "Item"), rollout.new.get_model("shop", "Item")
    old = Old.objects.create(name="pen")
    rollout.expand()
    New.objects.filter(pk=old.pk).update(title="ink")
    old.refresh_from_db()
    assert old.name == "ink"


def two_at_once(rollout):
    rollout.old.get_model("shop", "Item").objects.create(name="pen", note="blue")
    rollout.expand()
    assert rollout.new.get_model("shop", "Item").objects.get().title == "pen"


def permissions(rollout):
    Permission = rollout.old.get_model("auth", "Permission")
    assert Permission.objects.filter(codename="add_item", content_type__app_label="shop").exists()


def nothing_of_it_is_here():
    assert list(Item.objects.values_list("title")) == []
"""
PYTEST = """
import pytest
from safemigrations.testing import before_migration as in_a_block


@pytest.mark.parametrize("time", range(3))
def test_sizes(before_migration, time):
    sizes_and_notes(before_migration("shop", "0002"))


def test_titles_in_a_block(db):
    Item.objects.create(title="mine")
    with in_a_block("shop", "0003_title") as rollout:
        names_and_titles(rollout)
    assert Item.objects.get().title == "mine"


def test_two_at_once(before_migration):
    two_at_once(before_migration("shop", "0002", until="0003"))


@pytest.mark.django_db(transaction=True)
def test_permissions(before_migration):
    permissions(before_migration("shop", "0002"))


@pytest.mark.parametrize("time", range(3))
def test_nothing_of_it_is_here(db, time):
    nothing_of_it_is_here()
"""
UNITTEST = """
from django.test import TestCase, TransactionTestCase
from safemigrations.testing import before_migration


class InATransaction(TestCase):
    def test_sizes(self):
        Item.objects.create(title="mine")
        with before_migration("shop", "0002") as rollout:
            sizes_and_notes(rollout)
        self.assertEqual(Item.objects.get().title, "mine")

    def test_titles(self):
        names_and_titles(self.enterContext(before_migration("shop", "0003")))

    def test_nothing_of_it_is_here(self):
        nothing_of_it_is_here()


class WithoutOne(TransactionTestCase):
    def test_two_at_once(self):
        two_at_once(self.enterContext(before_migration("shop", "0002", until="0003")))

    def test_permissions(self):
        permissions(self.enterContext(before_migration("shop", "0002")))

    def test_nothing_of_it_is_here(self):
        nothing_of_it_is_here()
"""


@pytest.fixture
def shop(tmp_path: Path, dsn: str) -> Iterator[Project]:
    """The third release of a shop, with a test for each runner; its test databases are dropped at the end."""
    project = three_releases.tree(tmp_path, dsn, 3)
    project.set(INSTALLED_APPS=["safemigrations", "shop", *INSTALLED])
    with_pytest, with_unittest = (code for _, code in blocks(ROOT / "docs" / "testing.md", "python"))
    project.write("test_with_pytest.py", BODY + PYTEST + with_pytest)
    project.write("tests.py", BODY + UNITTEST + with_unittest)
    project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    yield project
    for name in databases(project):
        on_server("DROP DATABASE {} WITH (FORCE)", name)


def databases(project: Project) -> set[str]:
    """The test databases of the project that are there, and those that were made of them."""
    name = psycopg.conninfo.conninfo_to_dict(project.dsn)["dbname"]
    found = project.sql(f"SELECT datname FROM pg_database WHERE datname LIKE 'test_{str(name)[:30]}%'")
    return {name for (name,) in found}


def run(project: Project, *command: str) -> Result:
    environment = {**project._environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=project.folder, env=environment, capture_output=True, text=True, timeout=300
    )
    return Result(done.stdout, done.stderr, done.returncode)


def run_pytest(project: Project, *options: str) -> Result:
    plugins = [part for name in PLUGINS for part in ("-p", name)]
    return run(project, "-m", "pytest", "-q", *plugins, "test_with_pytest.py", *options)


@pytest.mark.skipif(ONE_IN != 1, reason="two runs of pytest with two processes each; the matrix has the time")
def test_pytest_in_two_processes_that_keep_their_databases(shop):
    name = psycopg.conninfo.conninfo_to_dict(shop.dsn)["dbname"]
    for chosen, passed in (("", "10 passed"), ("sizes", "3 passed")):
        said = run_pytest(shop, "-n", "2", "--reuse-db", "-k", chosen).check().stdout
        assert passed in said
        assert databases(shop) == {f"test_{name}_gw0", f"test_{name}_gw1"}


def test_djangos_runner_in_two_processes(shop):
    shop.set(SAFEMIGRATIONS={"CONTRACT": "immediately"})  # as a project has it for its tests
    said = run(shop, "manage.py", "test", "--parallel", "2", "--noinput").check()
    assert "Ran 7 tests" in said.stderr
    assert databases(shop) == set()


@pytest.mark.skipif(ONE_IN != 1, reason="two more runs of pytest; the matrix has the time")
def test_a_run_that_was_killed_leaves_nothing_for_the_next_one(shop):
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    shop.write("test_killed.py", f"def test(before_migration):\n    before_migration('shop', '0002')\n    {killed}\n")
    plugins = [part for name in PLUGINS for part in ("-p", name)]
    assert run(shop, "-m", "pytest", *plugins, "test_killed.py").returncode == -9
    assert len(databases(shop)) == 3
    assert "1 passed" in run_pytest(shop, "--create-db", "-k", "at_once").check().stdout
    assert databases(shop) == set()


# What it refuses.


@pytest.fixture(scope="module", autouse=True)
def _without_templates() -> Iterator[None]:
    yield
    testing.drop_templates()  # the server that tests/conftest.py has started stops before Python ends


@pytest.fixture
def released(database, tmp_path):
    """The migrations of the third release, in this process."""
    from tests.releases import installed

    written = three_releases.tree(tmp_path, "dbname=unused", 3).folder / "shop" / "migrations"
    package = written.rename(tmp_path / f"migrations_{uuid4().hex}")
    with installed(tmp_path, package.name):
        yield


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop", "0009"), "No migration of shop begins with '0009'."),
        (("shop", "0"), "Several migrations of shop begin with '0'."),
        (("nothing", "0001"), "nothing has no migrations here; they may be switched off (--no-migrations)."),
    ],
)
def test_a_migration_that_is_not_there(released, arguments, said):
    with pytest.raises(LookupError) as error, testing.before_migration(*arguments):
        pass
    assert error.value.args == (said,)


def test_a_release_goes_forwards(released):
    said = "shop.0001_initial doesn't need shop.0002_size, so no release goes from one to the other."
    with pytest.raises(LookupError) as error, testing.before_migration("shop", "0002", until="0001"):
        pass
    assert error.value.args == (said,)


def test_phases_come_one_after_the_other(released):
    with testing.before_migration("shop", "0002") as rollout:
        with pytest.raises(RuntimeError, match=r"^The database is before, and that needs one that is expanded\.$"):
            rollout.contract()
        rollout.expand()
        with pytest.raises(RuntimeError, match="The database is expanded, and that needs one that is before"):
            rollout.expand()


def test_the_alias_means_the_database_while_the_block_lasts(released):
    outside = connection.settings_dict["NAME"]
    with testing.before_migration("shop", "0002") as rollout:
        assert rollout.connection.settings_dict["NAME"] == connection.settings_dict["NAME"] != outside
    assert connection.settings_dict["NAME"] == outside


# The plugin.


def test_pytest_finds_the_plugin():
    plugins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert plugins == {"safemigrations": "safemigrations.pytest_plugin"}


def test_the_plugin_costs_nothing_where_it_is_not_used():
    code = "import sys, pytest; import safemigrations.pytest_plugin; print('django' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
