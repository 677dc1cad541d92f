"""A release drops or replaces an index or a constraint of a column that an earlier one has given a twin, before the
contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddIndex,
    AlterField,
    DeleteModel,
    RemoveConstraint,
    RemoveIndex,
    RenameField,
)
from django.db.migrations.operations.base import Operation
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from ..snapshot import Snapshot
from .deployment import Deployment, assert_same, deployment
from .library import AUTHOR, BOOK, FILLS, TWINS, Change, library

INDEX, UNIQUE, CHECK = "book_index", "book_unique", "book_check"


def within(field: str) -> Operation:
    return AddConstraint("book", CheckConstraint(condition=Q(**{f"{field}__lte": F("truth")}), name=CHECK))


TEXT = [AlterField("book", "pages", models.CharField(max_length=9, null=True, db_column="sheets"))]
DECIMAL = [
    AlterField("book", "pages", models.DecimalField(max_digits=9, decimal_places=0, null=True, db_column="sheets"))
]
RENAMED = [
    RemoveIndex("book", INDEX),
    RemoveConstraint("book", UNIQUE),
    RemoveConstraint("book", CHECK),
    RenameField("book", "pages", "sheets"),
    AddIndex("book", Index(fields=["sheets", "title"], name=INDEX)),
    AddConstraint("book", UniqueConstraint(fields=["sheets", "code"], name=UNIQUE)),
    within("sheets"),
]
OBJECTS: Sequence[Operation] = (
    AddIndex("book", Index(fields=["pages", "title"], name=INDEX)),
    AddConstraint("book", UniqueConstraint(fields=["pages", "code"], name=UNIQUE)),
)


def unique_instead(*fields: str, name: str) -> Operation:
    return AddConstraint("book", UniqueConstraint(fields=list(fields), name=name))


@dataclass(frozen=True)
class Replaced:
    """The operations of the second release and of the third one."""

    name: str
    second: Sequence[Operation]
    third: Sequence[Operation]

    def __str__(self) -> str:
        return self.name


REPLACED = [
    Replaced(
        "an index over other columns",
        TEXT,
        [RemoveIndex("book", INDEX), AddIndex("book", Index(fields=["pages", "note"], name=INDEX))],
    ),
    Replaced(
        "a unique constraint for an index", TEXT, [RemoveIndex("book", INDEX), unique_instead("code", name=INDEX)]
    ),
    Replaced(
        "a unique constraint without the column",
        TEXT,
        [RemoveConstraint("book", UNIQUE), unique_instead("code", name=UNIQUE)],
    ),
    Replaced(
        "a unique constraint over more columns",
        TEXT,
        [RemoveConstraint("book", UNIQUE), unique_instead("pages", "code", "title", name=UNIQUE)],
    ),
    Replaced("no index", TEXT, [RemoveIndex("book", INDEX)]),
    Replaced("no unique constraint", TEXT, [RemoveConstraint("book", UNIQUE)]),
    Replaced("no check", DECIMAL, [RemoveConstraint("book", CHECK)]),
    Replaced(
        "another check",
        DECIMAL,
        [
            RemoveConstraint("book", CHECK),
            AddConstraint("book", CheckConstraint(condition=Q(pages__gt=0), name=CHECK)),
        ],
    ),
    Replaced("no check, and a rename", RENAMED, [RemoveConstraint("book", CHECK)]),
]


def objects_of(replaced: Replaced) -> Sequence[Operation]:
    return (*OBJECTS, *([] if replaced.second is TEXT else [within("pages")]))  # text has no such check


def expanded(shop: Deployment, replaced: Replaced) -> Snapshot:
    """Two releases, and no contract in between; the catalog before them."""
    library(shop, *objects_of(replaced))
    start = shop.catalog()
    shop.deploy(*replaced.second).check()
    shop.deploy(*replaced.third).check()
    return start


@pytest.mark.parametrize("replaced", REPLACED, ids=str)
def test_the_end_is_that_of_the_stock_operations(shop, replaced: Replaced, dsn, tmp_path: Path):
    expanded(shop, replaced)
    shop.contract().check()
    ours = shop.catalog()
    directory = tmp_path / f"stock_{tmp_path.name}"  # modules have their name from it
    directory.mkdir()
    shop.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner")
    shop.sql("GRANT USAGE ON SCHEMA public TO PUBLIC")
    with deployment(directory, dsn) as stock:
        stock.deploy(AUTHOR, BOOK, *objects_of(replaced)).check()
        stock.write(*replaced.second, stock=True)
        stock.write(*replaced.third, stock=True)
        stock.migrate().check()
        assert_same(stock.catalog(), ours)


@pytest.mark.parametrize("replaced", [each for each in REPLACED if each.second is not DECIMAL], ids=str)
def test_the_way_back_leads_to_the_start(shop, replaced: Replaced):
    start = expanded(shop, replaced)
    shop.migrate("0001").check()
    shop.assert_unchanged(start)


@pytest.mark.parametrize("replaced", [each for each in REPLACED if each.second is TEXT], ids=str)
def test_so_does_it_after_the_contract_of_the_second_alone(shop, replaced: Replaced):
    start = expanded(shop, replaced)
    shop.migrate("0002", contract=True).check()
    shop.migrate("0001").check()
    shop.assert_unchanged(start)


@pytest.mark.parametrize("second", [DECIMAL, RENAMED], ids=["another type", "a rename"])
def test_a_check_that_is_gone_refuses_nobody(shop, second: Sequence[Operation]):
    expanded(shop, Replaced("no check", second, [RemoveConstraint("book", CHECK)]))
    shop.request("UPDATE shop_book SET sheets = truth + 1 WHERE id = 1")
    shop.request("UPDATE shop_book SET pages = truth + 1 WHERE id = 2")
    shop.contract().check()
    shop.request("UPDATE shop_book SET sheets = truth + 1 WHERE id = 3")
    assert shop.count("sheets > truth") == 3


def test_a_check_holds_again_after_the_way_back(shop):
    expanded(shop, Replaced("no check", DECIMAL, [RemoveConstraint("book", CHECK)]))
    shop.migrate("0001").check()
    with pytest.raises(AssertionError, match=CHECK):
        shop.request("UPDATE shop_book SET pages = truth + 1 WHERE id = 1")


@pytest.mark.parametrize("change", [*TWINS, *FILLS], ids=str)
def test_a_model_goes_with_all_that_an_open_contract_has_on_its_table(books, change: Change):
    books.deploy(change.operation).check()
    books.deploy(DeleteModel("Book")).check()
    books.contract().check()
    found = books.catalog()
    assert list(found["functions"]) == []
    assert [name for name in found["tables"] if name.startswith("shop_")] == ["shop_author"]
