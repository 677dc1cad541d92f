"""A release renames a model, and more than its name changes around it: relations to it, proxies and children of it."""

from __future__ import annotations

import pytest

from .project import Project

OLD = """
class Item(models.Model):
    code = models.CharField(max_length=10, unique=True)

class Cheap(Item):
    class Meta:
        proxy = True

class Boxed(Item):
    item = models.OneToOneField(Item, models.CASCADE, parent_link=True, primary_key=True)
    box = models.CharField(max_length=10)

class Tag(models.Model):
    label = models.CharField(max_length=10, unique=True)

class Link(models.Model):
    item = models.ForeignKey(Item, models.CASCADE, to_field="code")
    tag = models.ForeignKey(Tag, models.CASCADE, to_field="label")
"""
NEW = (
    OLD.replace("Item", "Thing").replace("label", "name").replace("models.ForeignKey(", "models.OneToOneField(")
    + "\nclass Offer(models.Model):\n    cheap = models.ForeignKey(Cheap, models.CASCADE)\n"
)
KEPT = NEW.replace("unique=True)\n", "unique=True)\n\n    class Meta:\n        db_table = 'shop_item'\n", 1)
NOTE = 'class Note(models.Model):\n    item = models.{field}("shop.{model}", models.CASCADE)\n'


@pytest.fixture
def two_apps(tmp_path, dsn):
    """`notes` comes before `shop` in the order of the alphabet, and points at one of its models."""
    project = Project(tmp_path, dsn, apps=("shop", "notes"))
    project.write_models("shop", OLD)
    project.write_models("notes", NOTE.format(field="ForeignKey", model="Item"))
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    return project


@pytest.mark.parametrize("models", [NEW, KEPT], ids=["the table moves", "the table stays"])
def test_what_points_at_a_renamed_model_or_inherits_from_it_comes_along(two_apps, models):
    project = two_apps
    project.sql("INSERT INTO shop_item (code) VALUES ('a')")
    project.sql("INSERT INTO shop_boxed (item_id, box) VALUES (1, 'b')")
    project.sql("INSERT INTO notes_note (item_id) VALUES (1)")
    project.write_models("shop", models)
    project.write_models("notes", NOTE.format(field="OneToOneField", model="Thing"))
    project.manage("makemigrations", input="y\ny\n").check()
    assert project.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    (note,) = project.migration_files("notes")[1:]
    assert "to='shop.thing'" in project.read_migration("notes", note)
    texts = [project.read_migration("shop", name) for name in project.migration_files("shop")[1:]]
    (links,) = [text for text in texts if "'link'" in text]
    assert "to='shop.thing', to_field='code'" in links
    assert "to='shop.tag', to_field='name'" in links
    project.migrate_and_contract()
    assert project.manage("makemigrations", "--check", "--dry-run").returncode == 0
    project.manage("safemigrations", "verify").check()
    project.manage("migrate", "shop", "0001").check()
    assert project.sql("SELECT code, box FROM shop_item JOIN shop_boxed ON id = item_id") == [("a", "b")]


def test_djangos_own_rename_of_a_model_with_heirs_is_found_before_migrate_crashes(two_apps):
    project = two_apps
    project.write_migration(
        "shop",
        "0002_thing",
        """from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.RenameModel("Item", "Thing"),
        migrations.RemoveField("boxed", "box"),
    ]
""",
    )
    found = project.manage("safemigrations", "lint")
    assert found.returncode == 1
    assert "E051: RenameModel Item to Thing renames shop_item at once" in found.stdout
    assert "E020: RemoveField box of boxed" in found.stdout
    renamed = project.read_migration("shop", "0002_thing").replace(
        '"Item", "Thing"', '"Item", "Thing"), migrations.AlterModelTable("Thing", "shop_item"'
    )
    project.write_migration("shop", "0002_thing", renamed)
    assert (
        "E051: RenameModel Item to Thing moves the table, and back." in project.manage("safemigrations", "lint").stdout
    )


def test_a_rename_that_moves_nothing_is_ours_where_the_model_has_heirs(tmp_path, dsn):
    table = "    class Meta:\n        db_table = 'goods'\n\n"
    project = Project(tmp_path, dsn)
    models = f"class Item(models.Model):\n{table}class Cheap(Item):\n    class Meta:\n        proxy = True\n"
    project.write_models("shop", models)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.write_models("shop", models.replace("Item", "Thing"))
    project.manage("makemigrations", input="y\n").check()
    (name,) = project.migration_files("shop")[1:]
    text = project.read_migration("shop", name)
    assert "ExpandRenameModel(" in text
    assert project.manage("migrate").check().lines[-2] == f"  Applying shop.{name}... OK"
    assert project.manage("makemigrations", "--check", "--dry-run").returncode == 0
    head, _, rest = text.partition("from safemigrations.operations import ExpandRenameModel\n")
    project.write_migration("shop", name, head + rest.replace("ExpandRenameModel(", "migrations.RenameModel("))
    assert (
        "E051: RenameModel Item to Thing leaves the old name in the bases of Cheap: InvalidBasesError in migrate."
        in project.manage("safemigrations", "lint").stdout
    )
