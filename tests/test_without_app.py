"""safemigrations is not in INSTALLED_APPS any more: on an empty database its operations do what Django's do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import ProgrammingError, connections
from django.db.migrations import Migration
from django.test import override_settings

from safemigrations.hooks import executor

from .cases import LABEL, Case, base, ours, stock
from .conftest import create_database, forget, new_database, on_server
from .project import Project
from .releases import ShopConfig, write
from .representatives import representatives
from .snapshot import difference, nameless, snapshot

APPS = ["django.contrib.contenttypes", "django.contrib.postgres", f"{ShopConfig.__module__}.{ShopConfig.__name__}"]
DjangosExecutor: Any = executor.MigrationExecutor.__base__


@contextmanager
def on_disk(folder: Path, migrations: Sequence[Migration]) -> Iterator[None]:
    """The files of an app whose project has this package, and not the app."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        with override_settings(INSTALLED_APPS=APPS, MIGRATION_MODULES={LABEL: write(folder, migrations)}):
            yield


def migrate(alias: str, target: str) -> None:
    DjangosExecutor(connections[alias]).migrate([(LABEL, target)])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with the first migration of the cases, and no row."""
    folder, name = tmp_path_factory.mktemp("begun"), f"safemigrations_begun_{uuid4().hex}"
    with pytest.MonkeyPatch.context() as patch, new_database("default", patch) as connection:
        with on_disk(folder, [base()]):
            migrate("default", base().name)
        made = connection.settings_dict["NAME"]
        forget("default")
        create_database(name, made)
    yield name
    on_server("DROP DATABASE {}", name)


# Going back, Django makes the model with the link to its parent, and then that link once more.
MADE_TWICE = "delete_model_with_its_child"
NO_WAY_BACK = pytest.raises(ProgrammingError, match='column "person_ptr_id" of relation "shop_courier" already exists')


def _classes(case: Case) -> set[Any]:
    return {type(operation) for migration in ours(case) for operation in migration.operations}


@pytest.mark.parametrize("case", representatives(_classes), ids=str)
def test_an_empty_database_comes_to_djangos_end(case, begun, monkeypatch, tmp_path):
    ends = []
    for written in (ours(case), stock(case)):
        with new_database("default", monkeypatch, begun) as database, on_disk(tmp_path, [base(), *written]):
            migrate("default", written[-1].name)
            ends.append(snapshot(database))
            with NO_WAY_BACK if case.name == MADE_TWICE else nullcontext():
                migrate("default", base().name)
    with_ours, with_stock = map(nameless, ends) if case.former_names else ends
    assert difference(with_stock, with_ours) == {}


BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=100)\n"
INDEXED = f"""{BOOK}
    class Meta:
        indexes = [models.Index(fields=["title"], name="book_title")]
"""


@pytest.fixture
def left(project: Project) -> Project:
    """A project that has taken the app out, with one migration of it to come."""
    project.fresh = True
    project.write_models("shop", BOOK)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.write_models("shop", INDEXED)
    project.manage("makemigrations", "shop").check()
    project.set(INSTALLED_APPS=["shop"])
    return project


SAID = (
    "AddIndexConcurrently changes shop_book, which has rows, and safemigrations isn't "
    "in INSTALLED_APPS: add it, or write Django's own operations with `safemigrations eject` before you take it out."
)


def test_a_database_with_rows_hears_what_is_missing(left):
    left.sql("INSERT INTO shop_book (title) VALUES ('a')")
    failed = left.manage("migrate")
    assert failed.returncode == 1
    assert SAID in failed.stderr
    left.manage("makemigrations", "--check").check()
    assert "CREATE INDEX" in left.manage("sqlmigrate", "shop", "0002").check().stdout
    left.sql("TRUNCATE shop_book")
    left.manage("migrate").check()
    assert left.sql("SELECT indexname FROM pg_indexes WHERE indexname = 'book_title'")


def test_rows_of_the_same_run_keep_nothing_from_going_on(left):
    """A first migrate, in which a migration before has written rows."""
    left.write_migration(
        "shop",
        "0001_rows",
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        "    dependencies = [('shop', '0001_initial')]\n"
        """    operations = [migrations.RunSQL("INSERT INTO shop_book (title) VALUES ('a')", "")]\n""",
    )
    last = left.migration_files("shop")[-1]
    text = left.read_migration("shop", last)
    left.write_migration("shop", last, text.replace("0001_initial", "0001_rows"))
    left.sql("DROP TABLE shop_book, django_migrations")
    left.manage("migrate").check()
    assert left.sql("SELECT title FROM shop_book") == [("a",)]
