"""A model that moves to another app: makemigrations asks, and never writes that its rows are lost."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import CreateModel
from django.db.migrations.state import ProjectState

from safemigrations.hooks.moved_models import moves

from .project import Project
from .shop import KEY

BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=40)\n"
ASKED = "Did the model shop.Book move to archive.Book?"


@pytest.fixture
def project(tmp_path, dsn):
    made = Project(tmp_path, dsn, apps=["shop", "archive"])
    made.write_models("shop", BOOK)
    made.manage("makemigrations", "shop", "archive").check()
    made.write_models("shop", "")
    made.write_models("archive", BOOK)
    return made


def test_where_nobody_can_answer_nothing_is_written(project):
    refused = project.manage("makemigrations", "shop", "archive", "--noinput")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"CommandError: {ASKED} With --noinput nobody can answer")
    assert project.migration_files("shop") == ["0001_initial"]


def test_the_answer_yes_says_how_it_is_written(project):
    refused = project.manage("makemigrations", "shop", "archive", input="y\n")
    assert f"{ASKED} [y/N]" in refused.stdout
    assert refused.stderr == (
        "CommandError: makemigrations can't write how shop.Book moves to archive.Book. Write it by hand, so that the "
        "table stays and each app changes its state alone: see docs/delete_model.md, A model that moves to another "
        "app.\n"
    )


def test_the_answer_no_deletes_and_makes(project):
    project.manage("makemigrations", "shop", "archive", input="n\n").check()
    assert "DeleteModelLater" in project.read_migration("shop", "0002_delete_book")
    assert project.migration_files("archive") == ["0001_initial"]


def state(app_label: str, name: str, **options: Any) -> ProjectState:
    made = ProjectState()
    CreateModel(name, [KEY, ("title", models.TextField())], options).state_forwards(app_label, made)
    return made


def test_a_model_of_the_same_name_and_fields_may_have_moved():
    (move,) = moves(state("shop", "Book"), state("archive", "book"))
    assert (move.old, move.new) == ("shop.Book", "archive.book")


def test_others_have_not():
    assert not [*moves(state("shop", "Book"), state("archive", "Novel"))]
    assert not [*moves(state("shop", "Book", managed=False), state("archive", "Book"))]
    assert not [*moves(state("shop", "Book"), state("shop", "Book"))]
