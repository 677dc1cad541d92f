"""An exchange makes anew what a column has, as the new release needs it.

A contract that holds some of it as the old release needs it is named before anything is touched. makemigrations puts
the key before what points at it, so that neither waits.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import CreateModel
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ProjectState

from safemigrations.errors import StepFailed
from safemigrations.hooks.autodetector import SafeMigrationsMixin
from safemigrations.operations import (
    AddFieldConcurrently,
    AddFieldNullableThenBackfill,
    DeleteModelLater,
    ExpandAlterField,
    RemoveFieldLater,
)

from .project import Project
from .shop import KEY, Shop, book
from .snapshot import difference, snapshot

SMALL, BIG = models.AutoField(primary_key=True), models.BigAutoField(primary_key=True)
AUTHOR = CreateModel("Author", [("id", SMALL)])
WIDER_KEY = ExpandAlterField("author", "id", BIG)


def to_author(**options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey("shop.Author", models.CASCADE, **{"null": True, **options})


def number(book: Any) -> int:
    return len(book.title)


PAGES = AddFieldNullableThenBackfill("book", "pages", models.IntegerField(), backfill=number)
TAGGED = AddFieldConcurrently("book", "authors", models.ManyToManyField("shop.Author"))
OPEN = {
    "a new foreign key": (book(), AddFieldConcurrently("book", "author", to_author()), WIDER_KEY),
    "a new many-to-many field": (book(), TAGGED, WIDER_KEY),
    "a foreign key that goes": (book(("author", to_author())), RemoveFieldLater("book", "author"), WIDER_KEY),
    "a model that goes": (book(("author", to_author())), DeleteModelLater("book"), WIDER_KEY),
    "null that is still allowed": (book(), PAGES, ExpandAlterField("book", "pages", models.BigIntegerField())),
}


@pytest.mark.parametrize("what", OPEN)
def test_an_exchange_waits_for_the_contract_that_needs_what_it_makes_anew(database, what):
    model, before, exchange = OPEN[what]
    shop = Shop(database, AUTHOR, model)
    shop.migrate(before)
    there = snapshot(database)
    with pytest.raises(StepFailed, match=r"still belongs to the contract of shop\.0002 .* 0002 --contract --only"):
        shop.migrate(exchange)
    assert difference(there, snapshot(database)) == {}
    shop.contract()
    shop.migrate(exchange)
    shop.contract()


def test_two_operations_that_need_another_order_are_refused_before_the_first_is_run(database):
    """Written by hand, or before makemigrations knew the order."""
    shop = Shop(database, AUTHOR, book())
    there = snapshot(database)
    with pytest.raises(StepFailed, match="needs the key id of shop_author in its contract"):
        shop.migrate(AddFieldConcurrently("book", "author", to_author()), WIDER_KEY)
    assert difference(there, snapshot(database)) == {}


def test_a_foreign_key_that_comes_after_the_key_lets_go_and_becomes_djangos(database):
    shop = Shop(database, AUTHOR, book())
    shop.migrate(WIDER_KEY, AddFieldConcurrently("book", "author", to_author()))
    shop.execute("INSERT INTO shop_author DEFAULT VALUES; INSERT INTO shop_book (title, author_id) VALUES ('Emma', 1)")
    shop.execute("DELETE FROM shop_author")
    assert shop.execute("SELECT author_id FROM shop_book") == [None]
    shop.contract()
    (key,) = (text for text in shop.constraints().values() if text.startswith("FOREIGN KEY"))
    assert key == "FOREIGN KEY (author_id) REFERENCES shop_author(id) DEFERRABLE INITIALLY DEFERRED"
    shop.back()
    assert shop.columns("shop_author")["id"] == "integer NOT NULL"


# What makemigrations writes.


class Autodetector(SafeMigrationsMixin, MigrationAutodetector):
    pass


def state(*models_of_release: tuple[str, CreateModel]) -> ProjectState:
    made = ProjectState()
    for app_label, model in models_of_release:
        model.state_forwards(app_label, made)
    return made


def written(before: ProjectState, after: ProjectState) -> list[tuple[str, str]]:
    """App and operation, in the order in which they are applied."""
    detector = Autodetector(before, after, NonInteractiveMigrationQuestioner(specified_apps=set(), dry_run=True))
    found = detector._detect_changes()
    order = list[tuple[str, str]]()
    left = [migration for each in found.values() for migration in each]
    while left:
        for migration in left:
            if not {(one.app_label, one.name) for one in left} & set(migration.dependencies):
                left.remove(migration)
                order += [(migration.app_label, type(operation).__name__) for operation in migration.operations]
                break
    return order


def author(key: Any, *fields: tuple[str, Any]) -> tuple[str, CreateModel]:
    return "people", CreateModel("Author", [("id", key), *fields])


def novel(*fields: tuple[str, Any]) -> tuple[str, CreateModel]:
    return "shop", CreateModel("Novel", [KEY, *fields])


def to_people(**options: Any) -> Any:
    return models.ForeignKey("people.Author", models.CASCADE, **{"null": True, **options})


POINTING = {
    "a foreign key": novel(("author", to_people())),
    "one to one": novel(("author", models.OneToOneField("people.Author", models.CASCADE, null=True))),
    "many to many": novel(("authors", models.ManyToManyField("people.Author"))),
}


@pytest.mark.parametrize("what", POINTING)
def test_the_key_comes_before_what_points_at_it_in_another_app_too(what):
    found = written(state(author(SMALL), novel()), state(author(BIG), POINTING[what]))
    assert found == [("people", "ExpandAlterField"), ("shop", "AddFieldConcurrently")]


def test_a_new_model_comes_after_the_key_too():
    assert written(state(author(SMALL)), state(author(BIG), POINTING["a foreign key"]))[0] == (
        "people",
        "ExpandAlterField",
    )


def test_another_field_of_the_target_need_not_come_before():
    before = state(author(SMALL, ("age", models.IntegerField())), novel())
    after = state(author(SMALL, ("age", models.BigIntegerField())), POINTING["a foreign key"])
    assert sorted(written(before, after)) == [("people", "ExpandAlterField"), ("shop", "AddFieldConcurrently")]


def test_a_project_changes_the_key_and_points_at_it_in_one_release(tmp_path, dsn):
    key = "class Author(models.Model):\n    id = models.{}(primary_key=True)\n"
    novel = "class Novel(models.Model):\n    title = models.TextField()\n"
    project = Project(tmp_path, dsn)
    project.write_models("shop", key.format("AutoField") + novel)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.write_models(
        "shop",
        key.format("BigAutoField") + novel + "    author = models.ForeignKey(Author, models.CASCADE, null=True)\n",
    )
    project.manage("makemigrations").check()
    project.manage("check").check()
    project.manage("migrate").check()
    project.manage("migrate", "--contract", "--noinput").check()
    project.manage("makemigrations", "--check").check()
    assert project.sql("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == [(1,)]
