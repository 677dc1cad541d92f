"""Tables that inherit, other than partitions: PostgreSQL gives them columns and NOT NULL, and no trigger."""

from __future__ import annotations

import pytest
from django.test import override_settings

from .deployment import Deployment
from .library import CHANGES, Change, add_books, library

# Children of the model's table: whoever reads or writes the table means their rows too.
KEY = "id bigint DEFAULT nextval('shop_book_id_seq') PRIMARY KEY"
CHILD = f"CREATE TABLE shop_special ({KEY}) INHERITS (shop_book)"
GRANDCHILD = f"{CHILD}; CREATE TABLE shop_extra ({KEY}) INHERITS (shop_special)"
INCREMENT = "UPDATE shop_book SET {0} = {0}::int + 1, truth = truth + 1 WHERE id % 3 = 0"
FAMILIES = {
    "rows in the child alone": (CHILD, "shop_special", 0),
    "rows in a grandchild, too": (GRANDCHILD, "shop_extra", 120),
}


def family(shop: Deployment, kind: str) -> Deployment:
    create, table, rows = FAMILIES[kind]
    library(shop, rows=rows)
    shop.sql(create)
    add_books(shop, 60, first=201, table=table)
    return shop


def assert_all_is_well(shop: Deployment, change: Change, table: str, **settings: int) -> None:
    """Every value that either release wrote is there, or the change is refused before anything is touched.

    The old release writes while migrate runs, the new one while the contract does: so between the steps, too.
    """
    before = shop.catalog()
    with override_settings(SAFEMIGRATIONS=settings):
        shop.write(change.operation)
        expanded = shop.migrate(meanwhile=lambda: shop.sql(INCREMENT.format("pages")))
        if expanded.refused:
            shop.assert_unchanged(before)
            return
        expanded.check()
        assert shop.count(change.wrong) == 0, "after expand"
        change.write(shop)
        if table != "shop_book":
            change.write(shop, table=table)
        assert change.waits or shop.count(change.wrong) == 0, "while both releases write"
        contracted = shop.contract(meanwhile=lambda: shop.sql(INCREMENT.format(change.pages)))
    contracted.check()
    assert shop.count(change.wrong) == 0, "after the contract"


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_rows_of_tables_that_inherit_the_models_are_not_lost(shop, change, kind):
    assert_all_is_well(family(shop, kind), change, FAMILIES[kind][1], BACKFILL_BATCH_SIZE=20)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_model_whose_table_inherits_another_is_changed_or_refused(shop, change):
    library(shop, rows=0)
    shop.sql(
        "CREATE TABLE ancestor (LIKE shop_book INCLUDING DEFAULTS); ALTER TABLE shop_book INHERIT ancestor;"
        "INSERT INTO ancestor (id, title, code, author_id) VALUES (-1, 'of nobody', 'x', 1)"
    )
    add_books(shop, 120)
    assert_all_is_well(shop, change, "shop_book")
