"""A backfill that is left for later: nothing takes from it what it needs, nor comes before its turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import models
from django.db.migrations import AddConstraint, AlterField, RemoveField, RenameField, RenameModel
from django.db.models import CheckConstraint, F, Q, Value
from django.db.models.functions import Concat

from safemigrations.errors import to_type
from safemigrations.operations import (
    AddFieldNullableThenBackfill,
    Backfill,
    ExpandAlterModelTable,
    ExpandRenameModel,
    SetNotNullLater,
)

from .attacks.deployment import Deployment, deployment
from .attacks.library import LATER, library
from .test_foreseeing import MODEL, NICKNAME, refused

RUN = to_type("safemigrations backfill run", None)
FIRST = (
    f"Nothing was changed. Fill these rows first: {to_type('migrate shop 0002_release', None)}, then: {RUN}. Then run "
    "the same command again. Where no other release is connected, as on a staging server, all of it is done in one "
    f"run: {to_type('migrate --catch-up', None)}"
)
COMING = "a backfill that shop.0002_release is going to leave for later (shop_book: fill note)"


@pytest.fixture
def books(dsn: str, tmp_path: Path) -> Iterator[Deployment]:
    """A library where a backfill that can wait is left for `backfill run`."""
    with deployment(tmp_path, dsn, **LATER) as made:
        yield library(made)


OF_NOTES = Backfill("book", {"note": F("author__name")}, where=Q(note=None), can_wait=True)
TAKEN = {  # by a later migration of the same run: what Django's own operations, and ours, take
    RenameField("author", "name", "full_name"): "column name of shop_author",
    AlterField("book", "note", models.TextField(null=True)): "column note of shop_book",
    RemoveField("book", "note"): "column note of shop_book",
    ExpandAlterModelTable("author", "writers"): "table shop_author",
    ExpandRenameModel("Book", "Tome"): "table shop_book",
}


def test_what_takes_from_a_backfill_that_the_same_run_would_leave_for_later(books):
    """Each on its own after the backfill, with a migration between them that has nothing to do with it."""
    books.write(OF_NOTES)
    books.write(NICKNAME)
    for operation, claim in TAKEN.items():
        names, states = books.names[:], books.states[:]
        (name,) = books.write(operation, stock=True)
        assert refused(books) == f"shop.{name} takes the {claim} from {COMING}. {FIRST}"
        (books.directory / books.package / f"{name}.py").unlink()
        books.names, books.states = names, states


@pytest.mark.parametrize("at_once", [False, True], ids=["as the message says", "with --catch-up"])
def test_the_ways_on_fill_each_row(books, at_once):
    for operation in (OF_NOTES, NICKNAME, MODEL):
        books.write(operation)
    assert books.migrate().refused
    if at_once:
        books.migrate(catch_up=True).check()
    else:
        books.migrate("0002_release").check()
        assert books.count("note IS NULL") == 80
        books.backfill("run").check()
        books.migrate().check()
    assert books.count("note IS NULL", "shop_volume") == 0
    assert books.count("note LIKE 'author %'", "shop_volume") == 80


def test_what_waits_for_the_contract_takes_nothing_from_a_backfill_of_the_same_run(books):
    """The column that it fills has another name by then, the table's other one goes, and the last row is filled."""
    books.write(OF_NOTES)
    for operation in (
        RenameField("book", "note", "remark"),
        AlterField("book", "title", models.TextField()),
        RemoveField("book", "code"),
        RenameField("author", "name", "full_name"),
    ):
        books.write(operation)
    books.migrate().check()
    assert books.count("note IS NULL") == 80
    assert "backfill" in books.contract().error
    books.backfill("run").check()
    books.contract().check()
    assert books.count("remark IS NULL") == 0
    assert books.count("remark LIKE 'author %'") == 80


def test_a_run_of_stock_operations_alone_is_asked_too(books):
    """What an earlier run left is known, whatever this one is made of."""
    books.deploy(OF_NOTES).check()
    books.write(NICKNAME)
    books.write(RenameModel("Author", "Writer"), stock=True)
    assert "The table shop_author is still needed by a backfill that isn't finished" in refused(books)


# Two that need the same.

READS_IT = Backfill("book", {"title": Concat(F("note"), Value("!"))}, where=~Q(title__endswith="!"))
ORDERED = {  # what needs that the backfill is finished -> how rows are when it was; 40 of them had a note
    READS_IT: "title = note || '!'",
    AddFieldNullableThenBackfill(
        "book", "label", models.CharField(max_length=90), backfill=Concat(F("note"), Value("?"))
    ): "label = note || '?'",
    SetNotNullLater("book", "note", models.CharField(max_length=40), backfill=Value("none")): "note <> 'none'",
    Backfill("author", {"name": Concat(Value("Dr "), F("name"))}, where=~Q(name__startswith="Dr")): (
        "note LIKE 'note %' OR note LIKE 'author %'"
    ),
}


def test_what_comes_after_a_backfill_finds_its_rows_filled(books):
    books.write(OF_NOTES)
    for operation in ORDERED:
        books.write(operation)
    for number, said in enumerate(refused(books).splitlines(), 3):
        assert said.startswith(f"shop.000{number}_release would fill rows (")
        assert said.endswith(f") before {COMING}, and one of the two needs what the other fills. {FIRST}")
    assert number == 2 + len(ORDERED)
    books.migrate("0002_release").check()
    assert refused(books).count("before a backfill that isn't finished (shop_book: fill note)") == len(ORDERED)
    books.backfill("run").check()
    books.migrate().check()
    books.contract().check()
    for right in ORDERED.values():
        assert books.count(right) == 120


def test_in_one_migration_the_first_is_not_left_where_another_needs_it(books):
    books.deploy(OF_NOTES, READS_IT).check()
    assert books.count(ORDERED[READS_IT]) == 120


def test_nor_where_somebody_s_own_code_comes_after_it(books):
    (name,) = books.write(OF_NOTES)
    file = books.directory / books.package / f"{name}.py"
    last = "        ),\n    ]\n"
    assert last in file.read_text()
    file.write_text(file.read_text().replace(last, "        ),\n        migrations.RunPython(print),\n    ]\n"))
    books.migrate().check()
    assert books.count("note IS NULL") == 0


AFTER = Backfill("book", {"title": Concat(F("note"), Value("!"))}, where=~Q(title__endswith="!"), can_wait=True)
REJECT = """
    CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this row''; END';
    CREATE TRIGGER reject BEFORE UPDATE OF note ON shop_book FOR EACH ROW WHEN (NEW.id = 95) EXECUTE FUNCTION reject()
"""


@pytest.mark.parametrize("run", ["one run", "several runs"])
def test_of_two_that_wait_the_second_waits_for_the_first(books, run):
    """Also where the first fails: of its rows the second would make something else."""
    books.write(OF_NOTES)
    books.write(AFTER)
    for target in ["0003_release"] if run == "one run" else ["0002_release", "0003_release"]:
        books.migrate(target).check()
    books.sql(REJECT)
    stopped = books.backfill("run")
    assert "number 1 comes first (shop_book: fill note)" in stopped.output
    assert "not this row" in stopped.error
    assert books.count("title LIKE '%!'") == 0
    books.sql("DROP FUNCTION reject() CASCADE")
    books.backfill("run").check()
    assert books.count("title = note || '!'") == 120


TOLD = Backfill("book", {"pages": F("pages") + 1}, where=Q(truth__gt=0), can_wait=True)


def test_one_that_fills_each_row_again_is_not_taken_for_the_one_before_it(books):
    """The same text in two migrations: each row is to be filled by both."""
    books.write(TOLD)
    books.write(TOLD)
    assert "would fill rows (shop_book: fill pages) before" in refused(books)
    for target in ("0002_release", "0003_release"):
        books.migrate(target).check()
        books.backfill("run").check()
    assert books.count("pages = truth + 2") == 120


# What looks at the rows.


def test_rows_that_are_left_are_looked_at_as_they_are(books):
    """The constraint would be refused when its turn had come, with half of the run applied."""
    books.write(OF_NOTES)
    books.write(AddConstraint("book", CheckConstraint(condition=Q(note__isnull=False), name="noted")))
    said = refused(books)
    assert "Such rows are filled by " + COMING in said
    books.migrate("0002_release").check()
    assert (
        f"Such rows are filled by a backfill that isn't finished (shop_book: fill note). Finish them with: {RUN}"
        in (refused(books))
    )
    books.backfill("run").check()
    books.migrate().check()
