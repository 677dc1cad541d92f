"""Roles that may do little: what the release that runs could write it can write after expand, too."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import RenameModel
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce, Concat

from safemigrations.operations import AddFieldNullableThenBackfill, SetNotNullLater

from .conftest import Role
from .deployment import Deployment
from .library import BIGGER, COMPUTED, NOT_NULL, RENAMED, TEXT, Change, library


def text(length: int = 40, **options: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=length, **options)


def added(name: str, field: models.Field[Any, Any], wrong: str, **how: Any) -> Change:
    return Change(name, AddFieldNullableThenBackfill("book", "extra", field, **how), wrong)


def shouted(book: Any) -> str:
    return str(book.code).upper()


BY_AUTHOR = "extra IS DISTINCT FROM (SELECT name FROM shop_author a WHERE a.id = author_id)"
FIRST = "(extra = 'first') IS DISTINCT FROM (author_id = 1)"
ROW_ALONE = added(
    "computed from the key of a relation", models.PositiveIntegerField(), "extra <> author_id", backfill=F("author__id")
)
READERS = [  # what their triggers compute takes more than the row
    added("computed from a relation", text(), BY_AUTHOR, backfill=F("author__name")),
    added("computed from a relation and the row", text(99), "extra IS NULL", backfill=Concat("author__name", "code")),
    added("computed from a relation, or else", text(), BY_AUTHOR, backfill=Coalesce("author__name", Value("?"))),
    added(
        "computed from one that may be null, or else", text(), BY_AUTHOR, backfill=Coalesce("editor__name", Value("?"))
    ),
    added(
        "computed where a relation is so",
        text(),
        FIRST,
        backfill=Case(When(author__name="author 1", then=Value("first")), default=Value("other")),
    ),
    added(
        "computed where one that may be null is so",
        text(),
        FIRST,
        backfill=Case(When(editor__name="author 1", then=Value("first")), default=Value("other")),
    ),
    added(
        "what stands in for a function's value is computed from a relation",
        text(),
        "extra IS NULL",
        backfill=shouted,
        meanwhile=F("author__name"),
    ),
    Change(
        "NOT NULL by a relation",
        SetNotNullLater("book", "note", text(), backfill=F("author__name")),
        "note IS NULL",
    ),
]
OTHERS = [BIGGER, TEXT, RENAMED, COMPUTED, NOT_NULL, ROW_ALONE]


OLD = "title, pages, truth, note, code, author_id, editor_id"
INSERT = f"INSERT INTO shop_book ({OLD}) VALUES ('t', 7, 7, NULL, 'c', 1, 1)"
MAY = {
    "insert": ("GRANT INSERT ON shop_book TO {0}", [INSERT]),
    "insert into some columns": (f"GRANT INSERT ({OLD}) ON shop_book TO {{0}}", [INSERT]),
    "insert and update, without reading": (
        "GRANT INSERT, UPDATE ON shop_book TO {0}",
        [INSERT, "UPDATE shop_book SET pages = 8, truth = 8, note = NULL"],
    ),
    "change one column": (
        "GRANT SELECT, UPDATE (pages, truth) ON shop_book TO {0}",
        ["UPDATE shop_book SET pages = pages + 1, truth = truth + 1 WHERE id < 9"],
    ),
}
DEFAULTS = "ALTER DEFAULT PRIVILEGES FOR ROLE {0} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"


@pytest.fixture
def clerk(role: Role) -> str:
    return role("clerk")


def assert_the_clerk_goes_on(shop: Deployment, change: Change, clerk: str, owner: str, statements: list[str]) -> None:
    with shop.as_role(owner):
        shop.deploy(change.operation).check()
    for statement in statements:
        shop.request(statement, role=clerk)
    with shop.as_role(owner):
        shop.contract().check()
    assert shop.count(change.wrong) == 0


def owned(shop: Deployment, owner: str, clerk: str, grant: str) -> None:
    shop.sql(DEFAULTS.format(owner))
    with shop.as_role(owner):
        library(shop)
    shop.sql(grant.format(f'"{clerk}"'))


@pytest.mark.parametrize("may", MAY)
@pytest.mark.parametrize("change", [*OTHERS, *READERS], ids=str)
def test_a_role_that_may_do_little_writes_as_before(shop, owner, clerk, change: Change, may):
    grant, statements = MAY[may]
    owned(shop, owner, clerk, grant)
    assert_the_clerk_goes_on(shop, change, clerk, owner, statements)


@pytest.mark.parametrize("change", READERS, ids=str)
def test_a_role_that_a_policy_hides_the_related_rows_from_writes_as_before(shop, owner, clerk, change: Change):
    """What can't be read leaves the row to the backfill."""
    owned(shop, owner, clerk, "GRANT SELECT ON shop_author TO {0}; GRANT INSERT ON shop_book TO {0}")
    shop.sql(
        f"ALTER TABLE shop_author ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON shop_author TO {owner} USING (TRUE)"
    )
    assert_the_clerk_goes_on(shop, change, clerk, owner, [INSERT])


def test_a_role_that_may_insert_alone_does_so_by_the_old_name_of_a_table(shop, owner, clerk):
    owned(shop, owner, clerk, "GRANT INSERT ON shop_book TO {0}")
    with shop.as_role(owner):
        shop.deploy(RenameModel("Book", "Tome")).check()
    shop.request(INSERT, role=clerk)
    shop.request(INSERT.replace("shop_book", "shop_tome"), role=clerk)
    assert shop.count("TRUE", "shop_tome") == 122
