"""Test databases, whoever makes, keeps and copies them; laptops and staging servers several releases behind."""

from __future__ import annotations

import psycopg
import pytest
from django.test.utils import setup_test_environment, teardown_test_environment

from safemigrations.errors import to_type
from safemigrations.typed import is_testing

from .project import Project

BEFORE = "class Book(models.Model):\n    title = models.CharField(max_length=10)\n    pages = models.IntegerField()\n"
RENAMED = BEFORE.replace("title", "name")
AGAIN = RENAMED.replace("name", "label").replace("    pages = models.IntegerField()\n", "")
TESTS = """
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import TestCase, TransactionTestCase
from django_test_migrations.contrib.unittest_case import MigratorTestCase

def state():
    with connection.cursor() as cursor:
        names = [column.name for column in connection.introspection.get_table_description(cursor, "shop_book")]
        cursor.execute("SELECT to_regclass('safemigrations_contract') IS NOT NULL")
        open_rows = 0
        if cursor.fetchone()[0]:
            cursor.execute("SELECT count(*) FROM safemigrations_contract WHERE status <> 'done'")
            open_rows = cursor.fetchone()[0]
        return sorted(names), open_rows

class Kept(TestCase):
    def test_it_is_contracted(self):
        self.assertEqual(state(), ({now!r}, 0))

class Stepping(TransactionTestCase):
    def test_back_and_forth(self):
        for target, columns in (("0001_initial", {before!r}), ({last!r}, {now!r})):
            executor = MigrationExecutor(connection)
            executor.migrate([("shop", target)])
            self.assertEqual(state(), (columns, 0))

class Stepped(MigratorTestCase):
    migrate_from = ("shop", "0001_initial")
    migrate_to = ("shop", {last!r})

    def prepare(self):
        self.old_state.apps.get_model("shop", "Book").objects.create(title="a", pages=1)

    def test_the_rows_are_there_and_nothing_is_left(self):
        self.assertEqual(self.new_state.apps.get_model("shop", "Book").objects.count(), 1)
        self.assertEqual(state(), ({now!r}, 0))
"""


def release(project: Project, models: str) -> None:
    project.write_models("shop", models)
    project.manage("makemigrations", input="y\n" * 3).check()


@pytest.fixture
def shop(project):
    """A project with the first of three releases, applied."""
    release(project, BEFORE)
    project.manage("migrate").check()
    return project


def run_tests(project, columns, *arguments):
    last = project.migration_files("shop")[-1]
    before = ["id", "pages", "title"]
    project.write("shop/tests.py", TESTS.format(now=sorted(columns), last=last, before=before))
    result = project.manage("test", "--noinput", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_test_database_contracts_by_itself_kept_or_copied(shop):
    release(shop, RENAMED)
    run_tests(shop, ["id", "name", "pages"], "--keepdb", "shop.tests.Kept")
    release(shop, AGAIN)
    run_tests(shop, ["id", "label"], "--keepdb")
    run_tests(shop, ["id", "label"], "--parallel", "2", "--keepdb")
    shop.write("shop/tests.py", "")
    run_tests(shop, ["id", "label"], "shop.tests.Stepped")  # made anew, and dropped
    assert "title" in str(shop.sql("SELECT attname FROM pg_attribute WHERE attrelid = 'shop_book'::regclass"))
    (name,) = shop.sql("SELECT current_database()")[0]
    for kept in (f"test_{name}_1", f"test_{name}_2"):
        with psycopg.connect(shop.dsn, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{kept}"')


def test_a_test_database_keeps_to_what_the_settings_say(shop):
    shop.set(SAFEMIGRATIONS={"CONTRACT": "explicitly"})
    run_tests(shop, ["id", "pages", "title"], "--keepdb", "shop.tests.Kept")
    release(shop, RENAMED)
    shop.write(
        "shop/tests.py",
        "from django.db import connection\nfrom django.test import TestCase\n\nclass Kept(TestCase):\n"
        "    def test_it_is_left(self):\n        with connection.cursor() as cursor:\n"
        "            cursor.execute('SELECT title, name FROM shop_book')\n",
    )
    said = shop.manage("test", "--keepdb", "--noinput", "-v", "2").check()
    assert "call_command('migrate', '--contract')" in said.stdout
    assert "python manage.py" not in said.stdout
    shop.manage("test", "--noinput", "shop.tests.Kept")


def test_a_command_in_a_test_is_a_call():
    assert to_type("migrate --contract", "other") == "python manage.py migrate --contract --database other"
    setup_test_environment()
    try:
        assert is_testing()
        assert to_type("migrate --contract", "other") == (
            "call_command('migrate', '--contract', '--database', 'other')"
        )
    finally:
        teardown_test_environment()


def test_a_laptop_finishes_what_was_left_open_before(shop):
    release(shop, RENAMED)
    shop.manage("migrate").check()
    shop.set(SAFEMIGRATIONS={"CONTRACT": "immediately"})
    assert "0002" in shop.manage("migrate").check().stdout
    assert shop.manage("migrate", "--contract").check().stdout == "Nothing is left for the contract.\n"
    shop.set(SAFEMIGRATIONS={"CONTRACT": "explicitly"})
    release(shop, AGAIN)
    shop.manage("migrate").check()
    release(shop, AGAIN.replace("label", "heading"))
    shop.set(SAFEMIGRATIONS={"CONTRACT": "immediately"})
    shop.manage("migrate").check()
    shop.manage("safemigrations", "verify").check()
    assert shop.manage("migrate", "--contract").check().stdout == "Nothing is left for the contract.\n"


def test_a_staging_server_is_told_the_one_command(shop):
    shop.sql("INSERT INTO shop_book (title, pages) VALUES ('a', 1)")
    release(shop, RENAMED)
    release(shop, AGAIN)
    said = shop.manage("migrate")
    assert said.returncode == 1
    assert said.stderr.endswith(
        "\nWhere no other release is connected, as on a staging server that is several releases behind: "
        "python manage.py migrate --catch-up\n"
    )
    catches_up = shop.manage("migrate", "--catch-up").check()
    assert "Left for the contract" not in catches_up.stdout
    assert shop.sql("SELECT label FROM shop_book") == [("a",)]
    shop.manage("safemigrations", "verify").check()
    assert shop.manage("migrate", "--contract").check().stdout == "Nothing is left for the contract.\n"


def test_catching_up_waits_for_other_releases(shop):
    (mark,) = shop.sql("SELECT mark FROM safemigrations_release")[0]
    release(shop, RENAMED)
    release(shop, AGAIN)
    with psycopg.connect(shop.dsn, application_name=f"gunicorn safemig:{mark}") as connection:
        connection.execute("SELECT 1")
        refused = shop.manage("migrate", "--catch-up")
        assert refused.returncode == 75
        assert "these sessions are of another release:\n  pid " in refused.stderr
        assert "Nothing was changed." in refused.stderr
    assert shop.sql("SELECT title FROM shop_book") == []
    shop.manage("migrate", "--catch-up").check()
    assert shop.sql("SELECT label FROM shop_book") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fake"], "--catch-up expands and contracts, so --fake has no meaning beside it."),
        (["shop", "zero"], "--catch-up only goes forwards."),
    ],
)
def test_catching_up_goes_forwards_and_takes_no_other_way(shop, arguments, said):
    refused = shop.manage("migrate", "--catch-up", *arguments)
    assert (refused.returncode, refused.stderr) == (1, f"CommandError: {said}\n")
