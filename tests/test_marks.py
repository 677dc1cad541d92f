"""Release marks: what the code has on disk, and what its sessions carry."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.test import override_settings

from safemigrations.contracts import on_disk
from safemigrations.contracts.marks import mark_in, mark_of, marked, name_without
from safemigrations.contracts.releases import names_known
from safemigrations.contracts.sessions import look
from tests.project import Project

SQUASH = """from django.db import migrations


class Migration(migrations.Migration):

    replaces = [
        ("shop", "0001_initial"),
        # ('shop', '0009_not_this'),
        ('shop', '0002_note'),
    ]

    dependencies = [("other", "0001_initial")]
    operations = []
"""
PLAIN = "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    operations = []\n"


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def read(tmp_path, monkeypatch):
    """What is read of the migrations of contenttypes, which are in a package that the test names."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def read(package: str | None, *, thorough: bool = False):
        modules = {"contenttypes": package}
        with override_settings(INSTALLED_APPS=["django.contrib.contenttypes"], MIGRATION_MODULES=modules):
            before = set(sys.modules)
            found = on_disk.read(thorough=thorough)
            imported = set(sys.modules) - before
            assert not imported, "Nothing is imported."
        return {name for _, name in found.names}, found.unread

    return read


def test_the_names_are_those_of_djangos_loader():
    assert on_disk.read(thorough=True) == on_disk.OnDisk(names_known(), ())
    assert on_disk.read(thorough=False).names <= names_known()


def test_what_a_squash_replaces_is_on_disk_too(tmp_path, read):
    write(tmp_path / "kept", **{"0001_squashed_0002_note": SQUASH, "0003_size": PLAIN})
    names = {"0001_squashed_0002_note", "0001_initial", "0002_note", "0003_size"}
    assert read("kept") == (names, ())


@pytest.mark.parametrize(
    "beside",
    [
        {"0001_initial": PLAIN, "0002_note": PLAIN},
        {"0003_size": PLAIN},
        {},
    ],
    ids=["both", "pruned", "alone"],
)
def test_a_squash_with_a_name_of_its_own_is_found(tmp_path, read, beside):
    write(tmp_path / "kept", **{"0001_all": SQUASH, **beside})
    assert read("kept") == ({"0001_all", "0001_initial", "0002_note", *beside}, ())


def test_a_migration_that_replaces_others_without_looking_like_it_is_found_when_all_are_read(tmp_path, read):
    write(tmp_path / "kept", **{"0001_all": SQUASH, "0002_size": PLAIN})
    assert read("kept", thorough=True)[0] == {"0001_all", "0002_size", "0001_initial", "0002_note"}


def test_packages_around_the_migrations_are_not_imported(tmp_path, read):
    for package in (tmp_path / "deep", tmp_path / "deep" / "down"):
        write(package, broken="raise AssertionError")
        (package / "__init__.py").write_text("raise AssertionError")
    write(tmp_path / "deep" / "down" / "kept", **{"0001_initial": "raise AssertionError"})
    assert read("deep.down.kept") == ({"0001_initial"}, ())


def test_a_zip_file_is_read(tmp_path, read, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("kept/__init__.py", "")
        archive.writestr("kept/0001_squashed_0002_note.py", SQUASH)
    monkeypatch.syspath_prepend(str(tmp_path / "all.zip"))
    assert read("kept") == ({"0001_squashed_0002_note", "0001_initial", "0002_note"}, ())


def test_what_can_not_be_read_is_named(tmp_path, read):
    computed = SQUASH.replace("replaces = [", "replaces = names() + [")
    kept = write(tmp_path / "kept", **{"0001_squashed_0002_note": computed, "0003_squashed": ""})
    (kept / "0003_squashed.py").rename(kept / "0003_squashed.pyc")
    assert read("kept") == (
        {"0001_squashed_0002_note", "0003_squashed"},
        ("kept.0001_squashed_0002_note", "kept.0003_squashed"),
    )


def test_what_django_takes_for_no_migrations_is_none(tmp_path, read):
    write(tmp_path / "kept", **{"0001_initial": PLAIN, "_helper": "", "~draft": ""})
    write(tmp_path / "kept" / "0002_folder")
    (tmp_path / "kept" / "notes.txt").touch()
    assert read("kept") == ({"0001_initial"}, ())
    (tmp_path / "kept" / "__init__.py").unlink()
    assert read("kept") == (set(), ())
    assert read("missing.kept") == (set(), ())
    assert read(None) == (set(), ())


def test_a_mark_stands_for_the_names_alone():
    names = {("shop", "0001_initial"), ("shop", "0002_note")}
    assert mark_of(names) == mark_of(sorted(names)) == "65fe5a0f"
    assert mark_of(names) != mark_of({("shop", "0001_initial")})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "safemig:0123abcd"),
        ("web", "web safemig:0123abcd"),
        ("web safemig:fffffff0", "web safemig:0123abcd"),
        ("w" * 70, "w" * 46 + " safemig:0123abcd"),
        ("é" * 40, "é" * 5 + " safemig:0123abcd"),
    ],
)
def test_an_application_name_keeps_its_mark_whole(name, expected, other_connection):
    assert marked(name, "0123abcd") == expected
    other_connection.execute("SELECT set_config('application_name', %s, false)", [expected])
    (shown,) = other_connection.execute("SHOW application_name").fetchone()
    assert mark_in(shown) == "0123abcd"


@pytest.mark.parametrize(
    ("name", "mark"),
    [("web safemig:0123abcd - 10.0.0.3:4711", "0123abcd"), ("safemig:0123abcdef", None), ("psql", None), (None, None)],
)
def test_a_mark_is_read_from_what_a_session_is_called(name, mark):
    assert mark_in(name) == mark


@pytest.fixture
def libpq(tmp_path, monkeypatch):
    """The environment of libpq, in which a service file names the application "serving": the first line counts."""
    service = tmp_path / "services"
    service.write_text(
        "# ours\n[shop]\nhost=nowhere.invalid\napplication_name=serving\napplication_name=late\n[other]\nport=1\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "options", "name"),
    [
        ({}, {}, ""),
        ({}, {"application_name": "web", "service": "shop"}, "web"),
        ({"PGAPPNAME": "worker"}, {}, "worker"),
        ({"PGAPPNAME": "worker"}, {"service": "shop"}, "serving"),
        ({"PGAPPNAME": "worker", "PGSERVICE": "shop"}, {}, "serving"),
        ({"PGAPPNAME": "worker"}, {"service": "other"}, "worker"),
        ({}, {"fallback_application_name": "django"}, "django"),
        ({"PGAPPNAME": "worker"}, {"fallback_application_name": "django"}, "worker"),
    ],
)
def test_the_name_is_the_one_that_libpq_would_take(libpq, environment, options, name):
    for variable, value in environment.items():
        libpq.setenv(variable, value)
    assert name_without(options) == name
    if "service" not in options:  # psycopg shows what libpq takes, but for a service that only a call names
        defaults = {option.keyword: option.val for option in psycopg.pq.Conninfo.get_defaults()}
        taken = defaults[b"application_name"] or str(options.get("fallback_application_name", "")).encode()
        assert taken == name.encode()


@pytest.mark.parametrize("options", ["-c application_name=web", "-capplication_name=web", "--application-name=web"])
def test_a_name_among_the_options_of_the_server_is_kept(options):
    assert name_without({"options": f"-c search_path=x {options}"}) == "web"


def test_a_role_without_any_privilege_reads_the_marks_of_others(database, other_connection):
    other_connection.execute("SELECT set_config('application_name', 'web safemig:0123abcd', false)")
    role = f"onlooker_{uuid4().hex}"
    with database.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        try:
            cursor.execute(f"SET ROLE {role}")
            (seen,) = [one for one in look(database) if one.mark == "0123abcd"]
        finally:
            cursor.execute(f"RESET ROLE; DROP ROLE {role}")
    assert (seen.name, seen.state, seen.connected) == ("web", "", None), "It may not see what that session does."


ASK = """
from django.core.management.base import BaseCommand
from django.db import connections


class Command(BaseCommand):
    def handle(self, **options):
        for alias in connections:
            with connections[alias].cursor() as cursor:
                cursor.execute("SHOW application_name")
                print(alias, *cursor.fetchone())
"""


@pytest.fixture
def asking(tmp_path, dsn):
    """A project with a command that prints the name of each database's session."""
    project = Project(tmp_path, dsn, databases={"other": dsn})
    project.write("shop/management/__init__.py", "")
    project.write("shop/management/commands/__init__.py", "")
    project.write("shop/management/commands/ask.py", ASK)
    project.write_migration("shop", "0001_initial", PLAIN)
    return project


OWN = mark_of({("shop", "0001_initial")})


def test_every_session_carries_the_mark(asking):
    databases = asking.settings["DATABASES"]
    databases["other"] = {**databases["other"], "OPTIONS": {"application_name": "reports"}}
    asking.set(DATABASES=databases)
    assert asking.manage("ask").check().lines == [
        f"default safemig:{OWN}",
        f"other reports safemig:{OWN}",
    ]


def test_a_backend_that_inherits_from_djangos_carries_the_mark(asking):
    asking.write("own/__init__.py", "")
    asking.write("own/base.py", "from django.db.backends.postgresql.base import *\n")
    default = {**asking.settings["DATABASES"]["default"], "ENGINE": "own"}
    asking.set(DATABASES={"default": default})
    assert asking.manage("ask").check().lines == [f"default safemig:{OWN}"]


@pytest.mark.parametrize(("marks", "shown"), [(False, ["default ", "other "]), ("yes", ["default ", "other "])])
def test_the_setting_switches_marks_off_and_a_wrong_one_is_left_to_the_checks(asking, marks, shown):
    asking.set(SAFEMIGRATIONS={"MARKS": marks})
    assert asking.manage("ask", "--skip-checks").check().lines == shown


def test_the_name_of_the_environment_is_kept(asking, monkeypatch):
    monkeypatch.setenv("PGAPPNAME", "worker")
    assert asking.manage("ask").check().lines == [f"{alias} worker safemig:{OWN}" for alias in ("default", "other")]


def test_connections_of_a_pool_carry_the_mark(asking):
    default = {**asking.settings["DATABASES"]["default"], "OPTIONS": {"pool": True, "application_name": "web"}}
    asking.set(DATABASES={"default": default})
    assert asking.manage("ask").check().lines == [f"default web safemig:{OWN}"]


def test_migrate_notes_its_release(asking):
    noted = "SELECT label, mark, migrations, tables FROM safemigrations_release ORDER BY id"
    asking.write_models("shop", "class Book(models.Model): ...")
    asking.set(SAFEMIGRATIONS={"RELEASE": "v1"})
    asking.manage("migrate").check()
    first: tuple[object, ...] = ("v1", OWN, {"shop": ["0001_initial"]}, ["shop_book"])
    assert asking.sql(noted) == [first]
    asking.write_migration("shop", "0001_squashed_0002_note", SQUASH.replace("other", "contenttypes"))
    asking.set(
        SAFEMIGRATIONS={"RELEASE": "v2"}, INSTALLED_APPS=["safemigrations", "django.contrib.contenttypes", "shop"]
    )
    asking.manage("migrate", "--plan").check()
    assert asking.sql(noted) == [first]
    asking.manage("migrate").check()
    again, (label, _, names, tables) = asking.sql(noted)
    assert again == first
    assert label == "v2"
    assert names["shop"] == ["0001_initial", "0001_squashed_0002_note", "0002_note"]
    assert tables == ["django_content_type", "shop_book"]
