"""AddConstraint of a CheckConstraint -> ValidateConstraintLater."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, models
from django.db.migrations import (
    AddConstraint,
    AddField,
    CreateModel,
    RemoveConstraint,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.models import CheckConstraint, F, Q
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThan
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.operations import AddFieldWithDefault, RemoveConstraintLater, ValidateConstraintLater
from safemigrations.operations.written import written

from .representatives import crossed
from .shop import (
    AWKWARD,
    CATCH_UP,
    LIBRARY,
    Nowhere,
    Shop,
    assert_does_what_stock_does,
    assert_is_read_back,
    book,
    file_of,
    optimized,
    quoted,
)

NAME = "book_pages"
CHECK = CheckConstraint(condition=Q(pages__gt=0), name=NAME)
LATER = ValidateConstraintLater("book", CHECK)
AT_ONCE = ValidateConstraintLater("book", CHECK, enforce="expand")
VALID, NOT_VALID = {NAME: "CHECK ((pages > 0))"}, {NAME: "CHECK ((pages > 0)) NOT VALID"}
BOTH = pytest.mark.parametrize("operation", [LATER, AT_ONCE], ids=["contract", "expand"])


def with_pages(**options: Any) -> CreateModel:
    return book(("pages", models.IntegerField(null=True)), **options)


# The exact plan.

ADD = 'ALTER TABLE "shop_book" ADD CONSTRAINT "book_pages" CHECK ("pages" > 0) NOT VALID;'
VALIDATE = 'ALTER TABLE "shop_book" VALIDATE CONSTRAINT "book_pages";'


def test_the_plan(database):
    shop = Shop(database, with_pages())
    assert shop.plan(LATER) == (
        "-- shop_book: every row satisfies book_pages (looked up when it is run)\n"
        "-- Left for the contract:\n"
        "--   shop_book: check book_pages holds for new rows\n"
        f"--   {ADD}\n"
        "--   shop_book: check book_pages holds for every row (checked without blocking)\n"
        f"--   {VALIDATE}"
    )
    assert shop.plan(LATER, backwards=True) == (
        '-- shop_book: drop check book_pages\nALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "book_pages";'
    )


def test_the_plan_when_expand_enforces_it(database):
    shop = Shop(database, with_pages())
    assert shop.plan(AT_ONCE).startswith(
        "-- shop_book: every row satisfies book_pages (looked up when it is run)\n"
        "-- shop_book: check book_pages holds for new rows\n"
        f"{ADD}\n"
        "-- Left for the contract:\n"
    )


# Forwards.


def test_old_code_violates_it_until_the_contract(database):
    shop = Shop(database, with_pages())
    old = shop.model()
    shop.migrate(LATER)
    assert shop.constraints() == {}
    assert shop.left() == ["add check book_pages of shop_book"]
    row = old.objects.create(title="Emma", pages=0)
    row.delete()
    old.objects.create(title="of nobody")

    shop.contract()
    assert shop.constraints() == VALID
    with pytest.raises(IntegrityError):
        old.objects.create(title="Emma", pages=0)


def test_expand_enforces_it_for_new_rows(database):
    shop = Shop(database, with_pages())
    shop.migrate(AT_ONCE)
    assert shop.constraints() == NOT_VALID
    assert shop.left() == ["validate check book_pages of shop_book"]
    with pytest.raises(IntegrityError):
        shop.model().objects.create(title="Emma", pages=0)
    shop.contract()
    assert shop.constraints() == VALID


CHECKS: dict[str, models.BaseConstraint] = {
    "plain": CHECK,
    "two columns": CheckConstraint(condition=Q(pages__lt=F("id")) | ~Q(title="50% it's {}"), name=NAME),
    "expression": CheckConstraint(condition=GreaterThan(Length("title"), 2), name=NAME),
    "null": CheckConstraint(condition=Q(pages__isnull=True) | Q(title__gt=""), name=NAME),
    "long name": CheckConstraint(condition=Q(pages__gt=0), name="ü" * 60),
}


@pytest.mark.parametrize("enforce", ["contract", "expand"])
@pytest.mark.parametrize("kind", CHECKS)
def test_it_is_the_one_of_stock(database, kind, enforce):
    shop = Shop(database, with_pages())
    shop.migrate(AddConstraint("book", CHECKS[kind]))
    stock = shop.constraints()
    shop.back()
    shop.migrate(ValidateConstraintLater("book", CHECKS[kind], enforce=enforce))  # type: ignore[arg-type]
    shop.again()
    shop.contract()
    assert shop.constraints() == stock != {}
    shop.migrate(RemoveConstraint("book", CHECKS[kind].name))  # a later stock operation finds it
    assert shop.constraints() == {}


@BOTH
def test_violators_are_named_before_anything_is_touched(database, operation):
    shop = Shop(database, with_pages())
    shop.execute("INSERT INTO shop_book (title, pages) SELECT 't', n - 7 FROM generate_series(1, 9) n")
    shop.execute("INSERT INTO shop_book (title) VALUES ('of nobody')")  # what is null is content
    with pytest.raises(StepFailed) as caught:
        shop.migrate(operation)
    assert str(caught.value) == (
        "shop.Book: rows violate the check book_pages; their id: 1, 2, 3, 4, 5 and 2 more. Nothing was changed. Fix "
        "them, then run the same command again."
    )
    assert shop.constraints() == {}
    assert shop.left() == []
    shop.execute("DELETE FROM shop_book WHERE pages < 1")
    shop.migrate(operation)
    shop.contract()
    assert shop.constraints() == VALID


def test_violators_that_came_later_are_named_and_the_check_is_taken_away_again(database):
    """It would refuse every update of such a row, be it of another column."""
    shop = Shop(database, with_pages())
    old = shop.model()
    shop.migrate(LATER)
    old.objects.create(title="Emma", pages=0)
    with pytest.raises(StepFailed) as caught:
        shop.contract()
    assert str(caught.value) == (
        "shop_book: check book_pages holds for every row (checked without blocking) failed for the rows 1. Fix them "
        "and run the same command again; what was done before stays, and nothing was left that rejects a write."
    )
    assert shop.constraints() == {}
    old.objects.update(title="still")
    old.objects.update(pages=1)
    shop.contract()
    assert shop.constraints() == VALID


PARTITIONED = """
    CREATE TABLE shop_book (id bigint, title varchar(100) NOT NULL, pages int, PRIMARY KEY (id)) PARTITION BY HASH (id);
    CREATE TABLE shop_book_0 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE shop_book_1 PARTITION OF shop_book FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""


@BOTH
def test_a_partitioned_table(database, operation):
    shop = Shop(database, SeparateDatabaseAndState([RunSQL(PARTITIONED)], [with_pages()]))
    shop.migrate(operation)
    shop.contract()
    assert [shop.constraints(table) for table in ("shop_book", "shop_book_0", "shop_book_1")] == [VALID] * 3
    shop.back()
    assert [shop.constraints(table) for table in ("shop_book", "shop_book_0", "shop_book_1")] == [{}] * 3


def test_a_child_of_another_model(database):
    parent = models.OneToOneField("shop.book", models.CASCADE, auto_created=True, parent_link=True, primary_key=True)
    child = CreateModel("Tale", [("book_ptr", parent), ("moral", models.IntegerField())], bases=("shop.book",))
    shop = Shop(database, book(), child)
    shop.model("Tale").objects.create(title="Emma", moral=0)
    operation = ValidateConstraintLater("tale", CheckConstraint(condition=Q(moral__gt=0), name="moral"))
    with pytest.raises(StepFailed, match=r"rows violate the check moral; their book_ptr_id: 1\."):
        shop.migrate(operation)


def test_a_column_of_the_same_release(database):
    shop = Shop(database, book())
    old = shop.model()
    old.objects.create(title="there")
    stars = AddFieldWithDefault("book", "stars", models.IntegerField(default=3))
    shop.migrate(stars, ValidateConstraintLater("book", CheckConstraint(condition=Q(stars__gt=0), name=NAME)))
    old.objects.create(title="of the old release")
    shop.again()
    shop.contract()
    assert shop.constraints() == {NAME: "CHECK ((stars > 0))"}


def test_it_is_not_removed_before_the_contract_has_added_it(database):
    """Else the contract would add what is gone."""
    shop = Shop(database, with_pages())
    shop.migrate(LATER)
    with pytest.raises(StepFailed) as caught:
        shop.migrate(RemoveConstraintLater("book", NAME))
    assert str(caught.value) == (
        "The constraint book_pages of shop_book still belongs to the contract of shop.0002 (add check book_pages of "
        "shop_book). Nothing was changed. When no server runs the release before that migration any more, type: "
        f"python manage.py migrate shop 0002 --contract --only{CATCH_UP}"
    )
    shop.contract()
    shop.migrate(RemoveConstraintLater("book", NAME))
    assert shop.constraints() == {}


# Backwards.


@pytest.mark.parametrize("contracted", [False, True])
@BOTH
def test_backwards_and_forwards_again(database, operation, contracted):
    shop = Shop(database, with_pages())
    for _ in range(2):
        shop.migrate(operation)
        if contracted:
            shop.contract()
        shop.back()
        assert shop.constraints() == {}
        assert shop.left() == []


# The written form.


def test_the_file():
    assert (
        "        ValidateConstraintLater(\n"
        "            model_name='book',\n"
        "            constraint=models.CheckConstraint(condition=models.Q(('pages__gt', 0)), name='book_pages'),\n"
        "        ),\n"
    ) in file_of(LATER)
    assert "            enforce='expand',\n" in file_of(AT_ONCE)


@BOTH
def test_the_file_is_read_back(operation):
    assert_is_read_back(operation)


def test_what_it_says_of_itself():
    assert LATER.describe() == "Create constraint book_pages on model book; enforced by the contract"
    assert AT_ONCE.describe() == "Create constraint book_pages on model book; validated by the contract"
    assert LATER.migration_name_fragment == "book_book_pages"


# The optimizer.


def test_it_folds_into_the_model_that_is_created_with_it():
    assert optimized(with_pages(), LATER) == optimized(with_pages(), AddConstraint("book", CHECK))
    assert len(optimized(with_pages(), LATER)) == 1


@BOTH
def test_it_vanishes_with_the_operation_that_removes_the_constraint(operation):
    assert optimized(operation, RemoveConstraint("book", NAME)) == []


def test_nothing_unsafe_becomes_of_it():
    note = AddField("book", "note", models.TextField(null=True))
    assert optimized(LATER, note) == [written(LATER), written(note)]


# Other databases.


@BOTH
def test_where_the_router_says_no_nothing_happens(database, operation):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, with_pages())
        shop.migrate(operation)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, LATER, AddConstraint("book", CHECK), with_pages())


# Awkward names.


@crossed("table, name, enforce", AWKWARD, ["contract", "expand"])
def test_awkward_names(database, table, name, enforce):
    extra = models.IntegerField(db_column=name)
    check = CheckConstraint(condition=Q(extra__gt=0), name=name)
    key = ("key", models.BigAutoField(primary_key=True, db_column=f"key {name}"[:63]))
    model = CreateModel("Book", [key, ("extra", extra)], {"db_table": table})
    shop = Shop(database, LIBRARY, model)
    where = quoted(table)
    operation = ValidateConstraintLater("book", check, enforce=enforce)
    shop.model().objects.create(extra=0)
    with pytest.raises(StepFailed, match="rows violate the check"):
        shop.migrate(operation)
    shop.model().objects.update(extra=1)
    shop.migrate(operation)
    shop.again()
    shop.contract()
    (definition,) = shop.constraints(where).values()
    assert definition.startswith("CHECK")
    assert "NOT VALID" not in definition
    shop.back()
    assert shop.constraints(where) == {}


# Wrong arguments.


def test_another_constraint_is_refused():
    unique = models.UniqueConstraint(fields=["pages"], name="once")
    with pytest.raises(TypeError, match=r"book.once is for a CheckConstraint. Use AddConstraintConcurrently for"):
        ValidateConstraintLater("book", unique)  # type: ignore[arg-type]


def test_another_half_is_refused():
    with pytest.raises(ValueError, match=r"enforce must be .contract. or .expand., not 'now'\."):
        ValidateConstraintLater("book", CHECK, enforce="now")
