"""A field goes and another one comes, and the two have one column: its values stay."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import models
from django.db.migrations import AddField, AlterField, CreateModel, RemoveField, RenameField
from django.db.migrations.operations.base import Operation
from django.db.migrations.questioner import MigrationQuestioner

from ..shop import KEY
from .deployment import Deployment, assert_same, deployment

AUTHOR = CreateModel("Author", [KEY, ("name", models.CharField(max_length=40, unique=True))])
KEYED = CreateModel("Member", [("id", models.UUIDField(primary_key=True)), ("name", models.CharField(max_length=40))])
PEOPLE = """
    INSERT INTO shop_author (name) SELECT 'author ' || n FROM generate_series(1, 7) n;
    INSERT INTO shop_member SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, n FROM generate_series(1, 7) n;
"""


def to(model: str, **options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(f"shop.{model}", models.CASCADE, **options)


def one(model: str, **options: Any) -> models.OneToOneField[Any, Any]:
    return models.OneToOneField(f"shop.{model}", models.CASCADE, **options)


Named = tuple[str, Any]


@dataclass(frozen=True)
class Swap:
    """The field of the old release, that of the new one, their column, and SQL for the value of the nth row."""

    name: str
    old: Named
    new: Named
    column: str = "holder_id"
    value: str = "{}"
    default: Any = 1  # what is answered where makemigrations asks for one
    adds_unique: bool = False  # PostgreSQL gives it another name in ADD COLUMN than Django does

    def __str__(self) -> str:
        return self.name

    @property
    def stock(self) -> list[Operation]:
        (old, field), (new, successor) = self.old, self.new
        if not self.adds_unique:
            return [RemoveField("card", old), AddField("card", new, successor)]
        kept = field.clone()
        kept.db_column = self.column
        return [AlterField("card", old, kept), RenameField("card", old, new), AlterField("card", new, successor)]

    def card(self, field: Named) -> CreateModel:
        return CreateModel("Card", [KEY, ("number", models.IntegerField()), field])


NUMBER, BIG = models.IntegerField, models.BigIntegerField
ANY = uuid.UUID("00000000-0000-0000-0000-000000000001")
BY_UUID: dict[str, Any] = {"value": "('00000000-0000-0000-0000-00000000000' || {})::uuid", "default": ANY}
SWAPS = [
    Swap("a number becomes a foreign key", ("holder_id", NUMBER()), ("holder", to("author"))),
    Swap("a big number becomes a foreign key", ("holder_id", BIG()), ("holder", to("author"))),
    Swap("by another name", ("keeper", NUMBER(db_column="holder_id")), ("holder", to("author"))),
    Swap("where null is allowed", ("holder_id", NUMBER(null=True)), ("holder", to("author", null=True))),
    Swap("where it was indexed", ("holder_id", NUMBER(db_index=True)), ("holder", to("author"))),
    Swap("without an index", ("holder_id", NUMBER()), ("holder", to("author", db_index=False))),
    Swap("without a constraint", ("holder_id", NUMBER()), ("holder", to("author", db_constraint=False))),
    Swap(
        "a unique number becomes one to one",
        ("holder_id", NUMBER(unique=True)),
        ("holder", one("author")),
    ),
    Swap("a number becomes one to one", ("holder_id", BIG()), ("holder", one("author")), adds_unique=True),
    Swap(
        "a text becomes a foreign key",
        ("holder_id", models.CharField(max_length=40)),
        ("holder", to("author", to_field="name")),
        value="'author ' || {}",
        default="author 1",
    ),
    Swap(
        "a uuid becomes a foreign key",
        ("holder_id", models.UUIDField()),
        ("holder", to("member")),
        **BY_UUID,
    ),
    Swap("a foreign key becomes a number", ("holder", to("author")), ("holder_id", BIG())),
    Swap("a foreign key becomes a smaller number", ("holder", to("author")), ("holder_id", NUMBER())),
    Swap("a foreign key becomes a field of another name", ("holder", to("author")), ("h", BIG(db_column="holder_id"))),
    Swap("one to one becomes a number", ("holder", one("author")), ("holder_id", BIG(unique=True))),
    Swap(
        "a foreign key becomes a uuid",
        ("holder", to("member")),
        ("holder_id", models.UUIDField()),
        **BY_UUID,
    ),
    Swap(
        "a text becomes a longer one",
        ("label", models.CharField(max_length=9)),
        ("title", models.TextField(db_column="label")),
        column="label",
        value="'label ' || {}",
        default="",
    ),
    Swap(
        "a number becomes a bigger one",
        ("size", NUMBER()),
        ("extent", BIG(db_column="size")),
        column="size",
    ),
]


class Answers(MigrationQuestioner):
    """Of somebody who enters a default where one is asked for."""

    def __init__(self, default: Any) -> None:
        super().__init__()
        self.default = default

    def ask_not_null_addition(self, field_name: str, model_name: str) -> Any:
        return self.default


def before(shop: Deployment, swap: Swap) -> None:
    shop.deploy(AUTHOR, KEYED, swap.card(swap.old)).check()
    shop.sql(PEOPLE)
    value = swap.value.format("n")
    shop.sql(f"INSERT INTO shop_card (number, {swap.column}) SELECT n, {value} FROM generate_series(1, 5) n")


def wrong(shop: Deployment, swap: Swap) -> int:
    value = swap.value.format("number")
    return shop.count(f"{swap.column}::text IS DISTINCT FROM ({value})::text", "shop_card")


@pytest.mark.parametrize("swap", SWAPS, ids=str)
def test_a_column_that_goes_from_one_field_to_another_keeps_its_values(shop, swap: Swap, capsys):
    before(shop, swap)
    shop.detect(AUTHOR, KEYED, swap.card(swap.new), questions=Answers(swap.default))
    shop.migrate().check()
    assert wrong(shop, swap) == 0
    for number in (6, 7):  # as one release and as the other
        value = swap.value.format(number)
        shop.sql(f"INSERT INTO shop_card (number, {swap.column}) VALUES ({number}, {value})")
    shop.contract().check()
    assert shop.count("TRUE", "shop_card") == 7
    assert wrong(shop, swap) == 0


@pytest.mark.parametrize("swap", SWAPS, ids=str)
def test_the_end_is_that_of_the_stock_operations(shop, swap: Swap, dsn, tmp_path: Path, capsys):
    before(shop, swap)
    start = shop.catalog()
    shop.detect(AUTHOR, KEYED, swap.card(swap.new))
    shop.migrate().check()
    shop.contract().check()
    ours = shop.catalog()
    assert wrong(shop, swap) == 0
    shop.migrate("0001").check()
    shop.assert_unchanged(start)
    directory = tmp_path / f"stock_{tmp_path.name}"  # modules have their name from it
    directory.mkdir()
    shop.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner")
    shop.sql("GRANT USAGE ON SCHEMA public TO PUBLIC")
    with deployment(directory, dsn) as stock:
        stock.deploy(AUTHOR, KEYED, swap.card(swap.old)).check()
        stock.write(*swap.stock, stock=True)
        stock.migrate().check()
        assert_same(stock.catalog(), ours)


CHECKED = [swap for swap in SWAPS if swap.new[1].remote_field and swap.new[1].db_constraint]


@pytest.mark.parametrize("swap", CHECKED, ids=str)
def test_orphans_are_found_before_anything_is_touched(shop, swap: Swap, capsys):
    before(shop, swap)
    shop.sql("DELETE FROM shop_author WHERE id = 3; DELETE FROM shop_member WHERE name = '3'")
    start = shop.catalog()
    shop.detect(AUTHOR, KEYED, swap.card(swap.new), questions=Answers(swap.default))
    refused = shop.migrate()
    assert refused.refused
    shop.assert_unchanged(start)
    assert wrong(shop, swap) == 0
