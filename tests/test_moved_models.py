"""A model that moves to another app: makemigrations asks, and never writes that its rows are lost."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import models
from django.db.migrations import CreateModel
from django.db.migrations.state import ProjectState

from safemigrations.hooks.moved_models import moves

from .project import Project
from .shop import KEY

BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=40)\n    {} = models.IntegerField()\n\n\n"
ASKED = "Did the model shop.Book move to archive.Book?"
MOVED = "The model shop.Book moved to archive.Book"
MAKE = ("makemigrations", "shop", "archive")


@pytest.fixture
def project(tmp_path, dsn):
    made = Project(tmp_path, dsn, apps=["shop", "archive"])
    made.write_models("shop", BOOK.format("pages"))
    made.manage(*MAKE).check()
    made.write_models("shop", "")
    made.write_models("archive", BOOK.format("pages"))
    return made


def test_where_nobody_can_answer_it_has_moved(project):
    """No row is lost by that, and it is said."""
    written = project.manage(*MAKE, "--noinput").check()
    assert written.stderr == (
        f"{MOVED}. If it is another model: run makemigrations without --noinput and answer; or make two migrations, "
        "first without the old model, then with the new one.\n"
    )
    assert "MoveModelIn(\n            name='Book',\n            from_app='shop',\n        )" in project.read_migration(
        "archive", "0001_initial"
    )
    left = project.read_migration("shop", "0002_book_to_archive")
    assert "MoveModelOut(\n            name='Book',\n            to_app='archive',\n        )" in left
    assert "('archive', '0001_initial')" in left
    project.manage("makemigrations", "--check").check()


def test_the_answer_no_deletes_and_makes(project):
    assert f"{ASKED} [Y/n]" in project.manage(*MAKE, input="n\n").check().stdout
    assert "DeleteModelLater" in project.read_migration("shop", "0002_delete_book")
    assert "CreateModel" in project.read_migration("archive", "0001_initial")


def test_fields_that_differ_are_asked_about(project):
    project.write_models("archive", BOOK.format("length"))
    refused = project.manage(*MAKE, "--noinput")
    assert refused.stderr.startswith(f"CommandError: {ASKED} Its fields differ, and with --noinput nobody can answer")
    assert project.migration_files("shop") == ["0001_initial"]
    assert f"{ASKED} [y/N]" in project.manage(*MAKE, input="y\ny\n").check().stdout
    written = project.read_migration("archive", "0001_initial")
    assert written.index("MoveModelIn(") < written.index("ExpandRename(")


@pytest.mark.parametrize("apps", [("shop",), ("archive",)])
def test_both_apps_get_a_migration_or_none(project, apps):
    refused = project.manage("makemigrations", *apps, "--noinput")
    assert refused.stderr.endswith(
        f"CommandError: {MOVED}, so both apps get a migration. Type: python manage.py makemigrations archive shop\n"
    )
    shutil.rmtree(project.folder / "archive" / "migrations")
    unmigrated = project.manage("makemigrations", "--noinput")
    assert unmigrated.stderr.endswith(
        f"CommandError: {MOVED}, and archive has no migrations. Type: python manage.py makemigrations archive shop\n"
    )


IMPOSSIBLE = {
    "another schema": (
        'class Meta:\n        db_table = \'"library"."book"\'\n',
        [],
        "Django can't move a table into another schema.",
    ),
    "another database": (
        "pass",
        ["routers.Router"],
        "Your routers put the one into the database default, the other into other: no table moves between databases.",
    ),
}


@pytest.mark.parametrize("why", IMPOSSIBLE)
def test_what_cannot_move_is_refused(project, why):
    more, routers, said = IMPOSSIBLE[why]
    default = project.settings["DATABASES"]["default"]
    project.write("routers.py", ROUTER)
    project.write_models("archive", BOOK.format("pages").rstrip() + f"\n\n    {more}")
    project.set(DATABASES={"default": default, "other": default}, DATABASE_ROUTERS=routers)
    refused = project.manage(*MAKE, input="y\n")
    assert f"CommandError: {MOVED}, which makemigrations can't write. {said}" in refused.stderr
    assert project.migration_files("shop") == ["0001_initial"]


ROUTER = """class Router:
    def allow_migrate(self, db, app_label, **hints):
        return db == ("other" if app_label == "archive" else "default")
"""


def state(app_label: str, name: str, *more: str, **options: Any) -> ProjectState:
    made = ProjectState()
    fields: list[tuple[str, models.Field[Any, Any]]] = [KEY, *((name, models.TextField()) for name in ("title", *more))]
    CreateModel(name, fields, options).state_forwards(app_label, made)
    return made


def test_a_model_of_the_same_name_and_fields_may_have_moved():
    (move,) = moves(state("shop", "Book"), state("archive", "book"))
    assert (move.question, move.is_certain) == ("Did the model shop.Book move to archive.book?", True)
    (move,) = moves(state("shop", "Book"), state("archive", "Book", "pages"))
    assert not move.is_certain


def test_others_have_not():
    assert not [*moves(state("shop", "Book"), state("archive", "Novel"))]
    assert not [*moves(state("shop", "Book"), state("archive", "Book", "pages", "author"))]
    assert not [*moves(state("shop", "Book", managed=False), state("archive", "Book"))]
    assert not [*moves(state("shop", "Book"), state("shop", "Book"))]


NOVEL = BOOK.replace("Book", "Volume").format("pages")
RENAMED = "Did the model shop.Book move to archive.Volume, under another name?"
IN_TWO = "let one release move it, as archive.Book, and the next one rename it: makemigrations writes each of the two"


def test_a_model_that_moves_and_is_renamed_takes_two_releases(project):
    project.write_models("archive", NOVEL)
    refused = project.manage(*MAKE, "--noinput")
    assert refused.stderr.startswith(f"CommandError: {RENAMED} It has the same fields, and with --noinput nobody")
    assert f"If it did, {IN_TWO}. If it is another model:" in refused.stderr
    refused = project.manage(*MAKE, input="y\n")
    assert f"{RENAMED} [y/N]" in refused.stdout
    assert f"moved to archive.Volume under another name, which takes two releases: {IN_TWO}.\n" in refused.stderr
    assert project.migration_files("shop") == ["0001_initial"]
    project.manage(*MAKE, input="n\n").check()
    assert "DeleteModelLater" in project.read_migration("shop", "0002_delete_book")


def test_in_two_releases_it_moves_and_is_renamed(project):
    project.manage("migrate").check()  # with what the release before wrote alone
    project.sql("INSERT INTO shop_book (title, pages) VALUES ('Emma', 3)")
    project.manage(*MAKE, input="y\n").check()
    project.migrate_and_contract()
    project.write_models("archive", NOVEL)
    project.manage(*MAKE, input="y\n").check()
    project.migrate_and_contract()
    assert project.sql("SELECT title, pages FROM archive_volume") == [("Emma", 3)]


WITHOUT_TABLE = {
    "a proxy": (
        f"{BOOK.format('pages')}class Old(Book):\n    class Meta:\n        proxy = True\n",
        BOOK.format("pages"),
        "from shop.models import Book\n\n\nclass Old(Book):\n    class Meta:\n        proxy = True\n",
    ),
    "a proxy, with its model": (
        f"{BOOK.format('pages')}class Old(Book):\n    class Meta:\n        proxy = True\n",
        "",
        f"{BOOK.format('pages')}class Old(Book):\n    class Meta:\n        proxy = True\n",
    ),
    "an unmanaged model": (
        "class Old(models.Model):\n    class Meta:\n        managed = False\n",
        "",
        "class Old(models.Model):\n    class Meta:\n        managed = False\n",
    ),
}
PERMITTED = """SELECT app_label FROM auth_group_permissions JOIN auth_permission p ON p.id = permission_id
    JOIN django_content_type c ON c.id = content_type_id WHERE codename = 'change_old' ORDER BY 1"""
GRANT = """INSERT INTO auth_group (name) VALUES ('editors');
    INSERT INTO auth_group_permissions (group_id, permission_id)
    SELECT auth_group.id, auth_permission.id FROM auth_group, auth_permission WHERE codename = 'change_old'"""


@pytest.mark.parametrize("kind", WITHOUT_TABLE)
def test_who_may_do_something_with_a_model_without_a_table_still_may(tmp_path, dsn, kind):
    """Its permissions hold for both releases, and for the new one alone after the contract."""
    before, left, there = WITHOUT_TABLE[kind]
    apps = ["django.contrib.contenttypes", "django.contrib.auth", "shop", "archive"]
    project = Project(tmp_path, dsn, apps=["shop", "archive"])
    project.set(INSTALLED_APPS=["safemigrations", *apps])
    project.write_models("shop", before)
    project.manage(*MAKE).check()
    project.manage("migrate").check()
    project.sql(GRANT)
    project.write_models("shop", left)
    project.write_models("archive", there)
    assert "The model shop.Old moved to archive.Old." in project.manage(*MAKE, "--noinput").check().stderr
    project.manage("migrate").check()
    assert project.sql(PERMITTED) == [("archive",), ("shop",)]
    project.manage("migrate", "--contract", "--noinput").check()
    assert project.sql(PERMITTED) == [("archive",)]
    project.manage("migrate", "archive", "zero").check()
    assert project.sql(PERMITTED) == [("shop",)]


def test_a_model_without_a_table_moves_to_an_app_without_migrations_as_ever(project):
    """Nothing can be written there, and no row is lost."""
    project.write_models("shop", WITHOUT_TABLE["an unmanaged model"][0] + "\n\n" + BOOK.format("pages"))
    project.write_models("archive", "")
    project.manage(*MAKE).check()
    shutil.rmtree(project.folder / "archive" / "migrations")
    project.write_models("shop", BOOK.format("pages"))
    project.write_models("archive", WITHOUT_TABLE["an unmanaged model"][0])
    written = project.manage("makemigrations", "--noinput").check()
    assert "moved" not in written.stderr
    assert "0003_delete_old" in project.migration_files("shop")


def test_a_model_that_a_setting_names_stays():
    """Migrations that are there point at its new place by AUTH_USER_MODEL."""
    before = state("shop", "Book")
    loan = CreateModel("Loan", [KEY, ("book", models.ForeignKey("archive.Book", models.CASCADE))])
    loan.state_forwards("shop", before)
    (move,) = moves(before, state("archive", "Book"))
    with pytest.raises(CommandError, match="A setting, such as AUTH_USER_MODEL, lets migrations that are there point"):
        move.refuse_impossible(None)
