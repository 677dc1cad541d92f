"""GROUP BY lists all columns, and costs no more than by the key."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import DataError, models, transaction
from django.db.backends.base.features import BaseDatabaseFeatures
from django.db.migrations import CreateModel
from django.db.models import Count
from psycopg.pq import TransactionStatus

from safemigrations.hooks import grouping
from safemigrations.running import comparable

from .shop import KEY, Shop, book, sqlite

AUTHOR = CreateModel("Author", [KEY])


class Raw(models.Field):  # type: ignore[type-arg]
    def db_type(self, connection: Any) -> str:
        return "json"


class Own(models.Field):  # type: ignore[type-arg]
    """A field of any type."""

    def __init__(self, type_: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.type = type_

    def deconstruct(self) -> Any:
        name, path, _, options = super().deconstruct()
        return name, path, [self.type], options

    def db_type(self, connection: Any) -> str:
        return self.type


def counted(shop: Shop) -> Any:
    return shop.model().objects.annotate(count=Count("authors")).order_by()


def with_authors(*fields: tuple[str, Any], **options: Any) -> CreateModel:
    return book(*fields, ("authors", models.ManyToManyField("shop.author")), **options)


def test_all_columns_are_listed(database):
    shop = Shop(database, AUTHOR, with_authors())
    assert str(counted(shop).query).endswith(' GROUP BY "shop_book"."id", "shop_book"."title"')


def test_the_planner_groups_by_the_key_alone(database):
    shop = Shop(database, AUTHOR, with_authors())
    assert "Group Key: shop_book.id\n" in f"{counted(shop).explain()}\n"


def test_what_cannot_be_compared_is_grouped_by_its_key(database):
    shop = Shop(database, AUTHOR, with_authors(("raw", Raw(null=True))))
    shop.model().objects.create(title="Emma")
    assert str(counted(shop).query).endswith(' GROUP BY "shop_book"."id"')
    assert counted(shop).get().count == 0


def test_an_unmanaged_model_is_as_django_has_it(database):
    """It may be a view, so Django lists all columns itself."""
    shop = Shop(database, AUTHOR, with_authors(managed=False))
    assert str(counted(shop).query).endswith(' GROUP BY "shop_book"."id", "shop_book"."title"')


def test_another_backend_is_as_django_has_it(tmp_path):
    with sqlite(tmp_path) as connection:
        shop = Shop(connection, AUTHOR, with_authors())
        assert not connection.features.allows_group_by_selected_pks_on_model(shop.model())


@pytest.mark.parametrize("times", [1, 2])
def test_it_is_put_in_place_once(times):
    method = BaseDatabaseFeatures.allows_group_by_selected_pks_on_model
    for _ in range(times):
        grouping.install()
    assert BaseDatabaseFeatures.allows_group_by_selected_pks_on_model is method


OF_OTHERS = {
    "json[]": "json[]",
    "a domain over json": "raw",
    "a domain over a domain over json[]": "raws",
    "point": "point",
    "jsonpath": "jsonpath",
    "xml": "xml",
    "a composite type": "pair",
    "an enumeration": "mood",
    "a domain over varchar": "code",
    "an array of a domain": "code[]",
    "oid": "oid",
    "a range of its own": "span",
    "money": "money",
}


def own_types(shop: Shop) -> None:
    for sql in (
        "CREATE DOMAIN raw AS json",
        "CREATE DOMAIN rawer AS json[]",
        "CREATE DOMAIN raws AS rawer",
        "CREATE DOMAIN code AS varchar(20)",
        "CREATE TYPE pair AS (a int, b json)",
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE TYPE span AS RANGE (subtype = float8)",
    ):
        shop.execute(sql)


@pytest.mark.parametrize("type_", [*OF_OTHERS.values(), *sorted(comparable.COMPARABLE)])
def test_postgresql_is_asked_what_it_can_compare(database, other_connection, type_):
    shop = Shop(database, AUTHOR)
    own_types(shop)
    try:
        other_connection.execute(f"SELECT x FROM (SELECT NULL::{type_}) t (x) GROUP BY x")
        compares = True
    except psycopg.errors.UndefinedFunction:
        compares = False
    assert comparable.is_comparable(database, type_) == compares


def test_a_model_with_a_type_of_its_own_is_annotated(database):
    shop = Shop(database, AUTHOR)
    own_types(shop)
    shop.migrate(with_authors(("raw", Own("raws", null=True)), ("mood", Own("mood", null=True))))
    shop.model().objects.create(title="Emma")
    assert counted(shop).get().count == 0


def test_nobody_is_asked_while_nothing_is_connected_or_after_an_error(database):
    shop = Shop(database, AUTHOR)
    own_types(shop)
    database.close()
    assert not comparable.is_comparable(database, "mood")
    with transaction.atomic():
        with suppress(DataError):
            shop.execute("SELECT 1 / 0")
        assert not comparable.is_comparable(database, "mood")
        transaction.set_rollback(True)
    assert comparable.is_comparable(database, "mood")


def test_the_numbers_of_libpq():
    assert (comparable.IDLE, comparable.INTRANS) == (TransactionStatus.IDLE, TransactionStatus.INTRANS)
