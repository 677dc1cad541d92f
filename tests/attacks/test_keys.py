"""Keys of any type and value: a backfill in batches reaches each row, and no setting changes what a key is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.migrations import AlterField, CreateModel
from django.db.models import Q, Value
from django.test import override_settings

from safemigrations.operations import Backfill


@dataclass(frozen=True)
class Keys:
    """Keys of a type: SQL for many of them, and of some that are out of the ordinary."""

    name: str
    field: models.Field[Any, Any]
    many: str
    odd: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


KINDS = [
    Keys(
        "dates",
        models.DateField(primary_key=True),
        "date '2020-01-01' + n",
        ("'infinity'", "'-infinity'", "'0044-03-15 BC'"),
    ),
    Keys(
        "times",
        models.DateTimeField(primary_key=True),
        "timestamptz '2020-01-01 00:00:00.123456' + n * interval '1 day'",
        ("'infinity'", "'-infinity'", "'12000-01-01'"),
    ),
    Keys("times of day", models.TimeField(primary_key=True), "time '00:00' + n * interval '1 minute'", ("'24:00'",)),
    Keys(
        "intervals",
        models.DurationField(primary_key=True),
        "n * interval '1 hour'",
        ("'1 mon -3 days 00:00:01.5'", "'-1 day'"),
    ),
    Keys("bytes", models.BinaryField(primary_key=True), "convert_to('\\' || n, 'UTF8')", ("'\\x005c27'", "''")),
    Keys(
        "numbers",
        models.DecimalField(max_digits=20, decimal_places=5, primary_key=True),
        "n * 1.5",
        ("'NaN'",),
    ),
    Keys("floats", models.FloatField(primary_key=True), "n * 0.1::float8", ("'NaN'", "'Infinity'", "'-Infinity'")),
    Keys("uuids", models.UUIDField(primary_key=True), "gen_random_uuid()"),
    Keys("networks", models.GenericIPAddressField(primary_key=True), "('10.0.0.' || n)::inet", ("'::1'",)),
    Keys("arrays", ArrayField(models.TextField(), primary_key=True), "ARRAY[n::text, 'it''s', NULL, '{\"\\']"),
    Keys("booleans", models.BooleanField(primary_key=True), "n = 1", ()),
    Keys("JSON", models.JSONField(primary_key=True), "to_jsonb(n)", ("'null'", "'{\"a\": \"it''s\"}'")),
]


@pytest.mark.parametrize("style", ["ISO, MDY", "SQL, DMY"])
@pytest.mark.parametrize("keys", KINDS, ids=str)
def test_rows_of_any_key_are_filled(shop, keys: Keys, style):
    tag = CreateModel("Tag", [("key", keys.field.clone()), ("state", models.CharField(max_length=9, null=True))])
    shop.deploy(tag).check()
    shop.sql(f"ALTER DATABASE {shop.database} SET DateStyle = '{style}'")
    shop.sql(f"INSERT INTO shop_tag (key) SELECT DISTINCT {keys.many} FROM generate_series(1, 60) n")
    for key in keys.odd:
        shop.sql(f"INSERT INTO shop_tag (key) VALUES ({key})")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": 7}):
        shop.deploy(Backfill("tag", {"state": Value("done")}, where=Q(state=None))).check()
    assert shop.count("state = 'done'", "shop_tag") == shop.count("TRUE", "shop_tag")


RETYPED: dict[str, models.Field[Any, Any]] = {
    "text": models.TextField(primary_key=True),
    "shorter": models.CharField(max_length=29, primary_key=True),
    "collated": models.CharField(max_length=30, primary_key=True, db_collation="C"),
}


@pytest.mark.parametrize("key", RETYPED)
def test_a_key_that_one_table_points_at_twice_gets_another_type(shop, key):
    near = models.ManyToManyField("shop.Word", related_name="+")
    shop.deploy(CreateModel("Word", [("key", models.CharField(max_length=30, primary_key=True)), ("near", near)]))
    shop.sql("INSERT INTO shop_word SELECT 'word ' || n FROM generate_series(1, 9) n")
    both = "INSERT INTO shop_word_near (from_word_id, to_word_id) VALUES ('word {}', 'word {}')"
    shop.sql(both.format(1, 2))
    start = shop.catalog()
    shop.deploy(AlterField("word", "key", RETYPED[key])).check()
    shop.request(both.format(3, 4))
    shop.contract().check()
    shop.request(both.format(5, 6))
    assert shop.count("to_word_id = 'word ' || right(from_word_id, 1)::int + 1", "shop_word_near") == 3
    shop.migrate("0001").check()
    shop.assert_unchanged(start)
