"""A swappable model is renamed together with its setting."""

from __future__ import annotations

import pytest

from .project import Project

USER = """class {}(models.Model):
    name = models.CharField(max_length=10)

    class Meta:
        swappable = "SHOP_USER_MODEL"
"""
NOTE = """from django.conf import settings

class Note(models.Model):
    by = models.ForeignKey(settings.SHOP_USER_MODEL, models.CASCADE)
"""


@pytest.fixture
def renamed(tmp_path, dsn):
    """The model and the setting have another name than in the migrations."""
    project = Project(tmp_path, dsn, apps=("shop", "notes"), SHOP_USER_MODEL="shop.User")
    project.write_models("shop", USER.format("User"))
    project.write_models("notes", NOTE)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_user (name) VALUES ('a')")
    project.write_models("shop", USER.format("Buyer"))
    project.set(SHOP_USER_MODEL="shop.Buyer")
    return project


def test_the_rename_is_refused_with_its_reason(renamed):
    refused = renamed.manage("makemigrations", input="y\n")
    assert refused.returncode == 1
    assert refused.stderr == (
        "CommandError: makemigrations can't rename shop.User to Buyer: every older migration that points at "
        "SHOP_USER_MODEL then points at a model that isn't there yet, and migrate ends in a ValueError. Keep the name "
        "User in the class and in the setting; Python can have another one for it. Or see docs/rename_model.md, A "
        "swappable model.\n"
    )
    renamed.write_migration(
        "shop",
        "0002_buyer",
        """from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RenameModel("User", "Buyer")]
""",
    )
    found = renamed.manage("check")
    assert found.returncode == 1
    assert (
        "(safemigrations.E051) shop/migrations/0002_buyer.py:5: RenameModel User to Buyer: every older" in found.stderr
    )
    assert renamed.manage("migrate").stderr.startswith("DoesNotFit: The field notes.Note.by was declared with a lazy")


def test_the_way_by_hand(renamed):
    table = '        db_table = "shop_user"\n'
    renamed.write_models("shop", USER.format("Buyer") + table)
    text = renamed.read_migration("shop", "0001_initial")
    renamed.write_migration(
        "shop",
        "0001_initial",
        text.replace("'User'", "'Buyer'").replace("'swappable'", "'db_table': 'shop_user', 'swappable'"),
    )
    assert renamed.manage("makemigrations", "--check").check().stdout == "No changes detected\n"
    assert "No migrations to apply." in renamed.manage("migrate").check().stdout
    renamed.manage("safemigrations", "accept", "shop", "0001_initial").check()
    renamed.manage("safemigrations", "verify").check()
    assert renamed.sql("SELECT name FROM shop_user") == [("a",)]
