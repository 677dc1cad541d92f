"""A field that goes and one that comes with the same column: makemigrations keeps the column, and its values."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.migrations import AlterField, CreateModel, RenameField
from django.db.migrations.state import ProjectState
from django.db.models.functions import Lower

from safemigrations.hooks.one_column import successions

from .project import Project
from .shop import KEY

AUTHOR = "class Author(models.Model):\n    name = models.CharField(max_length=40)\n\n\n"
CARD = "class Card(models.Model):\n    number = models.IntegerField()\n    "
NUMBER, KEPT = (
    CARD + "holder_id = models.IntegerField()\n",
    CARD + "holder = models.ForeignKey(Author, models.CASCADE)\n",
)
FILL = """
    INSERT INTO shop_author (name) SELECT 'author ' || n FROM generate_series(1, 7) n;
    INSERT INTO shop_card (number, holder_id) SELECT n, n FROM generate_series(1, 5) n
"""
TAKES_OVER = "card.holder takes over the column holder_id of card.holder_id, with its values."


@pytest.fixture
def project(tmp_path, dsn):
    made = Project(tmp_path, dsn)
    made.write_models("shop", AUTHOR + NUMBER)
    made.manage("makemigrations").check()
    made.manage("migrate").check()
    made.sql(FILL)
    made.write_models("shop", AUTHOR + KEPT)
    return made


def test_a_number_becomes_a_foreign_key_with_its_values(project):
    assert TAKES_OVER in project.manage("makemigrations", "--noinput").check().stderr
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_card (number, holder_id) VALUES (6, 6)")
    project.manage("migrate", "--contract", "--noinput").check()
    assert project.sql("SELECT number, holder_id FROM shop_card ORDER BY id") == [(n, n) for n in range(1, 7)]
    project.manage("makemigrations", "--check").check()
    project.manage("check").check()
    project.manage("migrate", "shop", "0001").check()
    assert project.sql("SELECT number, holder_id FROM shop_card ORDER BY id") == [(n, n) for n in range(1, 7)]


def test_a_person_may_say_that_the_new_column_is_empty(project):
    """Then the two would share a name while both releases run, which is refused as before."""
    result = project.manage("makemigrations", input="n\n1\n1\n").check()
    assert (
        "card.holder takes over the column holder_id of card.holder_id, with its values. Is that so?" in result.stdout
    )
    assert "drops a column or table whose name is taken in the same release" in result.stderr


def state(**fields: Any) -> ProjectState:
    made = ProjectState()
    for model in (CreateModel("Author", [KEY]), CreateModel("Card", [KEY, *fields.items()])):
        model.state_forwards("shop", made)
    return made


def found(old: ProjectState, new: ProjectState) -> list[Any]:
    return [each.operations for each in successions(old, new)]


def author(**options: Any) -> Any:
    return models.ForeignKey("shop.author", models.CASCADE, **options)


def test_the_column_is_kept_by_name_and_the_field_renamed():
    keep, rename = found(state(holder_id=models.IntegerField()), state(holder=author()))[0]
    assert isinstance(keep, AlterField)
    assert (keep.name, keep.field.db_column) == ("holder_id", "holder_id")
    assert isinstance(rename, RenameField)
    assert (rename.old_name, rename.new_name) == ("holder_id", "holder")


def test_a_column_that_has_its_name_already_is_left_alone():
    (operations,) = found(state(keeper=models.IntegerField(db_column="holder_id")), state(holder=author()))
    assert [type(operation) for operation in operations] == [RenameField]


OTHERS = {
    "another column": (state(number=models.IntegerField()), state(holder=author())),
    "a rename, which Django asks about": (state(old=author(db_column="x")), state(new=author(db_column="x"))),
    "a field that stays": (state(holder=models.IntegerField()), state(holder=author())),
    "a many-to-many field": (
        state(holder_id=models.IntegerField()),
        state(holder=models.ManyToManyField("shop.author")),
    ),
    "a field that is computed": (
        state(
            holder_id=models.GeneratedField(expression=Lower("id"), output_field=models.IntegerField(), db_persist=True)
        ),
        state(holder=author()),
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_no_succession(what):
    assert found(*OTHERS[what]) == []


OF_CUSTOMERS = """class Customer(models.Model):
    name = models.CharField(max_length=40)


class Guest(Customer):
    room = models.IntegerField()


class Bill(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
"""
OF_CLIENTS = """class Client(models.Model):
    name = models.CharField(max_length=40)


class Guest(Client):
    client_ptr = models.OneToOneField(
        Client, models.CASCADE, parent_link=True, primary_key=True, db_column="customer_ptr_id"
    )
    room = models.IntegerField()


class Bill(models.Model):
    client = models.ForeignKey(Client, models.CASCADE, db_column="customer_id", related_name="bills")
"""


def test_relations_take_over_columns_while_their_model_gets_another_name(tmp_path, dsn):
    project = Project(tmp_path, dsn)
    project.write_models("shop", OF_CUSTOMERS)
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_customer (name) VALUES ('a'); INSERT INTO shop_bill (customer_id) VALUES (1)")
    project.write_models("shop", OF_CLIENTS)
    project.manage("makemigrations", input="y\ny\ny\n").check()
    project.manage("check").check()
    project.manage("migrate").check()
    project.manage("makemigrations", "--check").check()
    project.manage("migrate", "--contract", "--noinput").check()
    assert project.sql("SELECT customer_id FROM shop_bill") == [(1,)]
    project.manage("migrate", "shop", "0001").check()
