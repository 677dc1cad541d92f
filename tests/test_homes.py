"""What is written and checked depends on where the routers let a model live, and not on the moment."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo

from .project import Project
from .test_makemigrations import BOOK

ROUTER = """
class Router:
    def db_for_read(self, model, **hints):
        return "main"

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return db == "main"
"""
CHANGED = (
    "class Book(models.Model):\n    title = models.CharField(max_length=100, db_index=True)\n"
    "    pages = models.BigIntegerField()\n    stock = models.IntegerField(default=0)\n"
)
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


@pytest.mark.parametrize("default", [{}, SQLITE], ids=["no default", "sqlite"])
def test_the_default_database_may_be_another_one(project, default):
    project.write("routers.py", ROUTER)
    main = project.settings["DATABASES"]["default"]
    project.set(DATABASES={"default": default, "main": main}, DATABASE_ROUTERS=["routers.Router"])
    is_written_safely(project)
    project.manage("migrate", "--database", "main").check()
    assert "main: ready" in project.manage("safemigrations", "ready").check().stdout
    project.manage("migrate", "--contract", "--database", "main").check()
    assert project.manage("makemigrations", "--check", "--dry-run").returncode == 0


MOMENT = """
class Router:
    def allow_migrate(self, db, app_label, **hints):
        from pathlib import Path
        return Path("tenant").exists()
"""


@pytest.mark.parametrize(
    "setting",
    [
        {"TENANT_APPS": ["shop"]},
        {"SHARED_APPS": ["shop.apps.ShopConfig"]},
        {"TENANT_TYPES": {"public": {"APPS": []}, "firm": {"APPS": ["shop"]}}},
    ],
    ids=str,
)
def test_a_router_may_say_no_for_the_moment(project, setting):
    """As that of django-tenants does while the connection is in the public schema."""
    project.write("routers.py", MOMENT)
    project.set(DATABASE_ROUTERS=["routers.Router"], **setting)
    is_written_safely(project)
    assert project.sql("SELECT to_regclass('shop_book')") == [(None,)]
    project.write("tenant", "")
    project.sql("DELETE FROM django_migrations WHERE app = 'shop'")  # as another schema has it
    project.migrate_and_contract()
    assert project.sql("SELECT count(*) FROM shop_book") == [(0,)]


HAND = """from django.db import migrations, models
from safemigrations.operations import AddFieldNullableThenBackfill
class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_changed")]
    operations = [{}]
"""
STOCK = "migrations.AddIndex('book', models.Index(fields=['pages'], name='pages'))"
REFUSED = "AddFieldNullableThenBackfill('book', 'more', models.IntegerField(), backfill=models.F('missing'))"


@pytest.mark.parametrize(("operation", "id"), [(STOCK, "E001"), (REFUSED, "E092")], ids=["stock", "refused"])
def test_what_is_wrong_is_found_whatever_a_router_says_now(project, operation, id):
    project.write("routers.py", MOMENT)
    project.set(DATABASE_ROUTERS=["routers.Router"], TENANT_APPS=["shop"])
    is_written_safely(project)
    project.write_migration("shop", "0003_by_hand", HAND.format(operation))
    assert f"safemigrations.{id}" in project.manage("check").stderr


def is_written_safely(project: Project) -> None:
    project.write_models("shop", BOOK + "    pages = models.IntegerField()\n")
    project.manage("makemigrations", "shop").check()
    project.manage("migrate", *(["--database", "main"] if "main" in project.settings["DATABASES"] else [])).check()
    project.write_models("shop", CHANGED)
    project.manage("makemigrations", "shop", "--name", "changed").check()
    text = project.read_migration("shop", "0002_changed")
    for safe in ("AddFieldWithDefault", "ExpandAlterField", "AlterFieldConcurrently"):
        assert f"        {safe}(\n" in text
    project.manage("check").check()


# Models of two databases that point at each other.

TWO = """
class Router:
    def allow_migrate(self, db, app_label, **hints):
        return db == ("other" if app_label == "archive" else "default")
"""
AUTHOR = "class Author(models.Model):\n    id = models.AutoField(primary_key=True)\n    code = models.CharField()\n"
LOAN = (
    "class Loan(models.Model):\n    by = models.ForeignKey('shop.Author', models.CASCADE, db_constraint=False)\n"
    "    readers = models.ManyToManyField('shop.Author', related_name='+', db_constraint=False)\n"
)


@pytest.fixture
def two(tmp_path, dsn, two_databases):
    other = make_conninfo(dsn, dbname=two_databases[1].settings_dict["NAME"])
    project = Project(tmp_path, dsn, apps=("shop", "archive"), databases={"other": other})
    project.write("routers.py", TWO)
    project.set(DATABASE_ROUTERS=["routers.Router"])
    project.write_models("shop", AUTHOR)
    project.write_models("archive", LOAN)
    project.manage("makemigrations").check()
    for alias in ("default", "other"):
        project.manage("migrate", "--database", alias).check()
    return project


def test_a_rename_that_another_database_would_have_to_follow_is_refused(two):
    """The column author_id of archive_loan_readers is called after the model."""
    two.write_models("shop", AUTHOR.replace("Author", "Person"))
    two.write_models("archive", LOAN.replace("Author", "Person"))
    two.manage("makemigrations", input="y\n").check()
    refused = two.manage("check")
    assert refused.returncode == 1
    assert "renames columns of archive_loan_readers, too." in refused.stderr
    assert "Your routers put that into another database" in refused.stderr


def test_it_is_refused_before_anything_is_changed(two):
    two.write_migration(
        "shop",
        "0002_person",
        "from django.db import migrations\nfrom safemigrations.operations import ExpandRenameModel\n\n"
        "class Migration(migrations.Migration):\n    atomic = False\n"
        "    dependencies = [('shop', '0001_initial'), ('archive', '0001_initial')]\n"
        "    operations = [ExpandRenameModel('Author', 'Person')]\n",
    )
    refused = two.manage("migrate", "shop")
    assert refused.returncode == 1
    assert "renames columns of archive_loan_readers, too. Your routers put that into another" in refused.stderr
    assert two.sql("SELECT to_regclass('shop_person')::text, to_regclass('shop_author')::text") == [
        (None, "shop_author")
    ]


def test_another_type_that_another_database_would_have_to_follow_is_refused(two):
    two.write_models("shop", AUTHOR.replace("AutoField", "BigAutoField"))
    two.manage("makemigrations").check()
    refused = two.manage("check")
    assert refused.returncode == 1
    assert "archive.Loan.by, archive.Loan.readers points at it from another database" in refused.stderr


def test_nothing_points_at_a_field_that_is_no_key(two):
    """A many-to-many field points at the key of the model, and at no other field."""
    two.write_models("shop", AUTHOR.replace("CharField()", "IntegerField(db_column='number')"))
    two.manage("makemigrations").check()
    two.manage("check").check()
    assert "ExpandAlterField(" in two.read_migration("shop", two.migration_files("shop")[-1])
