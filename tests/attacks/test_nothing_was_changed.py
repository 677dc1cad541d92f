"""What is going to be refused is refused before the first step of the whole run, and a message says what did happen."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.db import models
from django.db.migrations import AddConstraint, AlterField, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.models import CheckConstraint, Q

from ..shop import KEY
from ..snapshot import Snapshot
from .deployment import Deployment
from .library import COMPUTED, RENAMED, UNIQUE, library

LOAN = CreateModel("Loan", [KEY, ("book", models.ForeignKey("shop.Book", models.CASCADE, db_constraint=False))])


@dataclass(frozen=True)
class Refused:
    """An operation, and SQL after which it is refused; what has to be refused with it comes before it."""

    name: str
    operation: Operation
    spoil: str
    as_owner: bool = False

    def __str__(self) -> str:
        return self.name


WATCH = """
    CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER watch BEFORE UPDATE OF pages ON shop_book FOR EACH ROW EXECUTE FUNCTION watch()
"""
REFUSED = [
    Refused("duplicates", UNIQUE.operation, "UPDATE shop_book SET code = 'same' WHERE id < 3"),
    Refused(
        "duplicates of a field",
        AlterField("book", "code", models.CharField(max_length=40, unique=True)),
        "UPDATE shop_book SET code = 'same' WHERE id < 3",
    ),
    Refused(
        "rows that a check forbids",
        AddConstraint("book", CheckConstraint(condition=Q(pages__gt=0), name="book_pages")),
        "UPDATE shop_book SET pages = 0 WHERE id = 7",
    ),
    Refused(
        "orphans",
        AlterField("loan", "book", models.ForeignKey("shop.Book", models.CASCADE)),
        "INSERT INTO shop_loan (book_id) VALUES (9999)",
    ),
    Refused(
        "values that don't fit",
        AlterField("book", "code", models.CharField(max_length=5)),
        "UPDATE shop_book SET code = 'longer than that' WHERE id = 7",
    ),
    Refused("a trigger that waits for the column", RENAMED.operation, WATCH),
    Refused("a column that is there already", RENAMED.operation, "ALTER TABLE shop_book ADD sheets integer"),
    Refused(
        "a view on the column",
        AlterField("book", "pages", models.BigIntegerField(null=True)),
        "CREATE VIEW thick AS SELECT pages FROM shop_book",
    ),
    Refused(
        "a table of somebody else",
        AlterField("author", "name", models.CharField(max_length=40, db_index=True)),
        "ALTER TABLE shop_author OWNER TO postgres",
        as_owner=True,
    ),
]


def spoiled(shop: Deployment, refused: Refused, owner: str) -> Deployment:
    """Where the operation is going to be refused."""
    with shop.as_role(owner):
        library(shop, LOAN, rows=9)
    shop.sql(refused.spoil)
    return shop


def assert_nothing_was_changed(shop: Deployment, before: Snapshot, owner: str) -> None:
    with shop.as_role(owner):
        end = shop.migrate()
    assert end.refused
    shop.assert_unchanged(before)


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_what_is_refused_alone_is_refused_before_anything_is_touched(shop, refused: Refused, owner):
    spoiled(shop, refused, owner)
    before = shop.catalog()
    shop.write(refused.operation)
    assert_nothing_was_changed(shop, before, owner)


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_it_is_refused_before_an_operation_that_stands_before_it(shop, refused: Refused, owner):
    spoiled(shop, refused, owner)
    before = shop.catalog()
    shop.write(COMPUTED.operation, refused.operation)
    assert_nothing_was_changed(shop, before, owner)


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_it_is_refused_before_a_migration_that_is_applied_by_the_same_command(shop, refused: Refused, owner):
    spoiled(shop, refused, owner)
    before = shop.catalog()
    shop.write(COMPUTED.operation)
    shop.write(refused.operation)
    assert_nothing_was_changed(shop, before, owner)


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_the_plan_shows_it(shop, refused: Refused, owner):
    spoiled(shop, refused, owner)
    shop.write(refused.operation)
    with shop.as_role(owner):
        planned, end = shop.migrate(plan=True), shop.migrate()
    assert end.error.split(". ")[0] in " ".join(planned.output.split())


# What an earlier release left for the contract.


@pytest.mark.parametrize("between", ["the same migration", "an earlier migration"])
def test_what_an_open_contract_holds_is_refused_before_the_first_step_of_the_run(books, between):
    books.deploy(RENAMED.operation).check()
    before = books.catalog()
    bigger = AlterField("book", "sheets", models.BigIntegerField(null=True))
    if between == "the same migration":
        books.write(COMPUTED.operation, bigger)
    else:
        books.write(COMPUTED.operation)
        books.write(bigger)
    end = books.migrate()
    assert end.refused
    books.assert_unchanged(before)


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_nobody_says_that_nothing_was_changed_where_something_was(shop, refused: Refused, owner):
    spoiled(shop, refused, owner)
    before = shop.catalog()
    shop.write(COMPUTED.operation, refused.operation)
    with shop.as_role(owner):
        end = shop.migrate()
    if "Nothing was changed" in end.error:
        shop.assert_unchanged(before)
