"""What an open contract holds is looked for once, before the first operation of a migration."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations import AddField, AlterField, CreateModel, RunSQL, SeparateDatabaseAndState

from safemigrations.errors import StepFailed
from safemigrations.operations import AddFieldWithDefault, AddIndexConcurrently, RemoveFieldLater

from .shop import CATCH_UP, KEY, Shop, book
from .snapshot import difference, snapshot

NOTE = ("note", models.TextField(default=""))
ADD_NOTE = AddFieldWithDefault("book", "note", models.TextField(default=""))
HELD = (
    "The column note of shop_book still belongs to the contract of shop.0002 (drop note of shop_book). Nothing was "
    "changed. When no server runs the release before that migration any more, type: python manage.py migrate shop 0002 "
    f"--contract --only{CATCH_UP}"
)


@pytest.fixture
def shop(database):
    """The contract that drops a column is open."""
    shop = Shop(database, book(NOTE))
    shop.migrate(RemoveFieldLater("book", "note"))
    return shop


SECOND = {
    "ours": ADD_NOTE,
    "stock": AddField("book", "note", models.TextField(null=True)),
    "stock, in the database alone": SeparateDatabaseAndState(
        [AddField("book", "note", models.TextField(null=True))], []
    ),
}


@pytest.mark.parametrize("what", SECOND)
def test_nothing_is_changed_by_the_operations_before_the_one_that_is_refused(shop, what):
    before = snapshot(connection)
    first = AddFieldWithDefault("book", "size", models.IntegerField(default=1))
    with pytest.raises(StepFailed) as caught:
        shop.migrate(first, RunSQL("CREATE TABLE trace ()"), SECOND[what])
    assert str(caught.value) == HELD
    assert difference(before, snapshot(connection)) == {}


def test_what_earlier_operations_make_of_the_models_is_known(shop):
    """The model that the second operation names exists by the first."""
    sale = CreateModel("Sale", [KEY, ("note", models.TextField())], {"db_table": "sale"})
    shop.migrate(sale, AddField("sale", "size", models.TextField(null=True)))
    with pytest.raises(StepFailed, match="The table shop_book still belongs"):
        shop.migrate(CreateModel("Again", [KEY], {"db_table": "shop_book"}))


def test_the_queue_is_read_once_for_a_migration(shop):
    """However many operations the migration has, the table is looked for once, and its rows are read once."""
    asked: list[str] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if "safemigrations_contract" in sql:
            asked.append(sql)
        return execute(sql, *rest)

    indexes = [models.Index(fields=["title"], name=f"book_{number}") for number in range(5)]
    with connection.execute_wrapper(watch):
        shop.migrate(*(AddIndexConcurrently("book", index) for index in indexes))
    assert [sql.split()[:2] for sql in asked] == [["SELECT", "attname"], ["SELECT", '"safemigrations_contract"."id",']]


def test_the_table_of_another_schema_is_another_table(database):
    """A contract in the schema of one tenant stops no change in that of another."""
    tables = {f"{name}_book": f'"{name}"."book"' for name in ("one", "two")}
    shop = Shop(
        database,
        RunSQL("CREATE SCHEMA one; CREATE SCHEMA two"),
        *(CreateModel(name, [KEY, NOTE], {"db_table": table}) for name, table in tables.items()),
    )
    shop.migrate(RemoveFieldLater("one_book", "note"))
    shop.migrate(AlterField("two_book", "note", models.TextField(null=True)))
    with pytest.raises(StepFailed, match="The column note of book still belongs to the contract"):
        shop.migrate(AddField("one_book", "note", models.TextField(null=True)))


def test_a_table_whose_schema_is_not_said_may_be_that_of_any(database):
    """The search_path finds it, and only the server knows where."""
    tables = {"one_book": '"public"."book"', "two_book": "book"}
    first, second = (CreateModel(name, [KEY, NOTE], {"db_table": table}) for name, table in tables.items())
    shop = Shop(database, first, SeparateDatabaseAndState([], [second]))
    shop.migrate(RemoveFieldLater("one_book", "note"))
    with pytest.raises(StepFailed, match="The column note of book still belongs to the contract"):
        shop.migrate(AlterField("two_book", "note", models.TextField(null=True)))
