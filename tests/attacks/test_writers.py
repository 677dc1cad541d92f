"""Sessions of users are set as their role or their application wants: the same value comes out whoever writes it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import models
from django.db.migrations import AlterField, CreateModel
from django.db.models import F
from django.db.models.functions import Cast

from safemigrations.operations import AddFieldNullableThenBackfill

from ..shop import KEY
from .deployment import Deployment

AS_TEXT = models.CharField(max_length=60)
OF_TEXT = models.CharField(max_length=60, null=True, db_column="other")
# The field, SQL for a value, and what the writer's session has set.
WRITTEN: dict[str, tuple[models.Field[Any, Any], str, str]] = {
    "a date": (models.DateField(null=True), "'2020-02-01'", "DateStyle = 'SQL, DMY'"),
    "a time": (models.DateTimeField(null=True), "'2020-02-01 10:00+00'", "TimeZone = 'Pacific/Apia'"),
    "a time in another style": (models.DateTimeField(null=True), "'2020-02-01 10:00+00'", "DateStyle = 'German'"),
    "an interval": (models.DurationField(null=True), "'1 day 2 hours'", "IntervalStyle = 'sql_standard'"),
    "a float": (models.FloatField(null=True), "0.1::float8 + 0.2::float8", "extra_float_digits = -5"),
    "bytes": (models.BinaryField(null=True), "'\\x0041'", "bytea_output = 'escape'"),
}


def item(shop: Deployment, field: models.Field[Any, Any], value: str) -> None:
    shop.deploy(CreateModel("Item", [KEY, ("size", field.clone())])).check()
    shop.sql(f"INSERT INTO shop_item (size) VALUES ({value})")


def write(shop: Deployment, value: str, setting: str) -> list[Any]:
    """As the old release, in a session with this setting; what the new release finds in both rows."""
    with psycopg.connect(shop.dsn, autocommit=True) as session:
        session.execute(f"SET {setting}")
        session.execute(f"INSERT INTO shop_item (size) VALUES ({value})")
    return shop.sql("SELECT other FROM shop_item")


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_value_of_another_type_is_the_same_whoever_writes_it(shop, kind):
    field, value, setting = WRITTEN[kind]
    item(shop, field, value)
    shop.deploy(AlterField("item", "size", OF_TEXT)).check()
    first, second = write(shop, value, setting)
    assert first == second
    shop.contract().check()


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_computed_value_is_the_same_whoever_writes_it(shop, kind):
    field, value, setting = WRITTEN[kind]
    item(shop, field, value)
    shop.deploy(AddFieldNullableThenBackfill("item", "other", AS_TEXT, backfill=Cast(F("size"), AS_TEXT))).check()
    first, second = write(shop, value, setting)
    assert first == second
    shop.contract().check()


def test_a_text_becomes_the_same_date_whoever_writes_it(shop):
    """The order of day and month is that of the session that migrates."""
    item(shop, models.CharField(max_length=60, null=True), "'01/02/2020'")
    shop.deploy(AlterField("item", "size", models.DateField(null=True, db_column="other"))).check()
    first, second = write(shop, "'01/02/2020'", "DateStyle = 'SQL, DMY'")
    assert first == second
