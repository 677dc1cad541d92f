"""A migration that is edited after it was applied is named; what makes no difference isn't."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import call_command

from safemigrations.hooks.digest import digest, is_same
from safemigrations.running.ledger import entries
from tests import started
from tests.project import Project

FILE = '''"""Add a note."""
# by hand
from django.db import migrations, models
from django.db.models import F

SIZE = 40


def fill(apps, schema_editor):
    """Fill it."""
    apps.get_model("shop", "book").objects.update(note="none")


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("book", "note", models.CharField(max_length=SIZE, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
'''
FIELD = 'migrations.AddField("book", "note", models.CharField(max_length=SIZE, null=True)),'
SAME = {
    "comments and docstrings": FILE.replace("# by hand\n", "").replace('"""Fill it."""', '"""Fill all of it."""'),
    "formatting": FILE.replace(FIELD, FIELD.replace(", ", ",\n            ").replace('"', "'")),
    "imports": FILE.replace("import migrations, models", "import models as m, migrations as migrate")
    .replace("migrations.", "migrate.")
    .replace("models.CharField", "m.CharField")
    .replace("django.db.m.", "django.db.models."),
    "the order of keywords": FILE.replace("max_length=SIZE, null=True", "null=True, max_length=SIZE"),
    "names of arguments": FILE.replace('"book", "note", models', 'model_name="book", name="note", field=models'),
    "annotations": FILE.replace("(apps, schema_editor)", "(apps: object, schema_editor: object) -> None"),
    "what it depends on": FILE.replace('"0001_initial"', '"0001_squashed"'),
}
OTHER = {
    "a field": FILE.replace("SIZE, null", "80, null"),
    "a constant": FILE.replace("SIZE = 40", "SIZE = 80"),
    "a function": FILE.replace('note="none"', 'note="nothing"'),
    "an operation more": FILE.replace(FIELD, f'{FIELD}\n        migrations.RemoveField("book", "title"),'),
    "an operation less": FILE.replace(FIELD, ""),
    "the order of operations": FILE.replace(FIELD, "").replace("noop),", f"noop),\n        {FIELD}"),
}


def said(folder: Path, text: str) -> str:
    """The digest of a file."""
    path = folder / "edited.py"
    path.write_text(text)
    module: Any = ModuleType("edited")
    module.__file__ = str(path)
    sys.modules["edited"] = module
    try:
        exec(compile(text, path, "exec"), vars(module))
        return digest(module.Migration("0002_note", "shop"))
    finally:
        del sys.modules["edited"]


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_makes_no_difference(tmp_path, text):
    assert text != FILE
    assert is_same(said(tmp_path, FILE), said(tmp_path, text))


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_what_makes_one(tmp_path, text):
    assert text != FILE
    assert not is_same(said(tmp_path, FILE), said(tmp_path, text))


def test_another_django_may_spell_otherwise(tmp_path):
    before = said(tmp_path, FILE)
    version, spelled, source = before.split()
    assert len(before) <= 64
    assert is_same(f"4.2 {spelled[::-1]} {source}", before), "only the file counts"
    assert is_same(f"{version} {spelled} {source[::-1]}", before), "somebody wrote it in another way"
    assert not is_same(f"4.2 {spelled} {source[::-1]}", before)
    assert is_same(f"4.2 {spelled} -", before), "nobody knows"


# In a database.

BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=20)\n"
NOTED = BOOK + "    note = models.TextField(null=True)\n"
LOOK = """
import django
django.setup()
from django.db import connection
from safemigrations.inspecting.edited import edited
print(*edited(connection), sep="\\n", end="")
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """Two migrations that are applied: by the first migrate, and by a later one."""
    project.write("look.py", LOOK)
    for models in (BOOK, NOTED):
        project.write_models("shop", models)
        project.manage("makemigrations").check()
        project.manage("migrate").check()
    assert lines(project) == []
    return project


def lines(project: Project) -> list[str]:
    said, error, status = started.run(["look.py"], folder=project.folder, env=project._environment(), input="")
    assert (error, status) == ("", 0)
    return said.splitlines()


def edit(project: Project, name: str, old: str, new: str) -> None:
    text = project.read_migration("shop", name)
    assert old in text
    project.write_migration("shop", name, text.replace(old, new))


@pytest.mark.parametrize(
    ("number", "old", "new"), [(0, "max_length=20", "max_length=30"), (1, "TextField", "JSONField")]
)
def test_a_file_that_was_changed(shop, number, old, new):
    """Also one that the first migrate of the database applied."""
    name = shop.migration_files("shop")[number]
    edit(shop, name, old, new)
    (line,) = lines(shop)
    assert line.startswith(f"shop/migrations/{name}.py was changed since it was applied here on ")
    accept = f"python manage.py safemigrations accept shop {name}"
    assert line.endswith(
        f". Bring the file back, and write what it changes into a new migration. Where both come to the same: {accept}"
    )
    assert shop.manage(*accept.split()[2:]).check().stdout == f"Accepted: shop.{name}\n"
    assert lines(shop) == []
    edit(shop, name, new, old)
    assert len(lines(shop)) == 1, "what was accepted counts from now on"


def test_a_file_that_is_gone(shop):
    second = shop.migration_files("shop")[1]
    (shop.folder / f"shop/migrations/{second}.py").unlink()
    shop.write_models("shop", BOOK + "    pages = models.IntegerField(null=True)\n")
    shop.manage("makemigrations").check()
    shop.manage("migrate").check()
    (line,) = lines(shop)
    assert line.startswith(f"shop.{second} was applied here on ")
    assert "and its file is gone; no squash replaces it. Bring the file back." in line
    refused = shop.manage("safemigrations", "accept", "shop", second)
    assert refused.stderr == f"CommandError: This code has no file of shop.{second}, so there is nothing to accept.\n"


def test_an_old_release_doesnt_miss_what_a_newer_one_has(shop):
    """It was here before: its image runs once more."""
    _, second = shop.migration_files("shop")
    (shop.folder / f"shop/migrations/{second}.py").unlink()
    assert lines(shop) == []


def test_a_squash_replaces_files(shop):
    first, second = shop.migration_files("shop")
    shop.manage("squashmigrations", "shop", "0002", "--no-input").check()
    shop.manage("migrate").check()
    for name in (first, second):
        (shop.folder / f"shop/migrations/{name}.py").unlink()
    assert lines(shop) == []


def test_a_migration_that_was_applied_before_anybody_kept_digests(shop):
    shop.sql("UPDATE safemigrations_history SET digest = ''")
    edit(shop, shop.migration_files("shop")[0], "max_length=20", "max_length=30")
    assert lines(shop) == []


def test_a_migration_that_was_taken_back_can_be_ignored(shop):
    _, second = shop.migration_files("shop")
    shop.manage("migrate", "shop", "0001").check()
    edit(shop, second, "TextField", "JSONField")
    assert lines(shop) == []
    shop.manage("migrate").check()
    assert lines(shop) == []


def test_a_test_database_keeps_none(database):
    call_command("migrate", run_syncdb=True, stdout=StringIO())
    assert {entry.digest for entry in entries(database)} == {""}


@pytest.mark.parametrize("name", ["0003", "00"])
def test_what_can_not_be_accepted(shop, name):
    refused = shop.manage("safemigrations", "accept", "shop", name)
    many = 0 if name == "0003" else 2
    told = f"CommandError: {many} applied migrations of 'shop' begin with '{name}'. Write the whole name.\n"
    assert (refused.returncode, refused.stderr) == (1, told)
