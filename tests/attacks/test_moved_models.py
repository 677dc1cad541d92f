"""A model that moves to another app, and whatever else makes a contract drop what the running code still uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..project import Project, Result

AUTHOR = "class Author(models.Model):\n    name = models.CharField(max_length=40)\n\n\n"
BOOK = """class Book(models.Model):
    title = models.CharField(max_length=40)
    author = models.ForeignKey('shop.Author', models.CASCADE)
"""
META = "\n    class Meta:\n        db_table = '{}'\n\n\n"
LOAN = "class Loan(models.Model):\n    book = models.ForeignKey('{}.Book', models.CASCADE)\n\n\n"
TAGS = "    tags = models.ManyToManyField('shop.Author', related_name='+')\n"
FILL = """
    INSERT INTO shop_author (name) VALUES ('Jane');
    INSERT INTO shop_book (title, author_id) SELECT 'title ' || n, 1 FROM generate_series(1, 5) n
"""


@dataclass(frozen=True)
class Move:
    """The models of two apps before and after; where the books are then, and what else has rows."""

    name: str
    shop_before: str
    shop_after: str
    archive_after: str
    table: str = "archive_book"
    fill: str = ""
    also: str = "SELECT 0"

    def __str__(self) -> str:
        return self.name


MOVES = [
    Move("to a table of its own", AUTHOR + BOOK, AUTHOR, BOOK),
    Move("with its table", AUTHOR + BOOK, AUTHOR, BOOK + META.format("shop_book"), table="shop_book"),
    Move(
        "that others point at, with its table",
        AUTHOR + BOOK + "\n\n" + LOAN.format("shop"),
        AUTHOR + LOAN.format("archive"),
        BOOK + META.format("shop_book"),
        table="shop_book",
        fill="INSERT INTO shop_loan (book_id) SELECT id FROM shop_book",
        also="SELECT 5 - count(*) FROM shop_loan JOIN {table} b ON b.id = book_id",
    ),
    Move(
        "with a many-to-many field",
        AUTHOR + BOOK + TAGS,
        AUTHOR,
        BOOK + TAGS,
        fill="INSERT INTO shop_book_tags (book_id, author_id) SELECT id, 1 FROM shop_book",
        also="SELECT 5 - count(*) FROM {table}_tags",
    ),
]


def before(folder: Path, dsn: str, move: Move) -> Project:
    apps = ["django.contrib.contenttypes", "django.contrib.auth", "shop", "archive"]
    project = Project(folder, dsn, apps=["shop", "archive"])
    project.set(INSTALLED_APPS=["safemigrations", *apps])
    project.write_models("shop", move.shop_before)
    project.manage("makemigrations", "shop", "archive").check()
    project.manage("migrate").check()
    project.sql(FILL)
    if move.fill:
        project.sql(move.fill)
    return project


def after(project: Project, move: Move, *args: str, answers: str | None = None) -> Result:
    project.write_models("shop", move.shop_after)
    project.write_models("archive", move.archive_after)
    return project.manage("makemigrations", "shop", "archive", *args, input=answers)


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_a_model_that_moves_to_another_app_takes_its_rows_along(tmp_path, dsn, move: Move):
    project = before(tmp_path, dsn, move)
    ((old,),) = project.sql("SELECT id FROM django_content_type WHERE (app_label, model) = ('shop', 'book')")
    after(project, move, answers="y\n" * 5).check()
    project.manage("migrate").check()
    assert rows(project, "shop_book") == 5, "the old release's"
    assert rows(project, move.table) == 5, "the new release's"
    project.sql("INSERT INTO shop_book (title, author_id) VALUES ('of the old release', 1)")
    project.sql(f"INSERT INTO {move.table} (title, author_id) VALUES ('of the new release', 1)")
    project.migrate_and_contract()
    assert rows(project, move.table) == 7
    assert project.sql(move.also.format(table=move.table)) == [(0,)]
    assert project.sql("SELECT id FROM django_content_type WHERE (app_label, model) = ('archive', 'book')") == [(old,)]
    project.manage("makemigrations", "--check").check()


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_where_nobody_can_be_asked_no_row_is_lost(tmp_path, dsn, move: Move):
    """With --noinput it is refused, or taken for what it is."""
    project = before(tmp_path, dsn, move)
    if after(project, move, "--noinput").returncode:
        return
    project.manage("migrate").check()
    project.manage("migrate", "--contract")
    assert rows(project, move.table) == 5


@pytest.mark.parametrize("move", MOVES[1:2], ids=str)
def test_the_move_works_on_a_fresh_database(tmp_path, dsn, move: Move):
    project = before(tmp_path, dsn, move)
    after(project, move, answers="y\n" * 5).check()
    project.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    project.manage("migrate").check()
    assert rows(project, move.table) == 0
    assert rows(project, "pg_class WHERE relname ~ '^(shop|archive)_book$'") == 1
    project.manage("makemigrations", "--check").check()


# Apps that depend on each other.

SHELF = "class Shelf(models.Model):\n    author = models.ForeignKey('shop.Author', models.CASCADE, null=True)\n\n\n"
SEEN = "    shelf = models.ForeignKey('archive.Shelf', models.CASCADE, null=True)\n\n\n"
CHILD = "class Novel({app}.models.Book):\n    pages = models.IntegerField(default=1)\n\n\n"
PROXY = "class Old({app}.models.Book):\n    class Meta:\n        proxy = True\n\n\n"
LATER = "class Later(models.Model):\n    pass\n"
OF_OTHERS = "import {app}.models\n\n\n" + CHILD + PROXY + LOAN.replace("{}", "{app}") + LATER


@pytest.fixture
def three(tmp_path, dsn) -> Project:
    """Either app has keys to the other before the model moves, and a third one is built on the model."""
    project = Project(tmp_path, dsn, apps=["shop", "archive", "loans"])
    project.write_models("shop", AUTHOR + BOOK)
    project.write_models("archive", SHELF)
    project.write_models("loans", OF_OTHERS.format(app="shop"))
    project.manage("makemigrations").check()
    project.write_models("shop", AUTHOR + BOOK + SEEN)
    project.manage("makemigrations", "--name", "shelf").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_author (name) VALUES ('Jane')")
    project.sql("INSERT INTO shop_book (title, author_id) SELECT 'title ' || n, 1 FROM generate_series(1, 5) n")
    project.sql("INSERT INTO loans_loan (book_id) SELECT id FROM shop_book")
    project.write_models("shop", AUTHOR)
    project.write_models("archive", SHELF + BOOK + SEEN)
    project.write_models("loans", OF_OTHERS.format(app="archive"))
    project.manage("makemigrations", input="y\n").check()
    return project


def test_no_dependency_goes_round_in_a_circle(three):
    three.manage("check").check()
    three.manage("migrate").check()
    three.manage("makemigrations", "--check").check()
    three.sql("INSERT INTO shop_book (title, author_id) VALUES ('of the old release', 1)")
    assert three.manage("migrate", "--contract", "--noinput").check()
    assert rows(three, "archive_book") == 6
    assert rows(three, "loans_loan JOIN archive_book b ON b.id = book_id") == 5
    three.manage("safemigrations", "verify").check()
    three.manage("migrate", "archive", "0001").check()
    assert rows(three, "shop_book") == 6
    three.manage("migrate").check()


def test_a_new_database_ends_as_one_that_was_migrated(three):
    three.manage("migrate").check()
    three.manage("migrate", "--contract", "--noinput").check()
    migrated = catalog(three)
    three.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    three.manage("migrate").check()
    assert catalog(three) == migrated
    three.manage("makemigrations", "--check").check()


def catalog(project: Project) -> list[Any]:
    return project.sql(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text !~ '^safemig' ORDER BY 1, 2"
    )


def test_what_comes_after_the_move_is_ordered_after_it(three):
    """A new model of the old name in the old app, and a key of the third app to the one that moved."""
    three.manage("migrate").check()
    three.manage("migrate", "--contract", "--noinput").check()
    three.write_models("shop", AUTHOR + "class Book(models.Model):\n    isbn = models.IntegerField()\n")
    three.write_models(
        "loans", OF_OTHERS.format(app="archive") + "    book = models.ForeignKey('archive.Book', models.CASCADE)\n"
    )
    three.manage("makemigrations", "--name", "after", input="1\n1\n").check()
    three.manage("migrate").check()
    three.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    three.manage("migrate").check()
    three.manage("makemigrations", "--check").check()


def rows(project: Project, table: str) -> int:
    ((count,),) = project.sql(f"SELECT count(*) FROM {table}")
    return int(count)


# Whatever a person writes.

REPORT = """class Report(models.Model):
    title = models.CharField(max_length=40)

    class Meta:
        managed = {managed}
        db_table = 'shop_book'
"""


@dataclass(frozen=True)
class Taken:
    """What stands in the migration and the models then; is the model that still uses it one that Django manages?"""

    name: str
    operation: str
    models: str
    managed: bool = False

    def __str__(self) -> str:
        return self.name


TAKEN = [
    Taken("a table", "DeleteModelLater('Book')", AUTHOR),
    Taken("a table that another app took over", "DeleteModelLater('Book')", AUTHOR, managed=True),
    Taken("a column", "RemoveFieldLater('book', 'title')", AUTHOR + BOOK.replace("    title", "    # title")),
    Taken(
        "a column that was renamed",
        "ExpandRename('book', 'title', 'heading')",
        AUTHOR + BOOK.replace("title =", "heading ="),
    ),
    Taken(
        "a table that was renamed",
        "ExpandRenameModel('Book', 'Tome')",
        AUTHOR + BOOK.replace("class Book", "class Tome"),
    ),
    Taken(
        "a table that is called otherwise",
        "ExpandAlterModelTable('book', 'tomes')",
        AUTHOR + BOOK + META.format("tomes"),
    ),
]


@pytest.mark.parametrize("taken", TAKEN, ids=str)
def test_the_contract_never_drops_what_a_model_of_the_running_code_uses(tmp_path, dsn, taken: Taken):
    """Such as the model that took the table over in another app, or one for reports that isn't managed."""
    project = Project(tmp_path, dsn, apps=["shop", "reports"])
    project.write_models("shop", AUTHOR + BOOK)
    project.manage("makemigrations", "shop").check()
    project.write_migration("reports", "0001_initial", state_only(taken.managed))
    project.manage("migrate").check()
    project.sql(FILL)
    project.write_migration("shop", "0002_by_hand", by_hand(taken.operation))
    project.write_models("shop", taken.models)
    project.write_models("reports", REPORT.format(managed=taken.managed))
    project.manage("migrate").check()
    contracted = project.manage("migrate", "--contract")
    assert contracted.returncode, "it was dropped under reports.Report"
    assert "reports.Report" in contracted.stderr
    assert project.sql("SELECT count(title) FROM shop_book") == [(5,)]


def state_only(managed: bool) -> str:
    return f"""from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    dependencies = [('shop', '0001_initial')]
    operations = [migrations.SeparateDatabaseAndState(state_operations=[migrations.CreateModel('Report', [
        ('id', models.BigAutoField(primary_key=True)), ('title', models.CharField(max_length=40)),
    ], options={{'db_table': 'shop_book', 'managed': {managed}}})])]
"""


def by_hand(operation: str) -> str:
    return f"""from django.db import migrations
from safemigrations.operations import *
class Migration(migrations.Migration):
    atomic = False
    dependencies = [('shop', '0001_initial'), ('reports', '0001_initial')]
    operations = [{operation}]
"""
