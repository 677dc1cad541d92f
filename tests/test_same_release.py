"""What belongs to one release is judged together, in however many files it is written."""

from __future__ import annotations

import pytest

from .project import Project
from .snapshot import snapshot

BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=100)\n"
STOCK = BOOK + "    stock = models.IntegerField(default=0)\n"
BOXED = STOCK + '    box = models.ForeignKey("Box", models.SET_NULL, null=True)\n'
# Django makes Box without its key to Crate, and what is over the key in a later migration.
CRATES = """
class Crate(models.Model):
    code = models.CharField(max_length=10)
    main = models.ForeignKey("Box", models.CASCADE, related_name="+")

    class Meta:
        unique_together = [("code", "main")]

class Box(models.Model):
    crate = models.ForeignKey(Crate, models.CASCADE)
    number = models.IntegerField()

    class Meta:
        unique_together = [("crate", "number")]
        indexes = [
            models.Index(models.F("crate").desc(), name="box_key"),
            models.Index(fields=["-crate"], name="box_crate"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["number"], include=["crate"], name="box_covering"),
            models.CheckConstraint(condition=models.Q(crate__gt=models.F("number")), name="box_beyond"),
        ]
"""


def change(project: Project, source: str) -> list[str]:
    """The names of the files that are written; `check` finds nothing in them."""
    before = project.migration_files("shop")
    project.write_models("shop", source)
    project.manage("makemigrations", "shop", "--noinput").check()
    assert project.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    project.manage("safemigrations", "lint").check()
    return [name for name in project.migration_files("shop") if name not in before]


@pytest.fixture
def grown(project):
    """A project in which a release adds two models that point at each other, and a field of a third one."""
    change(project, BOOK)
    project.manage("migrate").check()
    return project


def test_a_file_names_those_whose_tables_are_new(grown):
    first, *_, last = change(grown, BOXED + CRATES)
    assert f"    same_release = [('shop', '{first}')]  # no other release uses their tables\n" in grown.read_migration(
        "shop", last
    )
    grown.migrate_and_contract()
    assert grown.manage("makemigrations", "--check", "--dry-run").returncode == 0


def test_without_that_line_the_table_counts_as_used(grown):
    *_, last = change(grown, BOXED + CRATES)
    text = grown.read_migration("shop", last)
    lines = [line for line in text.splitlines(keepends=True) if "same_release" not in line]
    grown.write_migration("shop", last, "".join(lines))
    found = grown.manage("safemigrations", "lint")
    assert found.returncode == 1
    assert "AddIndex box_crate on box builds the index under a SHARE lock" in found.stdout


def catalog(database):
    try:
        return snapshot(database)
    finally:
        database.close()


def test_models_that_point_at_each_other_go_with_all_that_is_over_their_keys(grown, database):
    change(grown, STOCK + CRATES)
    grown.migrate_and_contract()
    there = catalog(database)
    before = grown.migration_files("shop")[-1]
    (last,) = change(grown, STOCK)
    grown.manage("migrate").check()
    grown.manage("migrate", "shop", before).check()
    assert catalog(database) == there
    grown.migrate_and_contract()
    assert grown.sql("SELECT to_regclass('shop_crate'), to_regclass('shop_box')") == [(None, None)]
    grown.manage("migrate", "shop", before).check()
    assert catalog(database) == there
    assert "AlterUniqueTogetherConcurrently" in grown.read_migration("shop", last)


WIDER = {
    "unique_together": ("        unique_together = [{}]\n", "('title', 'pages')", "('title', 'pages', 'edition')"),
    "a constraint": (
        "        constraints = [models.UniqueConstraint(fields={}, name='book_once')]\n",
        "['title', 'pages']",
        "['title', 'pages', 'edition']",
    ),
}


@pytest.mark.parametrize(("meta", "before", "after"), WIDER.values(), ids=WIDER)
def test_a_set_is_replaced_by_one_with_a_new_field(project, meta, before, after):
    """The narrower set stays until the contract, and keeps the rows apart that have one value in the new field."""
    pages = BOOK + "    pages = models.IntegerField()\n"
    edition = "    edition = models.IntegerField(default=1)\n"
    change(project, pages + "    class Meta:\n" + meta.format(before))
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_book (title, pages) VALUES ('Emma', 1), ('Emma', 2)")
    change(project, pages + edition + "    class Meta:\n" + meta.format(after))
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_book (title, pages) VALUES ('Emma', 3)")
    project.manage("migrate", "--contract").check()
    project.sql("INSERT INTO shop_book (title, pages, edition) VALUES ('Emma', 3, 2)")


def test_a_set_that_only_overlaps_keeps_nothing_apart(project):
    pages = BOOK + "    pages = models.IntegerField()\n"
    edition = "    edition = models.IntegerField(default=1)\n"
    together = "    class Meta:\n        unique_together = [{}]\n"
    change(project, pages + together.format("('title', 'pages')"))
    project.write_models("shop", pages + edition + together.format("('title', 'edition')"))
    said = project.manage("makemigrations", "shop").check().stderr
    assert "makes edition unique together with others in the release that adds it" in said


def test_a_rename_renders_two_states_and_leaves_none_behind(project, monkeypatch):
    """Rendered classes that a state carries on are rendered anew by each later operation."""
    models = "".join(f"class Model{number}(models.Model):\n    name = models.TextField()\n" for number in range(5))
    project.write_models("shop", models)
    project.manage("makemigrations", "shop").check()
    later = "\n".join(f"AddField('model{n}', 'note', models.TextField(null=True))," for n in range(2, 5))
    renames = "\n".join(f"RenameModel('Model{n}', 'Other{n}')," for n in (0, 1))
    project.write_migration(
        "shop",
        "0002_other",
        "from django.db import models\nfrom django.db.migrations import *\nclass Migration(Migration):\n"
        f"    dependencies = [('shop', '0001_initial')]\n    operations = [{renames}\n{later}]\n",
    )
    counting = """
from django.db.migrations.state import ProjectState, StateApps
made, reloaded = [], []
init, reload = StateApps.__init__, ProjectState._reload
StateApps.__init__ = lambda self, *args, **kwargs: made.append(1) or init(self, *args, **kwargs)
ProjectState._reload = lambda self, *args, **kwargs: reloaded.append(1) or reload(self, *args, **kwargs)
from safemigrations.checking.findings import report
print(len(report().findings), len(made), len(reloaded))
"""
    assert project.manage("shell", "-c", counting).check().lines[-1] == "2 4 0"
