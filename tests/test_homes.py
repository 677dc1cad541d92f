"""What is written and checked depends on where the routers let a model live, and not on the moment."""

from __future__ import annotations

import pytest

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
