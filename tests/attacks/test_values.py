"""Values and types out of the ordinary, and what else two columns for one have to be alike in."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import AlterField, CreateModel, RenameField
from django.db.migrations.operations.base import Operation
from django.db.models import UniqueConstraint

from safemigrations.operations import ExpandAlterField

from .. import citext
from ..shop import KEY
from .deployment import Deployment


def item(shop: Deployment, *values: str, constraints: Any = (), **fields: models.Field[Any, Any]) -> None:
    """A model with a field "n", and perhaps others; one row for each value of that."""
    named = [KEY, *((name, field.clone()) for name, field in fields.items())]
    shop.deploy(CreateModel("Item", named, options={"constraints": list(constraints)})).check()
    for value in values:
        shop.sql(f"INSERT INTO shop_item (n) VALUES ({value})")


class InDatabase(models.TextField):  # type: ignore[type-arg]
    """A field of a type that Django doesn't know."""

    def __init__(self, type_: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.type_ = type_

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        return name, path, args, {**options, "type_": self.type_}

    def db_type(self, connection: Any) -> str:
        return self.type_


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("positive", "5", "-5"),
        ("tsquery", "a & b", "a & & |"),
        ("jsonpath", "$.a", "$."),
        ("int4range", "[1,2)", "[2,1)"),
    ],
)
def test_what_the_other_type_refuses_in_whatever_way_fails_no_write(shop, type_, good, bad):
    shop.sql("CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
    item(shop, f"'{good}'", n=models.CharField(max_length=20, null=True))
    shop.deploy(AlterField("item", "n", InDatabase(type_, null=True, db_column="m"))).check()
    shop.request(f"INSERT INTO shop_item (n) VALUES ('{bad}')")
    assert shop.sql("SELECT m IS NULL FROM shop_item ORDER BY id") == [False, True]
    assert shop.contract().refused
    shop.sql(f"UPDATE shop_item SET n = '{good}'")
    shop.contract().check()


def test_using_cuts_nothing_off(shop):
    """ALTER TYPE ... USING would refuse it; an explicit cast doesn't."""
    item(shop, "'a long value'", n=models.CharField(max_length=40))
    before = shop.catalog()
    changed = ExpandAlterField("item", "n", models.CharField(max_length=6), using="upper({})")
    assert "that varchar(6) can't hold" in shop.deploy(changed).error
    shop.assert_unchanged(before)
    shop.sql("UPDATE shop_item SET n = 'short'")
    shop.migrate().check()
    shop.contract().check()
    assert shop.sql("SELECT n FROM shop_item") == ["SHORT"]


def test_a_number_that_is_none_is_one_of_any_size(shop):
    item(shop, "'NaN'", "12.34", n=models.DecimalField(max_digits=8, decimal_places=2, null=True))
    for expanded in shop.live(AlterField("item", "n", models.DecimalField(max_digits=6, decimal_places=2, null=True))):
        expanded.check()
    assert shop.sql("SELECT n::text FROM shop_item ORDER BY id") == ["NaN", "12.34"]


# What two columns have in one index.

TEXT, ONE = models.CharField(max_length=9), models.IntegerField(default=1, db_default=1)
TOGETHER = [UniqueConstraint(fields=["n", "o"], name="item_together")]
RENAME, RETYPE = RenameField("item", "n", "m"), AlterField("item", "o", models.BigIntegerField(default=1, db_default=1))


@pytest.mark.parametrize("releases", [[[RENAME], [RETYPE]], [[RETYPE], [RENAME]], [[RENAME, RETYPE]]])
def test_both_releases_find_the_index_over_two_columns_that_change(shop, releases: list[list[Operation]]):
    item(shop, "'a'", "'b'", n=TEXT, o=ONE, constraints=TOGETHER)
    for operations in releases:
        shop.deploy(*operations).check()
    for name in ("n", "m"):
        shop.request(f"INSERT INTO shop_item ({name}, o) VALUES ('a', 1) ON CONFLICT ({name}, o) DO UPDATE SET o = 1")
    shop.contract().check()
    assert shop.count("TRUE", "shop_item") == 2


def test_values_of_a_set_that_become_the_same_are_found_before_anything_is_touched(shop):
    shop.deploy(citext.CREATE).check()
    item(shop, "'e'", "'E'", n=TEXT, o=ONE, constraints=TOGETHER)
    before = shop.catalog()
    changed = shop.deploy(AlterField("item", "n", InDatabase("citext")))
    assert "that is another row's, too, as citext: e 1" in changed.error
    shop.assert_unchanged(before)


def test_values_that_another_type_calls_the_same_are_found_before_anything_is_touched(shop):
    item(shop, "'1'", "'01'", n=models.CharField(max_length=9, unique=True, null=True))
    before = shop.catalog()
    changed = shop.deploy(AlterField("item", "n", models.IntegerField(unique=True, null=True, db_column="m")))
    assert "that is another row's, too, as integer: 1" in changed.error
    shop.assert_unchanged(before)


@pytest.mark.parametrize(
    ("by_hand", "operation", "named"),
    [
        ("ALTER COLUMN n SET DEFAULT 'x'", RenameField("item", "n", "m"), "default 'x'"),
        (
            "ADD CONSTRAINT one_null UNIQUE NULLS NOT DISTINCT (n)",
            AlterField("item", "n", models.IntegerField(null=True, db_column="m")),
            "NULLS NOT DISTINCT of index one_null",
        ),
    ],
)
def test_where_null_would_be_another_value_it_is_refused(shop, by_hand, operation, named):
    item(shop, "'1'", n=models.CharField(max_length=9, null=True))
    shop.sql(f"ALTER TABLE shop_item {by_hand}")
    before = shop.catalog()
    assert named in shop.deploy(operation).error
    shop.assert_unchanged(before)


@pytest.mark.parametrize("to", [models.BigIntegerField(), models.SmallIntegerField(), models.TextField(db_column="m")])
@pytest.mark.parametrize("here", ["real", "numeric", "text", "a_number"])
def test_a_column_of_another_type_than_the_migrations_say_gets_no_twin(shop, here, to):
    """Each write would compare values of two types, which PostgreSQL refuses."""
    item(shop, "3", n=models.IntegerField())
    shop.sql("CREATE DOMAIN a_number AS integer CHECK (VALUE > 0)")
    shop.sql(f"ALTER TABLE shop_item ALTER n TYPE {here}")
    before = shop.catalog()
    assert (
        f"n of shop_item is {here} instead of integer. Nothing was changed."
        in shop.deploy(AlterField("item", "n", to)).error
    )
    shop.assert_unchanged(before)
    shop.sql("ALTER TABLE shop_item ALTER n TYPE integer USING n::text::integer")
    shop.migrate().check()
    shop.contract().check()


@pytest.mark.parametrize("altered", ["shop_author ALTER id", "shop_book ALTER author_id"])
def test_one_column_of_a_key_that_has_its_new_type_already_stops_the_change(shop, altered):
    author = CreateModel("Author", [("id", models.AutoField(primary_key=True))])
    by = models.ForeignKey("shop.author", models.CASCADE)
    shop.deploy(author, CreateModel("Book", [KEY, ("author", by)])).check()
    shop.sql(f"ALTER TABLE {altered} TYPE bigint")
    before = shop.catalog()
    change = AlterField("author", "id", models.BigAutoField(primary_key=True))
    assert "is bigint instead of integer. Nothing was changed." in shop.deploy(change).error
    shop.assert_unchanged(before)
    shop.sql(f"ALTER TABLE {altered} TYPE integer")
    shop.migrate().check()
    shop.contract().check()


def test_the_numbers_in_a_text_stay_its_own(shop):
    item(shop, "'C0'", n=models.CharField(max_length=20))
    shop.sql("CREATE SEQUENCE numbers OWNED BY shop_item.n")
    shop.sql("ALTER TABLE shop_item ALTER n SET DEFAULT 'C' || nextval('numbers')")
    shop.deploy(AlterField("item", "n", models.CharField(max_length=10))).check()
    shop.contract().check()
    shop.sql("INSERT INTO shop_item DEFAULT VALUES")
    assert shop.sql("SELECT n FROM shop_item ORDER BY id") == ["C0", "C1"]
    assert shop.sql("SELECT pg_get_serial_sequence('shop_item', 'n')") == ["public.numbers"]


def test_a_column_that_people_let_be_null_changes_its_type_a_second_time(shop):
    item(shop, "3", n=models.IntegerField())
    shop.sql("ALTER TABLE shop_item ALTER n DROP NOT NULL")
    shop.deploy(AlterField("item", "n", models.BigIntegerField())).check()
    shop.migrate("0001").check()
    shop.migrate().check()
    shop.contract().check()


@pytest.mark.parametrize("name", ["zzzz", "ändern"])
@pytest.mark.parametrize(
    ("operation", "column"),
    [
        (RenameField("item", "n", "m"), "m"),
        (AlterField("item", "n", models.BigIntegerField(null=True)), "n"),
        (AlterField("item", "n", models.TextField(null=True, db_column="m")), "m"),
    ],
)
def test_a_trigger_that_would_change_rows_after_ours_is_named(shop, operation, column, name):
    item(shop, "3", n=models.IntegerField(null=True))
    body = "BEGIN NEW.n := NEW.n + 1; RETURN NEW; END"
    shop.sql(f"CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    shop.sql(f'CREATE TRIGGER "{name}" BEFORE INSERT ON shop_item FOR EACH ROW EXECUTE FUNCTION more()')
    before = shop.catalog()
    assert "fires after ours" in shop.deploy(operation).error
    shop.assert_unchanged(before)
    shop.sql(f'ALTER TRIGGER "{name}" ON shop_item RENAME TO more')
    shop.migrate().check()
    shop.sql("INSERT INTO shop_item (n) VALUES (5)")
    shop.sql("DROP TRIGGER more ON shop_item")
    shop.contract().check()
    assert shop.sql(
        f"SELECT {getattr(operation, 'new_name', None) or operation.field.db_column or 'n'}::int FROM shop_item"
    ) == [3, 6]
