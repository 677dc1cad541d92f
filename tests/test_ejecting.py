"""`safemigrations eject`: Django's own operations again, and a project that needs nothing of ours."""

from __future__ import annotations

from typing import Any

import pytest

from safemigrations.checking.history import History
from safemigrations.operations import MoveModelIn
from safemigrations.operations.base import Change
from safemigrations.operations.written import written
from safemigrations.rewriting import changes, leaving
from safemigrations.running.own_tables import ALL

from .cases import CASES, Case, base, ours
from .project import Project, Result
from .releases import installed, write
from .representatives import representatives
from .snapshot import snapshot

FIRST = """
class Book(models.Model):
    title = models.CharField(max_length=100)
    note = models.TextField(null=True)
"""
SECOND = """
class Book(models.Model):
    name = models.CharField(max_length=100)
    note = models.TextField(default="")
    pages = models.IntegerField(default=0, db_index=True)
"""
# Pages and notes that are filled twice, by an expression and by a function.
FILLED = """\
from django.db import migrations
from django.db.models import F, Q
from django.db.models.functions import Length
from safemigrations.operations import *


def shout(book):
    return {"note": f"{book.name}!"}


# Notes are for readers.
class Migration(migrations.Migration):
    atomic = False  # fills rows in batches

    dependencies = [("shop", "%s")]

    operations = [
        # how long it is
        Backfill("book", set={"pages": Length("name") + F("id"), "note": "short"}, where=Q(pages=0)),
        Backfill("book", shout, elidable=True),
    ]
"""


@pytest.fixture
def changed(project: Project) -> Project:
    """A release that renames, adds and forbids null, expanded and not contracted; then one that fills."""
    project.fresh = True
    project.set(SAFEMIGRATIONS={"CHECK_APPS": ["shop"]})
    project.write_models("shop", FIRST)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_book (title) VALUES ('Emma')")
    project.write_models("shop", SECOND)
    project.manage("makemigrations", "shop", "--name", "name", input="y\n").check()
    project.manage("migrate").check()
    return project


def eject(project: Project, *options: str) -> Result:
    return project.manage("safemigrations", "eject", *options)


def test_a_contract_that_is_open_keeps_its_migration(changed):
    refused = eject(changed)
    assert refused.returncode == 1
    assert 'shop.0002_name stays as it is: its contract isn\'t done in the database "default" (' in refused.stderr
    assert refused.stdout == ""
    assert "ExpandRename" in changed.read_migration("shop", "0002_name")


def test_a_migration_that_is_not_applied_stays(changed):
    changed.manage("migrate", "--contract", "--noinput").check()
    changed.write_migration("shop", "0003_fill", FILLED % "0002_name")
    refused = eject(changed)
    assert 'shop.0003_fill stays as it is: it isn\'t applied in the database "default": python manage.py migrate' in (
        refused.stderr
    )
    assert "migrations.RenameField" in changed.read_migration("shop", "0002_name")


def test_a_database_that_does_not_answer_changes_nothing(changed):
    nowhere = {**changed.settings["DATABASES"]["default"], "NAME": "nowhere"}
    changed.set(DATABASES={"default": nowhere})
    assert "Nothing was changed. Run this where its databases can be reached." in eject(changed).stderr
    assert "ExpandRename" in changed.read_migration("shop", "0002_name")


def test_afterwards_django_alone_does_it(changed, database):
    changed.write_migration("shop", "0003_fill", FILLED % "0002_name")
    changed.migrate_and_contract()
    end, rows = snapshot(database), changed.sql("SELECT * FROM shop_book")
    diff = eject(changed, "--diff").check().stdout
    assert "+        migrations.RenameField(" in diff
    assert "ExpandRename" in changed.read_migration("shop", "0002_name")
    said = eject(changed).check().stdout
    assert said == (
        "Wrote shop/migrations/0002_name.py\nWrote shop/migrations/0003_fill.py\n"
        "Next: take safemigrations out of INSTALLED_APPS, and SAFEMIGRATIONS out of the settings. When no server and "
        f"no pipeline\nruns the code from before, its tables may go: DROP TABLE IF EXISTS {', '.join(ALL)};\n"
    )
    assert eject(changed).check().stdout.startswith("No migration has an operation of safemigrations.\nNext: ")
    changed.set(INSTALLED_APPS=["shop"], SAFEMIGRATIONS={})
    for name in changed.migration_files("shop"):
        assert "safemigrations.operations" not in changed.read_migration("shop", name)
    changed.manage("makemigrations", "--check").check()
    assert "No migrations to apply." in changed.manage("migrate").check().stdout
    ours = [name for (name,) in changed.sql("SELECT tablename FROM pg_tables WHERE tablename LIKE 'safemig%'")]
    assert set(ours) <= set(ALL)
    changed.sql(f"DROP TABLE IF EXISTS {', '.join(ALL)}")
    assert changed.sql("SELECT * FROM shop_book") == rows
    changed.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    changed.manage("migrate").check()
    for kind in ("columns", "indexes", "constraints"):
        kept = {name: what for name, what in end[kind].items() if "safemig" not in str(name)}
        assert snapshot(database)[kind] == kept


EJECTED = """\
from django.db import migrations
from django.db.models import F, Q, Value
from django.db.models.functions import Length


def shout(book):
    return {"note": f"{book.name}!"}


def fill_book(apps, schema_editor):
    rows = apps.get_model('shop', 'book')._base_manager.using(schema_editor.connection.alias)
    fields = {name: rows.model._meta.get_field(name) for name in ['pages', 'note']}
    given = {"pages": Length("name") + F("id"), "note": "short"}
    values = {
        f"new_{name}": value if hasattr(value, "resolve_expression") else Value(value, fields[name])
        for name, value in given.items()
    }
    for row in rows.filter(Q(pages=0)).annotate(**values).iterator():
        for name, field in fields.items():
            setattr(row, field.attname, getattr(row, f"new_{name}"))
        row.save(using=rows.db, update_fields=list(fields))


def fill_book_1(apps, schema_editor):
    rows = apps.get_model('shop', 'book')._base_manager.using(schema_editor.connection.alias)
    for row in rows.iterator():
        values = shout(row) or {}
        for name, value in values.items():
            setattr(row, name, value)
        row.save(using=rows.db, update_fields=list(values))


# Notes are for readers.
class Migration(migrations.Migration):
    atomic = False  # fills rows in batches

    dependencies = [("shop", "0002_name")]

    operations = [
        # how long it is
        migrations.RunPython(fill_book, migrations.RunPython.noop),
        migrations.RunPython(fill_book_1, migrations.RunPython.noop, elidable=True),
    ]
"""


def test_a_backfill_becomes_a_function_that_fills(changed):
    changed.manage("migrate", "--contract", "--noinput").check()
    changed.write_migration("shop", "0003_fill", FILLED % "0002_name")
    changed.manage("migrate", "shop").check()
    eject(changed).check()
    assert changed.read_migration("shop", "0003_fill") == EJECTED
    changed.manage("migrate", "shop", "0002").check()
    changed.sql("UPDATE shop_book SET pages = 0, note = ''")
    changed.set(INSTALLED_APPS=["shop"], SAFEMIGRATIONS={})
    changed.manage("migrate").check()
    assert changed.sql("SELECT name, pages, note FROM shop_book") == [("Emma", 5, "Emma!")]


def _classes(case: Case) -> set[type[Any]]:
    return {type(each) for each in case.operations}


PAPERBACK = """
class Paperback({0}):
    class Meta:
        proxy = True
"""
CHAPTER = """
class Chapter(models.Model):
    {0} = models.ForeignKey(Book, models.CASCADE)

    class Meta:
        order_with_respect_to = "{0}"
"""


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        (FIRST + PAPERBACK.format("Book"), (FIRST + PAPERBACK).replace("Book", "Volume").format("Volume"), "Paperback"),
        (FIRST + CHAPTER.format("book"), FIRST + CHAPTER.format("volume"), "Chapter"),
    ],
    ids=["bases", "order_with_respect_to"],
)
def test_what_django_renames_by_half_stays(project, before, after, stays):
    """Of what its RenameModel and RenameField leave, nobody can make a class."""
    project.write_models("shop", before)
    project.manage("makemigrations", "shop").check()
    project.write_models("shop", after)
    project.manage("makemigrations", "shop", "--name", "volume", input="y\n" * 2).check()
    project.migrate_and_contract()
    text = project.read_migration("shop", "0002_volume")
    assert "shop.0002_volume stays as it is: Django's Rename" in (refused := eject(project)).stderr
    assert f" leaves the old name in {stays}, and then can't make its class." in refused.stderr
    assert project.read_migration("shop", "0002_volume") == text


# Django has no operation that moves a model to another app.
SAID_BY_DJANGO = [case for case in CASES if not any(isinstance(each, MoveModelIn) for each in case.operations)]


@pytest.mark.parametrize("case", representatives(_classes, SAID_BY_DJANGO), ids=str)
def test_each_change_becomes_djangos_operation(case: Case, tmp_path, monkeypatch):
    monkeypatch.setattr(leaving, "_databases", lambda: iter(()))
    release = ours(case)
    with installed(tmp_path, package := write(tmp_path, [base(), *release])):
        made = leaving.leaving([])
        for fix in made.made:
            changes.write(fix.files)
        history = History()
        on_disk = [history.migration(key) for key in history.order if key[0] == "shop" and key[1] != base().name]
        assert [list(map(written, one.operations)) for one in on_disk] == [
            [written(_stock(each)) for each in one.operations] for one in release
        ]
        assert not any("safemigrations.op" in path.read_text() for path in (tmp_path / package).glob("0002*"))
        assert made.refused == leaving.leaving([]).made == []


def _stock(operation: Any) -> Any:
    return operation.stock if isinstance(operation, Change) else operation
