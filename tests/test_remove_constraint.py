"""RemoveConstraint -> RemoveConstraintLater."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.migrations import AddConstraint, AddField, RemoveConstraint
from django.db.models import Deferrable, F, Func, Q, Value
from django.db.models.functions import Lower
from django.test import override_settings

from safemigrations.operations import (
    AddConstraintConcurrently,
    AddIndexConcurrently,
    RemoveConstraintLater,
    ValidateConstraintLater,
)
from safemigrations.operations.base import Change
from safemigrations.operations.written import written

from .representatives import crossed
from .shop import (
    AWKWARD,
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

NAME = "book_constraint"
UNIQUE = models.UniqueConstraint(fields=["title"], name=NAME)
REMOVE = RemoveConstraintLater("book", NAME)


def with_constraint(constraint: models.BaseConstraint = UNIQUE, **options: Any) -> Any:
    return book(("pages", models.IntegerField(default=1)), constraints=[constraint], **options)


# The exact plan.


def test_the_plan_of_a_unique_constraint(database):
    shop = Shop(database, with_constraint())
    assert shop.plan(REMOVE) == (
        "-- Left for the contract:\n"
        "--   shop_book: drop constraint book_constraint\n"
        '--   ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "book_constraint";'
    )
    assert shop.plan(REMOVE, backwards=True) == (
        "-- shop_book: unique index book_constraint\n"
        'CREATE UNIQUE INDEX CONCURRENTLY "book_constraint" ON "shop_book" ("title");\n'
        "-- shop_book: (title) is unique\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "book_constraint" UNIQUE USING INDEX "book_constraint";'
    )


def test_the_plan_of_a_check(database):
    shop = Shop(database, with_constraint(models.CheckConstraint(condition=Q(pages__gt=0), name=NAME)))
    assert shop.plan(REMOVE) == (
        "-- shop_book: drop constraint book_constraint\n"
        'ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "book_constraint";'
    )
    assert shop.plan(REMOVE, backwards=True) == (
        "-- shop_book: check book_constraint holds for new rows\n"
        'ALTER TABLE "shop_book" ADD CONSTRAINT "book_constraint" CHECK ("pages" > 0) NOT VALID;\n'
        "-- shop_book: check book_constraint holds for every row (checked without blocking)\n"
        'ALTER TABLE "shop_book" VALIDATE CONSTRAINT "book_constraint";'
    )


# Forwards and backwards.

LATER: dict[str, models.BaseConstraint] = {
    "unique": UNIQUE,
    "deferrable": models.UniqueConstraint(fields=["title"], name=NAME, deferrable=Deferrable.DEFERRED),
    "condition": models.UniqueConstraint(fields=["title"], name=NAME, condition=Q(pages__gt=5, title__gt="50%")),
    "expression": models.UniqueConstraint(Lower("title"), F("pages").desc(), name=NAME),
    "include": models.UniqueConstraint(fields=["title"], name=NAME, include=["pages"]),
    "opclasses": models.UniqueConstraint(fields=["title"], name=NAME, opclasses=["varchar_pattern_ops"]),
}
NOW: dict[str, models.BaseConstraint] = {
    "check": models.CheckConstraint(condition=Q(pages__gt=0) & ~Q(title="50%"), name=NAME),
    "nulls equal": models.UniqueConstraint(fields=["title"], name=NAME, nulls_distinct=False),
    "exclusion": ExclusionConstraint(
        name=NAME,
        expressions=[(Func("pages", "pages", Value("[]"), function="int4range"), RangeOperators.OVERLAPS)],
        condition=Q(pages__gt=0),
    ),
}


def there(shop: Shop) -> tuple[dict[str, str], dict[str, str]]:
    return shop.constraints(), shop.indexes()


@pytest.mark.parametrize("what", LATER)
def test_a_unique_one_stays_until_the_contract(database, what):
    shop = Shop(database, with_constraint(LATER[what]))
    before = there(shop)
    assert before != ({}, {})
    shop.migrate(REMOVE)
    assert there(shop) == before
    assert shop.left() == ["drop constraint book_constraint of shop_book"]
    shop.again()
    shop.contract()
    assert there(shop) == ({}, {})


def test_upserts_of_the_old_release_work_until_then(database):
    shop = Shop(database, with_constraint())
    old = shop.model()
    shop.migrate(REMOVE)
    for pages in (5, 6):
        old.objects.bulk_create(
            [old(title="Emma", pages=pages)], update_conflicts=True, update_fields=["pages"], unique_fields=["title"]
        )
    assert shop.execute("SELECT pages FROM shop_book") == [6]


@pytest.mark.parametrize("what", NOW)
def test_one_that_may_refuse_what_new_code_writes_goes_at_once(database, what):
    shop = Shop(database, with_constraint(NOW[what]))
    shop.migrate(REMOVE)
    assert there(shop) == ({}, {})
    assert shop.left() == []


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("what", [*LATER, *NOW])
def test_backwards_and_forwards_again(database, what, contracted):
    shop = Shop(database, with_constraint({**LATER, **NOW}[what]))
    before = there(shop)
    for _ in range(2):
        shop.migrate(REMOVE)
        if contracted:
            shop.contract()
        shop.back()
        assert there(shop) == before
        assert shop.left() == []


# Another of that name in the same release.

ASIDE = RemoveConstraintLater("book", NAME, set_aside=True)
OTHERS: dict[str, Change] = {
    "unique": AddConstraintConcurrently("book", models.UniqueConstraint(fields=["pages"], name=NAME), takes_over=True),
    "condition": AddConstraintConcurrently(
        "book", models.UniqueConstraint(fields=["pages"], name=NAME, condition=Q(pages__gt=7)), takes_over=True
    ),
    "index": AddIndexConcurrently("book", models.Index(fields=["pages"], name=NAME), takes_over=True),
    "check": ValidateConstraintLater("book", models.CheckConstraint(condition=Q(pages__gt=-5), name=NAME)),
    "check at once": ValidateConstraintLater(
        "book", models.CheckConstraint(condition=Q(pages__gt=-5), name=NAME), enforce="expand"
    ),
}


def test_the_plan_when_another_takes_the_name(database):
    shop = Shop(database, with_constraint())
    assert shop.plan(ASIDE) == (
        "-- shop_book: index book_constraint is called safemig_shop_book_book_constraint until it is dropped\n"
        'ALTER INDEX IF EXISTS "book_constraint" RENAME TO "safemig_shop_book_book_constraint";\n'
        "-- Left for the contract:\n"
        "--   shop_book: drop constraint safemig_shop_book_book_constraint\n"
        '--   ALTER TABLE "shop_book" DROP CONSTRAINT IF EXISTS "safemig_shop_book_book_constraint";'
    )


@crossed("what, other, contracted", [*LATER, *NOW], OTHERS, [False, True])
def test_another_takes_its_name(database, what, other, contracted):
    shop = Shop(database, with_constraint({**LATER, **NOW}[what]))
    before, add = there(shop), OTHERS[other]
    shop.migrate(RemoveConstraint("book", NAME), add.stock)
    stock = there(shop)
    shop.back()
    for _ in range(2):
        shop.migrate(ASIDE, add)
        shop.again()
        if contracted:
            shop.contract()
            assert there(shop) == stock
        shop.back()
        assert there(shop) == before
        assert shop.left() == []


def test_both_unique_constraints_hold_until_the_contract(database):
    shop = Shop(database, with_constraint())
    shop.migrate(ASIDE, OTHERS["unique"])
    assert shop.constraints() == {NAME: "UNIQUE (pages)", f"safemig_shop_book_{NAME}": "UNIQUE (title)"}
    assert shop.left() == ["drop constraint book_constraint of shop_book"]
    shop.contract()
    assert shop.constraints() == {NAME: "UNIQUE (pages)"}


# The written form.


def test_the_file():
    assert (
        "        RemoveConstraintLater(\n"
        "            model_name='book',\n"
        "            name='book_constraint',\n"
        "        ),\n"
    ) in file_of(REMOVE)


def test_the_file_is_read_back():
    assert_is_read_back(REMOVE)
    assert_is_read_back(ASIDE)


def test_what_it_says_of_itself():
    assert REMOVE.describe() == (
        "Remove constraint book_constraint from model book; a unique one is dropped by the contract"
    )
    assert REMOVE.migration_name_fragment == "remove_book_book_constraint"


# The optimizer.


def test_the_constraint_of_a_model_that_is_created_with_it_vanishes():
    assert optimized(with_constraint(), REMOVE) == optimized(with_constraint(), RemoveConstraint("book", NAME))


def test_it_vanishes_with_the_operation_that_adds_the_constraint():
    assert optimized(AddConstraint("book", UNIQUE), REMOVE) == []


def test_nothing_unsafe_becomes_of_it():
    note = AddField("book", "note", models.TextField(null=True))
    assert optimized(REMOVE, note) == [written(REMOVE), written(note)]


# Other databases.


def test_where_the_router_says_no_nothing_happens(database):
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        shop = Shop(database, with_constraint())
        shop.migrate(REMOVE)
        assert shop.left() == []
        shop.back()
    assert shop.tables() == {"django_migrations"}


def test_another_backend_does_what_stock_does(tmp_path):
    assert_does_what_stock_does(tmp_path, REMOVE, RemoveConstraint("book", NAME), with_constraint())


# Awkward names.


@crossed("table, name, kind", AWKWARD, ["unique", "condition", "check"])
def test_awkward_names(database, table, name, kind):
    constraint = {
        "unique": models.UniqueConstraint(fields=["title"], name=name),
        "condition": models.UniqueConstraint(fields=["title"], name=name, condition=Q(pages__gt=5)),
        "check": models.CheckConstraint(condition=Q(pages__gt=0), name=name),
    }[kind]
    shop = Shop(database, LIBRARY, with_constraint(constraint, db_table=table))
    where = quoted(table)
    before = shop.constraints(where), shop.indexes(where)
    shop.migrate(RemoveConstraintLater("book", name))
    shop.contract()
    assert shop.constraints(where) == shop.indexes(where) == {}
    shop.back()
    assert (shop.constraints(where), shop.indexes(where)) == before


@pytest.mark.parametrize("kind", ["unique", "condition", "check"])
def test_a_name_that_postgresql_cuts(database, kind):
    constraint: models.BaseConstraint = {
        "unique": models.UniqueConstraint(fields=["title"], name="ü" * 50),
        "condition": models.UniqueConstraint(fields=["title"], name="ü" * 50, condition=Q(pages__gt=5)),
        "check": models.CheckConstraint(condition=Q(pages__gt=0), name="ü" * 50),
    }[kind]
    shop = Shop(database, with_constraint(constraint))
    before = there(shop)
    for set_aside in (False, True):
        shop.migrate(RemoveConstraintLater("book", "ü" * 50, set_aside))
        shop.contract()
        assert there(shop) == ({}, {})
        shop.back()
        assert there(shop) == before


# Wrong arguments.


def test_a_constraint_that_the_model_lacks_is_named(database):
    shop = Shop(database, with_constraint())
    with pytest.raises(ValueError, match="No constraint named nothing on model Book"):
        shop.migrate(RemoveConstraintLater("book", "nothing"))
