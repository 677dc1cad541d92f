"""What is going to stop a run is found before its first step, for all of its migrations."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddField, AlterField, RemoveConstraint, RunPython
from django.db.models import F, Q, Value

from safemigrations.operations import Backfill

from .attacks.deployment import Deployment, deployment
from .attacks.library import COMPUTED, RENAMED, UNIQUE, library

SAME = "UPDATE shop_book SET code = 'same' WHERE id < 3"
DUPLICATES = (
    "shop.Book: several rows have the same (code): same. Nothing was changed. Remove the duplicates, then run the same "
    "command again."
)
EXTRA = AddField("book", "extra", models.IntegerField(default=7))


@pytest.fixture
def books(dsn, tmp_path):
    with deployment(tmp_path, dsn) as made:
        yield library(made)


def refused(books: Deployment) -> str:
    """What `migrate` says, and `migrate --plan` before it; neither changes anything."""
    before = books.catalog()
    planned, end = books.migrate(plan=True), books.migrate()
    assert end.refused
    books.assert_unchanged(before)
    shown = planned.output.partition("Would be refused:\n")[2]
    assert [line.strip() for line in shown.splitlines()] == end.error.splitlines()
    return end.error


def test_of_all_migrations_before_the_first(books):
    books.sql(SAME)
    books.write(COMPUTED.operation)
    books.write(UNIQUE.operation)
    assert refused(books) == DUPLICATES


def test_everything_at_once(books):
    books.sql(f"{SAME}; ALTER TABLE shop_book ADD sheets integer")
    books.write(UNIQUE.operation, RENAMED.operation)
    first, second = refused(books).splitlines()
    assert first == DUPLICATES
    assert "sheets" in second


def test_what_an_open_contract_holds(books):
    books.deploy(RENAMED.operation).check()
    books.write(COMPUTED.operation)
    books.write(AlterField("book", "sheets", models.BigIntegerField(null=True)))
    assert "still belongs to the contract of shop.0002_release" in refused(books)


def remove_duplicates(apps, schema_editor):
    apps.get_model("shop", "book").objects.filter(code="same").update(code=F("id"))


@pytest.mark.parametrize("by", ["RunPython", "Backfill"])
def test_what_the_run_itself_mends_is_no_reason(books, by):
    """A question about rows that an earlier operation changes is asked when its turn has come."""
    books.sql(SAME)
    mend = {
        "RunPython": RunPython(remove_duplicates, RunPython.noop),
        "Backfill": Backfill("book", {"code": F("title")}, where=Q(code=Value("same"))),
    }
    books.write(mend[by])
    books.write(UNIQUE.operation)
    assert "refused" not in books.migrate(plan=True).output
    books.migrate().check()


def test_a_message_says_what_the_run_did_before(books):
    """A proof that could not be asked early, as an operation before it changes what it reads."""
    books.write(Backfill("book", {"code": Value("same")}, where=Q(id__lt=3)))
    books.write(UNIQUE.operation)
    end = books.migrate()
    assert end.error == DUPLICATES.replace(
        "Nothing was changed.", "What this run did before stays, and is skipped the next time."
    )


BACK = {
    "duplicates": (
        RemoveConstraint("book", "book_code"),
        SAME,
        "shop_book: unique index book_code: several rows have the same key same",
    ),
    "values that don't fit": (
        AlterField("book", "title", models.CharField(max_length=400)),
        "UPDATE shop_book SET title = repeat('x', 300) WHERE id = 3",
        "Rows of shop_book have a title that varchar(40), the type in the release that you go back to, can't hold:",
    ),
    "nulls": (
        AlterField("book", "title", models.CharField(max_length=40, null=True)),
        "UPDATE shop_book SET title = NULL WHERE id = 3",
        'Rows of shop_book have no title, which can\'t be null in the release that you go back to: "id" 3',
    ),
}


@pytest.mark.parametrize("what", BACK)
def test_what_stops_the_way_back(books, what):
    operation, spoil, message = BACK[what]
    books.deploy(UNIQUE.operation).check()
    books.deploy(operation, EXTRA).check()
    books.contract().check()
    books.sql(spoil)
    before = books.catalog()
    back = books.migrate("0002")
    assert back.error.startswith(message)
    assert "Nothing was changed." in back.error
    books.assert_unchanged(before)
