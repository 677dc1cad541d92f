"""Operations that people split into state and database, those of django.contrib.postgres, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres import operations as contrib
from django.db import migrations, models
from django.db.migrations.state import ProjectState
from django.db.models.fields.related import RelatedField

from safemigrations.checking import rules
from safemigrations.checking.handwritten import Handwritten
from safemigrations.checking.hazard import Hazard
from safemigrations.operations import AddIndexConcurrently, ExpandRenameModel
from safemigrations.operations.rule import Context

from .test_sql_reader import MODELS

ORDER: Any = MODELS[1]
STATE = migrations.SeparateDatabaseAndState
SQL = migrations.RunSQL
INDEX = models.Index(fields=["state"], name="order_state")
CHECK = models.CheckConstraint(condition=models.Q(total__gte=0), name="order_total")


def ids(*operations: Any, atomic: bool = True) -> list[str]:
    """Without what they all begin with; "?" for what is not understood."""
    state = ProjectState()
    for operation in MODELS:
        operation.state_forwards("shop", state)
    made = type("Migration", (migrations.Migration,), {"operations": list(operations), "atomic": atomic})
    reader = Handwritten(made("0002", "shop"), state, (), ())
    said = [one for index, operation in enumerate(operations) for one in reader.read(index, operation)]
    return [one.id.rpartition(".")[2] if isinstance(one, Hazard) else "?" for one in said]


def forget(name: str, *database: Any) -> Any:
    return STATE(state_operations=[migrations.RemoveField("order", name)], database_operations=list(database))


def fill(apps: Any, schema_editor: Any) -> None:
    for order in (
        apps.get_model("shop", "Order").objects.using(schema_editor.connection.alias).filter(pk__lt=5).iterator()
    ):
        order.save()


def fill_purchases(apps: Any, schema_editor: Any) -> None:
    apps.get_model("shop", "Purchase").objects.using(schema_editor.connection.alias).update(state="a")


def test_rows_of_a_model_that_gets_another_name():
    """By Django's operation, or by ours; the model has the new name for what comes after it."""
    fill = migrations.RunPython(fill_purchases, migrations.RunPython.noop)
    for rename in (migrations.RenameModel("Order", "Purchase"), ExpandRenameModel("Order", "Purchase")):
        assert ids(rename, fill, atomic=False) == ["E301"]


def moved(*operations: Any, **options: Any) -> list[str]:
    """Where another app has a model Order, too, which is made with these options."""
    copy = migrations.CreateModel("Order", ORDER.fields, options)
    state = ProjectState()
    for label, operation in (*(("shop", each) for each in MODELS), ("sales", copy)):
        operation.state_forwards(label, state)
    made = type("Migration", (migrations.Migration,), {"operations": list(operations)})
    reader = Handwritten(made("0002", "shop"), state, (), ())
    return [one.id for index, each in enumerate(operations) for one in reader.read(index, each)]  # type: ignore[union-attr]


def test_a_model_that_moves_to_another_app():
    """It goes from the state of its app alone, its keys first, as Django writes it; its table has a new owner."""
    gone = [migrations.RemoveField("order", "customer"), migrations.DeleteModel("Order")]
    assert moved(STATE(state_operations=gone)) == []
    assert moved(STATE(state_operations=gone), db_table="shop_order") == []
    assert ids(STATE(state_operations=gone)) == ["E310"]
    assert moved(STATE(state_operations=gone[:1])) == ["safemigrations.E310"]


PAIRS: dict[str, tuple[str, list[Any], list[Any], bool]] = {  # what: id, the hazard, its twin, atomic
    "a column that new code doesn't fill": ("E310", [forget("number")], [forget("state")], True),
    "a column with a default": ("E310", [forget("number")], [forget("source")], True),
    "a column that may be null by then": (
        "E310",
        [forget("number")],
        [forget("number", SQL("ALTER TABLE shop_order ALTER number DROP NOT NULL", ""))],
        True,
    ),
    "a table with foreign keys": (
        "E310",
        [STATE(state_operations=[migrations.DeleteModel("Order")])],
        [STATE(state_operations=[migrations.DeleteModel("Customer")])],
        True,
    ),
    "concurrently": (
        "E201",
        [contrib.AddIndexConcurrently("order", INDEX)],
        [AddIndexConcurrently("order", INDEX)],
        True,
    ),
    "validated in the same transaction": (
        "E210",
        [contrib.AddConstraintNotValid("order", CHECK), contrib.ValidateConstraint("order", "order_total")],
        [contrib.ValidateConstraint("order", "order_total")],
        True,
    ),
    "validated in a transaction of its own": (
        "E210",
        [contrib.AddConstraintNotValid("order", CHECK), contrib.ValidateConstraint("order", "order_total")],
        [contrib.AddConstraintNotValid("order", CHECK)],
        True,
    ),
    "an index of the old release": (
        "E207",
        [contrib.RemoveIndexConcurrently("order", "order_state")],
        [contrib.RemoveIndexConcurrently("nobody", "order_state")],
        False,
    ),
    "no way back": (
        "W305",
        [migrations.RunPython(fill)],
        [migrations.RunPython(fill, migrations.RunPython.noop)],
        False,
    ),
    "schema, then rows": (
        "E210",
        [
            migrations.AddField("order", "note", models.TextField(null=True)),
            migrations.RunPython(fill, migrations.RunPython.noop),
        ],
        [
            migrations.RunPython(fill, migrations.RunPython.noop),
            migrations.AddField("order", "note", models.TextField(null=True)),
        ],
        True,
    ),
    "schema of a new table, then rows": (
        "E210",
        [migrations.AddIndex("order", INDEX), migrations.RunPython(fill, migrations.RunPython.noop)],
        [
            migrations.CreateModel("Page", [("id", models.BigAutoField(primary_key=True))]),
            migrations.AddField("page", "note", models.TextField(null=True)),
            migrations.RunPython(fill, migrations.RunPython.noop),
        ],
        True,
    ),
}


@pytest.mark.parametrize("what", PAIRS)
def test_the_hazard_and_its_twin(what):
    id, hazard, twin, atomic = PAIRS[what]
    assert ids(*hazard, atomic=atomic) == [id]
    assert ids(*twin, atomic=atomic) == []


def test_apart_they_hold_nothing():
    both = contrib.AddConstraintNotValid("order", CHECK), contrib.ValidateConstraint("order", "order_total")
    assert ids(*both, atomic=False) == []


def test_noop_does_nothing():
    noop = migrations.RunPython.noop
    assert ids(migrations.RunPython(noop)) == ids(migrations.RunPython(noop, noop)) == ["I309"]
    assert ids(migrations.RunPython(noop, fill)) == []


def test_sql_within_a_split_operation():
    assert ids(STATE(database_operations=[SQL("DROP INDEX i", "")])) == ["E207"]


def test_python_within_a_split_operation():
    assert ids(STATE(database_operations=[migrations.RunPython(fill)]), atomic=False) == ["W305"]


def test_the_tables_of_many_to_many_fields_are_new_too():
    fields = [("id", models.BigAutoField(primary_key=True)), ("orders", models.ManyToManyField("shop.Order"))]
    index = SQL("CREATE INDEX i ON shop_page_orders (order_id)", "")
    assert ids(migrations.CreateModel("Page", fields), index) == []
    assert ids(index) == ["E200"]


class Tags(RelatedField):  # type: ignore[type-arg]
    """A relation of somebody else, without a table of its own: as TaggableManager of django-taggit."""

    many_to_many = True
    remote_field: Any = models.ManyToManyRel(None, "shop.Customer", through="shop.Order")  # type: ignore[arg-type]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rel=self.remote_field, **kwargs)


def test_a_relation_of_somebody_else():
    assert not hasattr(Tags(), "db_table")
    page = migrations.CreateModel("Page", [("id", models.BigAutoField(primary_key=True)), ("tags", Tags())])
    assert ids(page, SQL("CREATE INDEX i ON shop_page (id)", "")) == []
    state = ProjectState()
    for operation in (*MODELS, page):
        operation.state_forwards("shop", state)
    after = state.clone()
    alter = migrations.AlterField("page", "tags", Tags(blank=True))
    alter.state_forwards("shop", after)
    assert rules.find(alter, Context("shop", state, after)) is None
