"""Names and values: none of them ends our quoting, and none means something else inside the body of a trigger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.db import models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.models import F, Q, Value
from django.db.models.functions import Concat

from safemigrations.operations import AddFieldNullableThenBackfill, Backfill, SetNotNullLater

from ..shop import KEY
from .conftest import Role
from .deployment import ONE_IN, Deployment
from .library import BIGGER, COMPUTED, NOT_NULL, RENAMED, TEXT

# What PL/pgSQL, our own text and Python's format() know. Django itself can't query a column with a percent sign.
COMMON = ["found", "tg_op", "new", "$safemig$", "it's", "{rows}", "a.b", "Mixed Case"]
FURTHER = ["old", "tg_argv", "sqlstate", "sqlerrm", "given", "made", "safemig_row", "safemig_value", "row", "user"]
FURTHER += ["current_user", "$1", "{}", "{0}", "{name}", "a;b", "--a", "\\", "ä" * 31]
NAMES = [*COMMON, *(FURTHER if ONE_IN == 1 else [])]


def named(**options: Any) -> models.IntegerField[Any, Any]:
    return models.IntegerField(**options)


def text(**options: Any) -> models.CharField[Any, Any]:
    return models.CharField(max_length=90, **options)


def item(column: str, table: str = "shop_item") -> CreateModel:
    fields: list[tuple[str, Any]] = [
        KEY,
        ("size", named(null=True, db_column=column)),
        ("label", text(null=True, db_column=f"{column}2"[-63:])),
        ("truth", named(null=True)),
    ]
    return CreateModel("Item", fields, {"db_table": table})


def extra(column: str, value: Any, field: Any = None, **options: Any) -> AddFieldNullableThenBackfill:
    return AddFieldNullableThenBackfill("item", "extra", field or named(db_column=column), backfill=value, **options)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# What is done with a column of that name: the operation, how it is wrong then, and what the old release writes.
Named = Callable[[str], tuple[CreateModel, Operation, str, str]]


def insert(column: str = "size", table: str = "shop_item") -> str:
    return f"INSERT INTO {quoted(table)} ({quoted(column)}, truth) VALUES (7, 7)"


WITH_COLUMN: dict[str, Named] = {
    "computed, with a check": lambda name: (
        item("size"),
        extra(name, F("truth"), models.PositiveIntegerField(db_column=name)),
        f"{quoted(name)} IS DISTINCT FROM truth",
        insert(),
    ),
    "computed": lambda name: (
        item("size"),
        extra(name, F("truth")),
        f"{quoted(name)} IS DISTINCT FROM truth",
        insert(),
    ),
    "computed from it": lambda name: (
        item(name),
        extra("extra", F("size")),
        "extra IS DISTINCT FROM truth",
        insert(name),
    ),
    "of a bigger type": lambda name: (
        item(name),
        AlterField("item", "size", models.BigIntegerField(null=True, db_column=name)),
        f"{quoted(name)} IS DISTINCT FROM truth",
        insert(name),
    ),
    "of another type in another column": lambda name: (
        item(name),
        AlterField("item", "size", text(null=True, db_column="other", choices=[("1", "one")])),
        "other IS DISTINCT FROM truth::text",
        insert(name),
    ),
    "renamed to it": lambda name: (
        item("size"),
        AlterField("item", "size", named(null=True, db_column=name)),
        f"{quoted(name)} IS DISTINCT FROM truth",
        insert(),
    ),
    "renamed": lambda name: (
        item(name),
        AlterField("item", "size", named(null=True, db_column="other")),
        "other IS DISTINCT FROM truth",
        insert(name),
    ),
    "NOT NULL": lambda name: (
        item(name),
        SetNotNullLater("item", "size", named(db_column=name), backfill=F("truth")),
        f"{quoted(name)} IS NULL",
        "INSERT INTO shop_item (truth) VALUES (7)",
    ),
    "filled": lambda name: (
        item(name),
        Backfill("item", {"size": F("truth")}, where=Q(size=None)),
        f"{quoted(name)} IS NULL",
        insert(name),
    ),
}


def assert_is_right(
    shop: Deployment, create: CreateModel, operation: Operation, wrong: str, write: str, table: str = "shop_item"
) -> None:
    shop.deploy(create).check()
    column = quoted(next(str(field.db_column) for name, field in create.fields if name == "size"))
    shop.sql(f"INSERT INTO {quoted(table)} ({column}, truth) SELECT n, n FROM generate_series(1, 9) n")
    shop.deploy(operation).check()
    shop.request(write)
    shop.contract().check()
    assert shop.count(wrong, quoted(table)) == 0
    assert shop.count("TRUE", quoted(table)) == 10


def allowed(what: str, name: str) -> bool:
    """Django puts names that a query reads into aliases, and takes no dollar sign there."""
    return "$" not in name or what not in ("computed from it", "filled")


def combined(kinds: Iterable[str], names: Iterable[str]) -> list[Any]:
    return [pytest.param(what, name, id=f"{name}-{what}") for name in names for what in kinds if allowed(what, name)]


@pytest.mark.parametrize(("what", "name"), combined(WITH_COLUMN, NAMES))
def test_a_column_may_have_any_name(shop, what, name):
    assert_is_right(shop, *WITH_COLUMN[what](name))


# Tables.

ON_TABLE: dict[str, Callable[[str], Operation]] = {
    "of a bigger type": lambda table: AlterField("item", "size", models.BigIntegerField(null=True, db_column="size")),
    "of another type in another column": lambda table: AlterField(
        "item", "size", text(null=True, db_column="other", choices=[("1", "one")])
    ),
    "renamed": lambda table: AlterField("item", "size", named(null=True, db_column="other")),
    "computed": lambda table: extra("extra", F("truth")),
    "filled": lambda table: Backfill("item", {"label": Value("x")}, where=Q(label=None)),
}
WRONG = {
    "of a bigger type": "size IS DISTINCT FROM truth",
    "of another type in another column": "other IS DISTINCT FROM truth::text",
    "renamed": "other IS DISTINCT FROM truth",
    "computed": "extra IS DISTINCT FROM truth",
    "filled": "size2 IS NULL AND id < 10",
}


@pytest.mark.parametrize(("what", "name"), combined(ON_TABLE, NAMES))
def test_a_table_may_have_any_name(shop, what, name):
    create = item("size", name)
    assert_is_right(shop, create, ON_TABLE[what](name), WRONG[what], insert(table=name), name)


PARTITIONED = """
    CREATE TABLE shop_item (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, size integer, size2 varchar(90),
        truth integer) PARTITION BY RANGE (id);
    CREATE TABLE {low} PARTITION OF shop_item FOR VALUES FROM (MINVALUE) TO (5);
    CREATE TABLE {high} PARTITION OF shop_item FOR VALUES FROM (5) TO (MAXVALUE);
"""
PARTITIONS = ['p"x', 'p"."x', "p'x", "{}", "$safemig$", "Mixed Case"]
ON_PARTITIONS: dict[str, Callable[[str], Operation]] = {
    **ON_TABLE,
    "indexed": lambda table: AddIndex("item", models.Index(fields=["size"], name="item_size")),
    "unique": lambda table: AddConstraint("item", models.UniqueConstraint(fields=["id", "truth"], name="item_truth")),
}


@pytest.mark.parametrize(("what", "name"), combined(ON_PARTITIONS, PARTITIONS))
def test_a_partition_may_have_any_name(shop, what, name):
    create = PARTITIONED.format(low=quoted(name), high=quoted(f"{name} high"))
    model = item("size")
    shop.deploy(SeparateDatabaseAndState([RunSQL(create)], [model])).check()
    shop.sql("INSERT INTO shop_item (size, truth) SELECT n, n FROM generate_series(1, 9) n")
    shop.deploy(ON_PARTITIONS[what]("shop_item")).check()
    shop.request(insert())
    shop.contract().check()
    assert shop.count(WRONG.get(what, "FALSE"), "shop_item") == 0


# Values.

VALUES = ["$safemig$", "it's", "\\'", "{rows}", "100%", "%s", "\n$safemig$;"]
VALUES += ["$$", "\\", "{}", "'; DROP TABLE shop_item; --"] if ONE_IN == 1 else []
LABELLED: dict[str, Callable[[str], Operation]] = {
    "a default": lambda value: AddField("item", "extra", text(default=value)),
    "computed": lambda value: extra("extra", Concat(Value(value), F("truth")), text()),
    "meanwhile": lambda value: extra("extra", label_of, text(), meanwhile=value),
    "NOT NULL": lambda value: AlterField("item", "label", text(default=value, db_column="size2")),
    "filled": lambda value: Backfill("item", {"label": Value(value)}, where=Q(label=None)),
    "filled where it isn't": lambda value: Backfill(
        "item", {"label": Value(value)}, where=~Q(label=value) | Q(label=None)
    ),
}


def label_of(item: Any) -> str:
    return str(item.truth)


@pytest.mark.parametrize("what", LABELLED)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_may_hold_anything(shop, what, value):
    shop.deploy(item("size")).check()
    shop.sql("INSERT INTO shop_item (size, truth) SELECT n, n FROM generate_series(1, 9) n")
    shop.deploy(LABELLED[what](value)).check()
    shop.request(insert())
    column = "size2" if what.startswith(("filled", "NOT")) else "extra"
    if not what.startswith("filled"):
        given = shop.sql(f"SELECT {column} FROM shop_item WHERE truth = 7 ORDER BY id DESC LIMIT 1")
        assert given == [f"{value}7" if what == "computed" else value]
    shop.contract().check()
    assert shop.count("TRUE", "shop_item") == 10


# Schemas.


@pytest.mark.parametrize("where", ["a schema of the writer's", "a temporary table"])
def test_a_body_sees_no_table_but_the_one_that_its_author_named(books, role: Role, where):
    writer = role("writer")
    books.sql(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{writer}"')
    books.deploy(AddFieldNullableThenBackfill("book", "extra", text(), backfill=F("author__name"))).check()
    forged = "TABLE shop_author AS SELECT n AS id, 'forged' AS name FROM generate_series(1, 9) n"
    create = f"CREATE TEMPORARY {forged}"
    if where == "a schema of the writer's":
        books.sql(f'CREATE SCHEMA AUTHORIZATION "{writer}"')
        create = f"CREATE {forged.replace('shop_author', f'{writer}.shop_author')}"
    insert = "INSERT INTO public.shop_book (title, code, author_id) VALUES ('mine', 'c', 3)"
    books.request(f"{create}; {insert}", role=writer)
    assert books.sql("SELECT extra FROM shop_book WHERE title = 'mine'") == ["author 3"]
    books.sql(f'DROP OWNED BY "{writer}"')


PATHS = ['"$user", public', "public", "pg_catalog, public", "public, pg_catalog", "spare, public"]


@pytest.mark.parametrize("change", [BIGGER, TEXT, RENAMED, COMPUTED, NOT_NULL], ids=str)
@pytest.mark.parametrize("path", PATHS)
def test_whatever_the_search_path_a_change_arrives_or_is_refused(books, change, path):
    books.sql("CREATE SCHEMA spare")
    books.sql(f"ALTER DATABASE {books.database} SET search_path = {path}")
    before = books.catalog()
    expanded = books.deploy(change.operation)
    if expanded.refused:
        books.assert_unchanged(before)
        return
    expanded.check()
    change.write(books)
    books.contract().check()
    assert books.count(change.wrong) == 0
