"""GROUP BY lists all columns, and costs no more than by the key."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.backends.base.features import BaseDatabaseFeatures
from django.db.migrations import CreateModel
from django.db.models import Count

from safemigrations.hooks import grouping

from .shop import KEY, Shop, book, sqlite

AUTHOR = CreateModel("Author", [KEY])


class Raw(models.Field):  # type: ignore[type-arg]
    def db_type(self, connection: Any) -> str:
        return "json"


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
