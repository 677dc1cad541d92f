"""Every change, one line each: what the suites that run over every change go through.

A case is a stock operation, or several that Django's autodetector writes together, on the shop of `BASE`. What is
tested is what the rules make of it, split as makemigrations splits it. A change that stock Django can't say is given
as our own operation.
"""

from __future__ import annotations

import copy
import datetime
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import django
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, IntegerRangeField
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.migrations import Migration
from django.db.migrations.operations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterModelTable,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    CreateModel,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameField,
    RenameModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import BaseConstraint, CheckConstraint, Deferrable, F, Index, Q, UniqueConstraint, Value
from django.db.models.functions import Concat, Lower, Now, Upper
from django.utils import timezone

from safemigrations.hooks.atomicity import split
from safemigrations.hooks.autodetector import replace_unsafe
from safemigrations.operations import (
    AddFieldNullableThenBackfill,
    AlterFieldConcurrently,
    ExpandAlterField,
    MoveModelIn,
    SetNotNullLater,
    ValidateConstraintLater,
)

from . import citext

LABEL, STORE = "shop", "store"


def _itself(value: Any) -> Any:
    return value


def _day(value: Any) -> Any:
    return value.date() if isinstance(value, datetime.datetime) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _digit(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


class CaseInsensitive(models.TextField):  # type: ignore[type-arg]
    """A text whose case counts for nothing, as projects spell it since Django has no such field any more."""

    def db_type(self, connection: Any) -> str:
        return "citext"


class InStore(Operation):
    """An operation of the app store, which has no migrations of its own here."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        self.operation.state_forwards(STORE, state)

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self.operation.database_forwards(STORE, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self.operation.database_backwards(STORE, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return self.operation.describe()


class Case:
    """`operations` are what Django's autodetector writes for one change of the models.

    `rows_differ`: stock operations give every row the same value, or a moment's, so only the schemas can be compared.
    `none_until_contract`: fields ("order.extra") that the new release may find null, as their documentation says.
    `values_are_lost`: the contract drops values that the way back can't invent.
    `nulls_are_filled`: fields that no row has null any more, whatever was written, once the change is expanded.
    `named_anew`: going back Django gives a constraint the name of one that is added, not of one that was created.
    `former_names`: what is named after a column or table that the same release renames, before or after that.
    `counterparts`: relations ("order.category") of which either release knows only rows from before the change.
    `compared_as`: gives what a value and the same in the other release's type have in common.
    `safe`: stock operations do no harm, so the rules leave them alone.
    """

    def __init__(
        self,
        name: str,
        *operations: Operation,
        rows_differ: bool = False,
        none_until_contract: frozenset[str] = frozenset(),
        values_are_lost: bool = False,
        nulls_are_filled: frozenset[str] = frozenset(),
        named_anew: bool = False,
        former_names: bool = False,
        counterparts: frozenset[str] = frozenset(),
        compared_as: Callable[[Any], Any] | None = None,
        safe: bool = False,
    ) -> None:
        self.name, self.operations = name, operations
        self.rows_differ, self.none_until_contract = rows_differ, none_until_contract
        self.values_are_lost, self.safe = values_are_lost, safe
        self.nulls_are_filled, self.named_anew = nulls_are_filled, named_anew
        self.former_names, self.compared_as = former_names, compared_as or _itself
        self.counterparts = counterparts

    def __repr__(self) -> str:
        return self.name

    @property
    def models(self) -> set[str]:
        """Names of the models that change."""
        names = [getattr(operation, "model_name", None) or operation.name for operation in self.operations]  # type: ignore[attr-defined]
        return {name.lower() for name in names}

    @property
    def renamed(self) -> dict[str, str]:
        """What the new release calls a model, with its app -> what the old one calls it."""
        labels = {}
        for operation in self.operations:
            if isinstance(operation, RenameModel):
                labels[f"{LABEL}.{operation.new_name_lower}"] = f"{LABEL}.{operation.old_name_lower}"
            elif isinstance(operation, MoveModelIn):
                labels[f"{LABEL}.{operation.name.lower()}"] = f"{operation.from_app}.{operation.name.lower()}"
        return labels


def key() -> tuple[str, models.Field[Any, Any]]:
    return "id", models.BigAutoField(primary_key=True)


def small_key() -> tuple[str, models.Field[Any, Any]]:
    return "id", models.AutoField(primary_key=True)


def _points_at(name: str, **options: Any) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(f"shop.{name}", options.pop("on_delete", models.CASCADE), **options)


PARTITIONED = """
    CREATE TABLE shop_visit (
        id bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY, path varchar(50) NOT NULL, seconds integer NOT NULL,
        PRIMARY KEY (id)
    ) PARTITION BY HASH (id);
    CREATE TABLE shop_visit_0 PARTITION OF shop_visit FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE shop_visit_1 PARTITION OF shop_visit FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE INDEX visit_seconds ON shop_visit (seconds);
"""
VISIT = CreateModel(
    "Visit",
    [key(), ("path", models.CharField(max_length=50)), ("seconds", models.IntegerField())],
    {"indexes": [Index(fields=["seconds"], name="visit_seconds")]},
)

# Rows that both releases know have one number in either table; those that one of the two makes meanwhile never do.
FAR, NEAR = "CASE WHEN {} <= 5 THEN {} ELSE {} + 1000000 END", "CASE WHEN {} <= 5 THEN {} ELSE {} - 1000000 END"

BASE: Sequence[Operation] = (
    citext.CREATE,
    CreateModel(
        "Customer",
        [
            key(),
            ("name", models.CharField(max_length=50)),
            ("email", models.CharField(max_length=80, unique=True)),
            ("country", models.CharField(max_length=2, choices=[("de", "Germany"), ("nl", "Netherlands")])),
        ],
    ),
    CreateModel("Tag", [small_key(), ("name", models.CharField(max_length=50, unique=True))]),
    CreateModel(
        "Category",
        [
            small_key(),
            ("name", models.CharField(max_length=50)),
            ("parent", _points_at("Category", null=True)),
            ("position", models.IntegerField()),
        ],
    ),
    CreateModel("Invoice", [key(), ("amount", models.DecimalField(max_digits=10, decimal_places=2))]),
    CreateModel("Person", [small_key(), ("name", models.CharField(max_length=50))]),
    CreateModel(
        "Courier",
        [
            (
                "person_ptr",
                models.OneToOneField(
                    "shop.Person", models.CASCADE, auto_created=True, parent_link=True, primary_key=True
                ),
            ),
            ("bike", models.CharField(max_length=50)),
        ],
        bases=("shop.person",),
    ),
    CreateModel(
        "Order",
        [
            key(),
            ("number", models.CharField(max_length=40, unique=True)),
            ("customer", _points_at("Customer", related_name="orders")),
            ("category", _points_at("Category", on_delete=models.SET_NULL, null=True)),
            ("courier", _points_at("Courier", on_delete=models.PROTECT, null=True)),
            ("invoice", models.OneToOneField("shop.Invoice", models.CASCADE)),
            ("tags", models.ManyToManyField("shop.Tag", related_name="orders")),
            ("note", models.TextField(default="it's 100% new")),
            ("remark", models.CharField(max_length=40, null=True)),
            ("quantity", models.PositiveIntegerField()),
            ("total", models.DecimalField(max_digits=10, decimal_places=2)),
            (
                "gross",
                models.GeneratedField(
                    expression=F("total") * 2,
                    output_field=models.DecimalField(max_digits=12, decimal_places=2),
                    db_persist=True,
                ),
            ),
            ("data", models.JSONField(default=dict)),
            ("state", models.CharField(max_length=10, db_default="open")),
            ("lane", models.CharField(max_length=10, db_index=True)),
            ("channel", models.CharField(max_length=30, choices=[("web", "Web"), ("shop", "Shop")])),
            ("reference", models.CharField(max_length=40)),
            ("region", models.CharField(max_length=30)),
            ("sequence", models.IntegerField(choices=[(1, "first"), (2, "second")])),
            ("weight", models.IntegerField()),
            ("limit", models.IntegerField()),
            ("due", models.DateField()),
            ("placed", models.DateTimeField(auto_now_add=True)),
            ("refund", _points_at("Invoice", null=True, db_constraint=False, related_name="refunds")),
        ],
        {
            "unique_together": {("channel", "reference")},
            "indexes": [
                Index(fields=["due", "sequence"], name="order_due"),
                Index(Upper("note"), name="order_note_upper"),
            ],
            "constraints": [
                UniqueConstraint(fields=["region", "sequence"], name="order_region_sequence"),
                CheckConstraint(condition=Q(weight__lte=F("limit")), name="order_weight_limit"),
            ],
        },
    ),
    CreateModel("Currency", [key(), ("code", models.CharField(max_length=30, unique=True))]),
    CreateModel(
        "Price",
        [
            key(),
            ("currency", _points_at("Currency", to_field="code", related_name="prices")),
            ("amount", models.DecimalField(max_digits=10, decimal_places=2)),
            ("memo", models.CharField(max_length=40)),
            ("slot", models.IntegerField()),
            ("span", IntegerRangeField()),
            ("labels", ArrayField(models.CharField(max_length=40))),
        ],
        {
            "indexes": [
                Index(fields=["amount"], include=["memo"], condition=Q(slot__gt=1), name="price_amount"),
                GinIndex(fields=["labels"], name="price_labels"),
            ],
            "constraints": [
                UniqueConstraint(fields=["slot"], deferrable=Deferrable.DEFERRED, name="price_slot"),
                ExclusionConstraint(expressions=[("span", "&&")], name="price_span"),
            ],
        },
    ),
    SeparateDatabaseAndState([RunSQL(PARTITIONED, "DROP TABLE shop_visit")], [VISIT]),
    InStore(
        CreateModel(
            "Parcel",
            [
                key(),
                ("label", models.CharField(max_length=40)),
                ("inside", models.ForeignKey("store.Parcel", models.CASCADE, null=True, related_name="holds")),
                ("beside", models.ManyToManyField("store.Parcel", related_name="+")),
            ],
        )
    ),
    CreateModel("Delivery", [key(), ("parcel", models.ForeignKey("store.Parcel", models.CASCADE))]),
)


# What the migrations of the cases call by name.


def random_code() -> str:
    return uuid.uuid4().hex


def shouted_note(order: Any) -> str:
    return f"{order.number}!"


def short_list() -> list[str]:
    return ["it's", "100%"]


def _index(name: str, *expressions: Any, model: str = "order", **options: Any) -> AddIndex:
    return AddIndex(model, Index(*expressions, name=name, **options))


def _add(field: models.Field[Any, Any], *, model: str = "order", preserve_default: bool = True) -> AddField:
    return AddField(model, "extra", field, preserve_default)


def _filled(field: models.Field[Any, Any], **how: Any) -> AddFieldNullableThenBackfill:
    return AddFieldNullableThenBackfill("order", "extra", field, **how)


def _text(**options: Any) -> models.CharField[Any, Any]:
    return models.CharField(**{"max_length": 200, **options})


def _alter(name: str, field: models.Field[Any, Any], *, preserve_default: bool = True) -> AlterField:
    return AlterField("order", name, field, preserve_default)


def _remark(**options: Any) -> models.CharField[Any, Any]:
    return models.CharField(**{"max_length": 40, **options})


def _number_of(column: str) -> models.IntegerField[Any, Any]:
    """What a foreign key is without its target."""
    return models.IntegerField(null=True, db_index=True, db_column=column)


def _decimal(max_digits: int, decimal_places: int) -> models.DecimalField[Any, Any]:
    return models.DecimalField(max_digits=max_digits, decimal_places=decimal_places)


def _not_null(name: str, field: models.Field[Any, Any], **how: Any) -> SetNotNullLater:
    return SetNotNullLater("order", name, field, **how)


def _constraint(constraint: BaseConstraint, model: str = "order") -> AddConstraint:
    return AddConstraint(model, constraint)


def _replaced(constraint: BaseConstraint) -> tuple[Operation, ...]:
    """Another of that name goes."""
    return RemoveConstraint("order", constraint.name), AddConstraint("order", constraint)


REGION = "order_region_sequence"
WEIGHT = CheckConstraint(condition=Q(weight__gte=0) & ~Q(lane="50%"), name="order_extra")
EXTRA = frozenset({"order.extra"})
REMARK = frozenset({"order.remark"})

CASES: Sequence[Case] = (
    Case("add_index", _index("order_total", fields=["total"])),
    Case("add_index_on_expression", _index("order_upper", Upper("remark"), F("total").desc())),
    Case("add_index_with_condition", _index("order_open", fields=["total"], condition=Q(state="o'pen 100%"))),
    Case("add_index_with_opclass", _index("order_like", fields=["channel"], opclasses=["varchar_pattern_ops"])),
    Case("add_index_with_expression_opclass", _index("order_low", OpClass(Lower("channel"), "text_pattern_ops"))),
    Case("add_index_with_include", _index("order_cover", fields=["total"], include=["quantity", "weight"])),
    Case("add_index_gin", AddIndex("order", GinIndex(fields=["data"], name="order_data", fastupdate=False))),
    Case("add_index_on_partitioned_table", _index("visit_path", model="visit", fields=["path"])),
    Case("add_index_on_child_model", _index("courier_bike", model="courier", fields=["bike"])),
    Case("remove_index", RemoveIndex("order", "order_due")),
    Case("remove_index_on_expression", RemoveIndex("order", "order_note_upper")),
    Case("remove_index_on_partitioned_table", RemoveIndex("visit", "visit_seconds")),
    Case(
        "index_of_field_becomes_one_of_meta",
        _alter("lane", models.CharField(max_length=10)),
        _index("order_lane", fields=["lane"]),
    ),
    Case(
        "rename_field_and_change_its_constraint_to_a_new_field",
        RemoveConstraint("order", "order_region_sequence"),
        RemoveIndex("order", "order_due"),
        RenameField("order", "sequence", "step"),
        _index("order_due", fields=["due", "step"]),
        _add(models.IntegerField(null=True)),
        _constraint(UniqueConstraint(fields=["region", "extra"], name="order_region_sequence")),
    ),
    Case(
        "index_of_meta_for_like_replaces_that_of_field",
        _alter("lane", models.CharField(max_length=10)),
        _index("order_lane", fields=["lane"], opclasses=["varchar_pattern_ops"]),
    ),
    Case(
        "unique_field_becomes_constraint",
        _alter("number", models.CharField(max_length=40)),
        _constraint(UniqueConstraint(fields=["number"], name="order_number")),
        named_anew=True,
    ),
    Case(
        "unique_together_becomes_constraint",
        AlterUniqueTogether("order", set()),
        _constraint(UniqueConstraint(fields=["channel", "reference"], name="order_channel_reference")),
    ),
    Case(
        "constraint_becomes_unique_together",
        RemoveConstraint("order", "order_region_sequence"),
        AlterUniqueTogether("order", {("channel", "reference"), ("region", "sequence")}),
    ),
    Case(
        "check_of_field_becomes_constraint",
        _alter("quantity", models.IntegerField()),
        _constraint(CheckConstraint(condition=Q(quantity__gte=0), name="order_quantity_min")),
        named_anew=True,
    ),
    Case("replace_index", RemoveIndex("order", "order_due"), _index("order_due", fields=["due", "weight"])),
    Case("add_field", _add(models.IntegerField(default=7))),
    Case("add_field_on_child_model", _add(models.IntegerField(default=7), model="courier")),
    Case("add_field_on_parent_model", _add(models.IntegerField(default=7), model="person")),
    Case("add_field_on_partitioned_table", _add(models.IntegerField(default=7), model="visit")),
    Case("add_field_one_off_default", _add(models.IntegerField(default=7), preserve_default=False)),
    Case("add_field_text", _add(_text(default='it\'s "100%" \\ %s {} ü\n-- $$'))),
    Case("add_field_blank_text", _add(_text(blank=True), preserve_default=False)),
    Case("add_field_choices", _add(_text(choices=[("a", "A"), ("b'", "B")], default="b'"))),
    Case("add_field_boolean", _add(models.BooleanField(default=False))),
    Case("add_field_decimal", _add(models.DecimalField(max_digits=8, decimal_places=3, default=Decimal("1.5")))),
    Case("add_field_json", _add(models.JSONField(default={"it's": ["100%", None, 1.5]}))),
    Case("add_field_dict", _add(models.JSONField(default=dict))),
    Case("add_field_list", _add(models.JSONField(default=list))),
    Case("add_field_array", _add(ArrayField(models.TextField(), default=list))),
    Case(
        "add_field_array_with_values",
        _add(ArrayField(models.TextField(), default=short_list)),
        none_until_contract=EXTRA,
    ),
    Case("add_field_uuid", _add(models.UUIDField(default=uuid.UUID(int=7)))),
    Case("add_field_uuid4", _add(models.UUIDField(default=uuid.uuid4)), rows_differ=True),
    Case("add_field_uuid4_unique", _add(models.UUIDField(default=uuid.uuid4, unique=True)), rows_differ=True),
    Case("add_field_now", _add(models.DateTimeField(default=timezone.now)), rows_differ=True),
    Case("add_field_auto_now_add", _add(models.DateTimeField(auto_now_add=True)), rows_differ=True),
    Case("add_field_auto_now", _add(models.DateField(auto_now=True)), rows_differ=True),
    Case(
        "add_field_auto_now_indexed",
        _add(models.DateTimeField(auto_now=True, null=True, db_index=True)),
        rows_differ=True,
    ),
    Case("add_field_positive", _add(models.PositiveIntegerField(default=0))),
    Case("add_field_db_index", _add(_text(default="x", db_index=True))),
    Case("add_field_foreign_key", _add(_points_at("Tag", default=1, on_delete=models.PROTECT))),
    Case("add_field_awkward_column", _add(_text(db_column="Ex tra", default="a"))),
    Case("add_field_db_comment", _add(_text(default="a", db_comment="it's a comment"))),
    Case("add_field_db_default", _add(_text(db_default="it's")), safe=True),
    Case("add_field_db_default_now", _add(models.DateTimeField(db_default=Now())), rows_differ=True, safe=True),
    Case("add_field_db_default_indexed", _add(_text(db_default="it's", db_index=True))),
    Case("add_field_db_default_volatile", _add(models.UUIDField(db_default=RandomUUID())), rows_differ=True),
    Case("add_field_db_default_nullable", _add(models.UUIDField(db_default=RandomUUID(), null=True)), rows_differ=True),
    Case("add_field_python", _add(_text(default=random_code)), rows_differ=True, none_until_contract=EXTRA),
    Case(
        "add_field_python_unique",
        _add(_text(default=random_code, unique=True)),
        rows_differ=True,
        none_until_contract=EXTRA,
    ),
    Case(
        "backfill_by_function_of_row",
        _filled(_text(), backfill=shouted_note),
        rows_differ=True,
        none_until_contract=EXTRA,
    ),
    Case("backfill_with_meanwhile", _filled(_text(), backfill=shouted_note, meanwhile="it's 100%"), rows_differ=True),
    Case(
        "backfill_with_meanwhile_over_row",
        _filled(_text(), backfill=shouted_note, meanwhile=Upper("number")),
        rows_differ=True,
    ),
    Case("backfill_over_row", _filled(models.IntegerField(), backfill=F("quantity") * 2), rows_differ=True),
    Case("backfill_over_relation", _filled(_text(), backfill=Lower("customer__email")), rows_differ=True),
    Case(
        "backfill_unique",
        _filled(_text(unique=True), backfill=Concat(Value("it's 100% "), F("number"))),
        rows_differ=True,
    ),
    Case("backfill_indexed", _filled(_text(db_index=True), backfill=F("channel")), rows_differ=True),
    Case("backfill_positive", _filled(models.PositiveIntegerField(), backfill=F("quantity")), rows_differ=True),
    Case(
        "backfill_foreign_key",
        _filled(_points_at("Customer"), backfill=F("customer")),
        rows_differ=True,
    ),
    Case("add_field_nullable", _add(models.IntegerField(null=True)), safe=True),
    Case("add_field_nullable_indexed", _add(_text(null=True, db_index=True))),
    Case("add_field_nullable_unique", _add(_text(null=True, unique=True))),
    Case("add_field_nullable_positive", _add(models.PositiveIntegerField(null=True))),
    Case("add_field_nullable_with_default", _add(models.IntegerField(null=True, default=5, db_index=True))),
    Case("add_field_nullable_on_partitioned_table", _add(models.IntegerField(null=True, db_index=True), model="visit")),
    Case("add_field_nullable_foreign_key", _add(_points_at("Customer", null=True, related_name="+"))),
    Case("add_field_nullable_foreign_key_protect", _add(_points_at("Tag", null=True, on_delete=models.PROTECT))),
    Case("add_field_nullable_foreign_key_to_itself", _add(_points_at("Order", null=True))),
    Case("add_field_nullable_foreign_key_on_child_model", _add(_points_at("Tag", null=True), model="courier")),
    Case("add_field_nullable_foreign_key_on_partitioned_table", _add(_points_at("Tag", null=True), model="visit")),
    Case("add_field_foreign_key_on_partitioned_table", _add(_points_at("Tag", default=1), model="visit")),
    Case("add_field_one_to_one", _add(models.OneToOneField("shop.Tag", models.SET_NULL, null=True))),
    Case("add_field_db_default_foreign_key", _add(_points_at("Customer", db_default=1, related_name="+"))),
    Case("add_field_db_default_positive", _add(models.PositiveIntegerField(db_default=0))),
    Case("add_field_many_to_many", _add(models.ManyToManyField("shop.Customer", related_name="+"))),
    Case("add_field_many_to_many_to_itself", _add(models.ManyToManyField("shop.Order"))),
    Case("alter_field_choices", _alter("channel", models.CharField(max_length=30, choices=[("web", "W")])), safe=True),
    Case("alter_field_wider", _alter("channel", models.CharField(max_length=50)), safe=True),
    Case("alter_field_wider_in_index_with_condition", AlterField("price", "memo", models.CharField(max_length=50))),
    Case(
        "alter_field_wider_that_is_pointed_at",
        AlterField("currency", "code", models.CharField(max_length=50, unique=True)),
    ),
    Case("alter_field_text_that_is_pointed_at", AlterField("currency", "code", models.TextField(unique=True))),
    Case("alter_field_text_without_case", _alter("number", CaseInsensitive(unique=True))),
    Case("alter_field_may_be_null", _alter("weight", models.IntegerField(null=True)), safe=True),
    Case(
        "alter_field_db_default",
        _alter("lane", models.CharField(max_length=10, db_default="a", db_index=True)),
        safe=True,
    ),
    Case("alter_field_unique", _alter("remark", _remark(null=True, unique=True))),
    Case("alter_field_not_unique", _alter("number", _remark()), named_anew=True),
    Case("alter_field_db_index", _alter("region", models.CharField(max_length=30, db_index=True))),
    Case("alter_field_no_db_index", _alter("lane", models.CharField(max_length=10))),
    Case("alter_field_unique_for_db_index", _alter("lane", models.CharField(max_length=10, unique=True))),
    Case("alter_field_db_index_for_unique", _alter("number", _remark(db_index=True)), named_anew=True),
    Case("alter_field_wider_and_unique", _alter("remark", models.TextField(null=True, unique=True))),
    Case("alter_field_text_indexed", _alter("lane", models.TextField(db_index=True))),
    Case("alter_field_text_unique", _alter("number", models.TextField(unique=True)), named_anew=True),
    Case("alter_field_positive", _alter("weight", models.PositiveIntegerField())),
    Case("alter_field_not_positive", _alter("quantity", models.IntegerField()), safe=True, named_anew=True),
    Case(
        "alter_field_foreign_key_nullable", _alter("customer", _points_at("Customer", null=True, related_name="orders"))
    ),
    Case("alter_field_with_db_constraint", _alter("refund", _points_at("Invoice", null=True, related_name="refunds"))),
    Case(
        "alter_field_without_db_constraint",
        _alter("customer", _points_at("Customer", db_constraint=False, related_name="orders")),
    ),
    *(
        (
            Case("alter_field_db_cascade", _alter("customer", _points_at("Customer", on_delete=models.DB_CASCADE))),
            Case("add_field_db_cascade", _add(_points_at("Tag", null=True, on_delete=models.DB_CASCADE))),
        )
        if django.VERSION >= (6, 1)
        else ()
    ),
    Case("alter_field_to_parent_model", _alter("courier", _points_at("Person", null=True, on_delete=models.PROTECT))),
    Case("alter_field_one_to_one", _alter("courier", models.OneToOneField("shop.Courier", models.PROTECT, null=True))),
    Case("alter_field_not_one_to_one", _alter("invoice", _points_at("Invoice")), named_anew=True),
    Case(
        "set_not_null",
        _alter("remark", _remark(default="it's 100%"), preserve_default=False),
        nulls_are_filled=REMARK,
    ),
    Case("set_not_null_db_default", _alter("remark", _remark(db_default="it's")), nulls_are_filled=REMARK),
    Case(
        "set_not_null_over_row",
        _not_null("remark", _remark(), backfill=F("number")),
        nulls_are_filled=REMARK,
        rows_differ=True,
    ),
    Case(
        "set_not_null_over_relation",
        _not_null("remark", _remark(), backfill=Lower("customer__country")),
        nulls_are_filled=REMARK,
        rows_differ=True,
    ),
    Case(
        "set_not_null_by_function",
        _not_null("remark", _remark(), backfill=shouted_note),
        nulls_are_filled=REMARK,
        none_until_contract=REMARK,
        rows_differ=True,
    ),
    Case(
        "set_not_null_foreign_key",
        _alter("category", _points_at("Category", default=1), preserve_default=False),
        nulls_are_filled=frozenset({"order.category"}),
    ),
    Case(
        "set_not_null_unique",
        AlterFieldConcurrently("order", "remark", _remark(unique=True, null=True)),
        _not_null("remark", _remark(unique=True), backfill=F("number")),
        nulls_are_filled=REMARK,
        rows_differ=True,
    ),
    Case("drop_default", _alter("state", models.CharField(max_length=10))),
    Case("drop_default_and_index", _alter("state", models.CharField(max_length=10, db_index=True))),
    Case("order_with_respect_to", AlterOrderWithRespectTo("order", "customer")),
    Case("add_unique_constraint", _constraint(UniqueConstraint(fields=["lane", "weight"], name="order_extra"))),
    Case(
        "add_unique_constraint_with_condition",
        _constraint(UniqueConstraint(fields=["lane"], name="order_extra", condition=Q(weight__gt=2, remark="50%"))),
    ),
    Case(
        "add_unique_constraint_on_expressions",
        _constraint(UniqueConstraint(Lower("lane"), F("weight").desc(), name="order_extra")),
    ),
    Case(
        "add_unique_constraint_with_include",
        _constraint(UniqueConstraint(fields=["lane", "weight"], name="order_extra", include=["total"])),
    ),
    Case(
        "add_unique_constraint_with_opclasses",
        _constraint(UniqueConstraint(fields=["lane"], name="order_extra", opclasses=["varchar_pattern_ops"])),
    ),
    Case(
        "add_unique_constraint_with_expression_opclass",
        _constraint(UniqueConstraint(OpClass(Lower("lane"), "text_pattern_ops"), name="order_extra")),
    ),
    Case(
        "add_unique_constraint_deferrable",
        _constraint(UniqueConstraint(fields=["lane"], name="order_extra", deferrable=Deferrable.DEFERRED)),
    ),
    Case(
        "add_unique_constraint_nulls_are_same",
        _constraint(UniqueConstraint(fields=["remark", "weight"], name="order_extra", nulls_distinct=False)),
    ),
    Case("add_unique_constraint_of_long_name", _constraint(UniqueConstraint(fields=["lane"], name="o" * 70))),
    Case(
        "add_unique_constraint_on_child_model",
        _constraint(UniqueConstraint(fields=["bike"], name="courier_bike"), model="courier"),
    ),
    Case(
        "add_unique_constraint_on_partitioned_table",
        _constraint(UniqueConstraint(fields=["path", "id"], name="visit_path"), model="visit"),
    ),
    Case(
        "add_unique_constraint_on_expressions_of_partitioned_table",
        _constraint(UniqueConstraint(Lower("path"), "id", name="visit_path"), model="visit"),
    ),
    Case(
        "add_unique_constraint_on_new_field",
        _add(models.UUIDField(default=uuid.uuid4)),
        _constraint(UniqueConstraint(fields=["extra", "lane"], name="order_extra")),
        rows_differ=True,
    ),
    Case("add_check_constraint", _constraint(WEIGHT)),
    Case("add_check_constraint_of_long_name", _constraint(CheckConstraint(condition=Q(weight__gte=0), name="o" * 70))),
    Case(
        "add_check_constraint_on_child_model",
        _constraint(CheckConstraint(condition=~Q(bike="50%"), name="courier_bike"), model="courier"),
    ),
    Case(
        "add_check_constraint_on_partitioned_table",
        _constraint(CheckConstraint(condition=Q(seconds__gte=0), name="visit_seconds_positive"), model="visit"),
    ),
    Case(
        "add_check_constraint_on_new_field",
        _add(models.IntegerField(default=7)),
        _constraint(CheckConstraint(condition=Q(extra__gte=0), name="order_extra")),
    ),
    Case("add_check_constraint_enforced_by_expand", ValidateConstraintLater("order", WEIGHT, enforce="expand")),
    Case("replace_unique_constraint", *_replaced(UniqueConstraint(fields=["region"], name=REGION))),
    Case("replace_unique_constraint_by_index_like", *_replaced(UniqueConstraint(Lower("region"), name=REGION))),
    Case("replace_unique_constraint_by_check", *_replaced(CheckConstraint(condition=Q(weight__gte=0), name=REGION))),
    Case("replace_unique_constraint_by_index", RemoveConstraint("order", REGION), _index(REGION, fields=["region"])),
    Case(
        "replace_check_constraint", *_replaced(CheckConstraint(condition=Q(weight__gte=0), name="order_weight_limit"))
    ),
    Case(
        "replace_check_constraint_by_unique", *_replaced(UniqueConstraint(fields=["lane"], name="order_weight_limit"))
    ),
    Case(
        "replace_check_constraint_by_index",
        RemoveConstraint("order", "order_weight_limit"),
        _index("order_weight_limit", fields=["lane"]),
    ),
    Case(
        "replace_index_by_unique_constraint",
        RemoveIndex("order", "order_due"),
        _constraint(UniqueConstraint(fields=["lane"], name="order_due")),
    ),
    Case(
        "replace_index_by_check_constraint",
        RemoveIndex("order", "order_due"),
        _constraint(CheckConstraint(condition=Q(weight__gte=0), name="order_due")),
    ),
    Case(
        "replace_index_of_partitioned_table",
        RemoveIndex("visit", "visit_seconds"),
        _index("visit_seconds", model="visit", fields=["path"]),
    ),
    Case(
        "replace_index_of_partitioned_table_by_unique_constraint",
        RemoveIndex("visit", "visit_seconds"),
        _constraint(UniqueConstraint(fields=["seconds", "id"], name="visit_seconds"), model="visit"),
    ),
    Case("add_unique_together", AlterUniqueTogether("order", {("channel", "reference"), ("lane", "number")})),
    Case("add_unique_together_on_partitioned_table", AlterUniqueTogether("visit", {("id", "path")})),
    Case("remove_unique_together", AlterUniqueTogether("order", set())),
    Case("remove_unique_constraint", RemoveConstraint("order", "order_region_sequence")),
    Case("remove_check_constraint", RemoveConstraint("order", "order_weight_limit")),
    Case(
        "backfill_on_partitioned_table",
        AddFieldNullableThenBackfill("visit", "extra", models.IntegerField(), backfill=F("seconds") * 2),
        rows_differ=True,
    ),
    Case("remove_field_text", RemoveField("customer", "name")),
    Case("remove_field_number", RemoveField("category", "position"), values_are_lost=True),
    Case("remove_field_positive", RemoveField("order", "quantity"), values_are_lost=True),
    Case("remove_field_with_default", RemoveField("order", "data")),
    Case("remove_field_auto_now_add", RemoveField("order", "placed")),
    Case("remove_field_db_default", RemoveField("order", "state")),
    Case("remove_field_nullable", RemoveField("order", "remark")),
    Case("remove_field_unique", RemoveField("order", "number"), values_are_lost=True),
    Case("remove_field_db_index", RemoveField("order", "lane")),
    Case("remove_field_generated", RemoveField("order", "gross")),
    Case("remove_field_foreign_key", RemoveField("order", "customer"), values_are_lost=True),
    Case("remove_field_foreign_key_nullable", RemoveField("order", "category")),
    Case("remove_field_foreign_key_protect", RemoveField("order", "courier")),
    Case("remove_field_foreign_key_to_itself", RemoveField("category", "parent")),
    Case("remove_field_one_to_one", RemoveField("order", "invoice"), values_are_lost=True),
    Case("remove_field_many_to_many", RemoveField("order", "tags")),
    Case("remove_field_on_child_model", RemoveField("courier", "bike")),
    Case("remove_field_on_parent_model", RemoveField("person", "name")),
    Case("remove_field_on_partitioned_table", RemoveField("visit", "path")),
    Case("remove_field_in_index", RemoveIndex("order", "order_due"), RemoveField("order", "due"), values_are_lost=True),
    Case("remove_field_in_index_expression", RemoveIndex("order", "order_note_upper"), RemoveField("order", "note")),
    Case(
        "remove_field_in_unique_together",
        AlterUniqueTogether("order", set()),
        RemoveField("order", "reference"),
        values_are_lost=True,
    ),
    Case(
        "remove_field_in_unique_constraint",
        RemoveConstraint("order", "order_region_sequence"),
        RemoveField("order", "region"),
        values_are_lost=True,
    ),
    Case(
        "remove_field_in_check_constraint",
        RemoveConstraint("order", "order_weight_limit"),
        RemoveField("order", "limit"),
        values_are_lost=True,
    ),
    Case("remove_field_to_field", RemoveField("price", "currency"), values_are_lost=True),
    Case(
        "remove_field_that_is_pointed_at",
        RemoveField("price", "currency"),
        RemoveField("currency", "code"),
        values_are_lost=True,
    ),
    Case("remove_field_in_index_with_include", RemoveIndex("price", "price_amount"), RemoveField("price", "memo")),
    Case(
        "remove_field_in_gin_index",
        RemoveIndex("price", "price_labels"),
        RemoveField("price", "labels"),
        values_are_lost=True,
    ),
    Case(
        "remove_field_in_exclusion_constraint",
        RemoveConstraint("price", "price_span"),
        RemoveField("price", "span"),
        values_are_lost=True,
    ),
    # What Django's autodetector writes for each of these, in its order.
    Case(
        "delete_model",
        AlterUniqueTogether("order", None),
        RemoveIndex("order", "order_due"),
        RemoveIndex("order", "order_note_upper"),
        RemoveConstraint("order", "order_region_sequence"),
        RemoveConstraint("order", "order_weight_limit"),
        DeleteModel("Order"),
    ),
    Case(
        "delete_model_that_is_pointed_at",
        RemoveField("order", "customer"),
        DeleteModel("Customer"),
        values_are_lost=True,
    ),
    Case(
        "delete_model_that_is_pointed_at_by_to_field",
        RemoveField("price", "currency"),
        DeleteModel("Currency"),
        values_are_lost=True,
    ),
    Case("delete_model_with_many_to_many_to_it", RemoveField("order", "tags"), DeleteModel("Tag")),
    Case("delete_model_of_child", RemoveField("order", "courier"), DeleteModel("Courier")),
    Case("delete_model_that_points_at_itself", RemoveField("order", "category"), DeleteModel("Category")),
    Case(
        "delete_model_with_its_child",
        RemoveField("order", "courier"),  # Django's order, in which this comes second, fails with stock operations
        RemoveField("courier", "person_ptr"),
        DeleteModel("Person"),
        DeleteModel("Courier"),
    ),
    Case(
        "delete_models_of_each_other",
        AlterUniqueTogether("order", None),
        RemoveIndex("order", "order_due"),
        RemoveIndex("order", "order_note_upper"),
        RemoveConstraint("order", "order_region_sequence"),
        RemoveConstraint("order", "order_weight_limit"),
        RemoveField("order", "category"),
        RemoveField("order", "courier"),
        RemoveField("order", "customer"),
        RemoveField("order", "invoice"),
        RemoveField("order", "tags"),
        DeleteModel("Customer"),
        DeleteModel("Order"),
        DeleteModel("Tag"),
    ),
    Case("rename_field", RenameField("customer", "name", "full_name")),
    Case("rename_field_nullable", RenameField("order", "remark", "comment")),
    Case("rename_field_with_default", RenameField("order", "data", "extras")),
    Case("rename_field_db_default", RenameField("order", "state", "status")),
    Case("rename_field_unique", RenameField("order", "number", "code")),
    Case("rename_field_db_index", RenameField("order", "lane", "track")),
    Case("rename_field_foreign_key", RenameField("order", "customer", "buyer")),
    Case("rename_field_foreign_key_nullable", RenameField("order", "category", "kind")),
    Case("rename_field_foreign_key_to_itself", RenameField("category", "parent", "above")),
    Case("rename_field_one_to_one", RenameField("order", "invoice", "bill")),
    Case("rename_field_positive", RenameField("order", "quantity", "pieces")),
    Case("rename_field_that_is_pointed_at", RenameField("currency", "code", "iso")),
    Case("rename_field_to_field", RenameField("price", "currency", "money")),
    Case(
        "rename_field_in_unique_together",
        RenameField("order", "reference", "mark"),
        AlterUniqueTogether("order", {("channel", "mark")}),
    ),
    Case(
        "rename_field_in_index",
        RemoveIndex("order", "order_due"),
        RenameField("order", "due", "due_on"),
        _index("order_due", fields=["due_on", "sequence"]),
    ),
    Case(
        "rename_field_in_index_expression",
        RemoveIndex("order", "order_note_upper"),
        RenameField("order", "note", "text"),
        _index("order_note_upper", Upper("text")),
    ),
    Case(
        "rename_field_in_unique_constraint",
        RemoveConstraint("order", "order_region_sequence"),
        RenameField("order", "region", "area"),
        AddConstraint("order", UniqueConstraint(fields=["area", "sequence"], name="order_region_sequence")),
    ),
    Case(
        "rename_field_in_check_constraint",
        RemoveConstraint("order", "order_weight_limit"),
        RenameField("order", "limit", "maximum"),
        AddConstraint("order", CheckConstraint(condition=Q(weight__lte=F("maximum")), name="order_weight_limit")),
    ),
    Case(
        "rename_field_in_deferrable_unique_constraint",
        RemoveConstraint("price", "price_slot"),
        RemoveIndex("price", "price_amount"),
        RenameField("price", "slot", "place"),
        AddConstraint("price", UniqueConstraint(fields=["place"], deferrable=Deferrable.DEFERRED, name="price_slot")),
        _index("price_amount", model="price", fields=["amount"], include=["memo"], condition=Q(place__gt=1)),
    ),
    Case(
        "rename_field_in_exclusion_constraint",
        RemoveConstraint("price", "price_span"),
        RenameField("price", "span", "period"),
        AddConstraint("price", ExclusionConstraint(expressions=[("period", "&&")], name="price_span")),
    ),
    Case(
        "rename_field_in_gin_index",
        RemoveIndex("price", "price_labels"),
        RenameField("price", "labels", "marks"),
        AddIndex("price", GinIndex(fields=["marks"], name="price_labels")),
    ),
    Case(
        "rename_field_in_index_with_include",
        RemoveIndex("price", "price_amount"),
        RenameField("price", "memo", "text"),
        _index("price_amount", model="price", fields=["amount"], include=["text"], condition=Q(slot__gt=1)),
    ),
    Case(
        "rename_field_in_index_of_partitioned_table",
        RemoveIndex("visit", "visit_seconds"),
        RenameField("visit", "seconds", "duration"),
        _index("visit_seconds", model="visit", fields=["duration"]),
    ),
    Case(
        "rename_field_and_its_index",  # as where Django made up the index's name
        RemoveIndex("order", "order_due"),
        RenameField("order", "due", "due_on"),
        _index("order_due_on", fields=["due_on", "sequence"]),
    ),
    Case(
        "rename_field_and_change_its_index",
        RemoveIndex("order", "order_due"),
        RenameField("order", "due", "due_on"),
        _index("order_due", fields=["due_on", "weight"]),
    ),
    Case("rename_two_fields", RenameField("order", "channel", "medium"), RenameField("order", "reference", "mark")),
    Case("rename_field_many_to_many", RenameField("order", "tags", "labels")),
    Case(
        "alter_field_db_table_many_to_many",
        _alter("tags", models.ManyToManyField("shop.Tag", related_name="orders", db_table="Order's tags")),
    ),
    Case(
        "alter_field_many_to_many_to_another_model",
        ExpandAlterField(
            "order", "tags", models.ManyToManyField("shop.Category", related_name="orders"), using=FAR, back=NEAR
        ),
    ),
    Case(
        "alter_field_foreign_key_to_another_model",  # as makemigrations writes it, where a field says which is which
        _alter("category", _number_of("category_id")),
        ExpandAlterField("order", "category", _number_of("category_tag_id"), using=FAR, back=NEAR),
        _alter("category", _points_at("Tag", on_delete=models.SET_NULL, null=True, db_column="category_tag_id")),
        counterparts=frozenset({"order.category"}),
    ),
    Case("rename_field_auto_now_add", RenameField("order", "placed", "ordered"), rows_differ=True),
    Case("rename_field_on_child_model", RenameField("courier", "bike", "vehicle")),
    Case("rename_field_on_parent_model", RenameField("person", "name", "full_name")),
    Case("rename_field_on_partitioned_table", RenameField("visit", "path", "address")),
    Case("alter_field_db_column", _alter("reference", _remark(db_column="It's mark"))),
    Case("alter_field_db_column_nullable", _alter("remark", _remark(null=True, db_column="Re mark"))),
    Case("alter_field_db_column_unique", _alter("number", _remark(unique=True, db_column="code"))),
    Case(
        "alter_field_db_column_db_default",
        _alter("state", models.CharField(max_length=10, db_default="open", db_column="status")),
    ),
    Case(
        "alter_field_db_column_foreign_key",
        _alter("customer", _points_at("Customer", related_name="orders", db_column="buyer")),
    ),
    Case(
        "alter_field_db_column_one_to_one",
        _alter("invoice", models.OneToOneField("shop.Invoice", models.CASCADE, db_column="bill")),
    ),
    Case("alter_field_db_column_in_check_constraint", _alter("limit", models.IntegerField(db_column="maximum"))),
    Case(
        "alter_field_db_column_on_partitioned_table",
        AlterField("visit", "seconds", models.IntegerField(db_column="duration")),
    ),
    Case("alter_field_bigger", AlterField("category", "position", models.BigIntegerField())),
    Case("alter_field_bigger_positive", _alter("quantity", models.PositiveBigIntegerField())),
    Case("alter_field_bigger_in_check_constraint", _alter("limit", models.BigIntegerField())),
    Case(
        "alter_field_bigger_in_unique_constraint",
        _alter("sequence", models.BigIntegerField(choices=[(1, "first"), (2, "second")])),
    ),
    Case("alter_field_bigger_on_partitioned_table", AlterField("visit", "seconds", models.BigIntegerField())),
    Case("alter_field_bigger_and_indexed", _alter("weight", models.BigIntegerField(null=True, db_index=True))),
    Case("alter_field_bigger_without_check", _alter("quantity", models.BigIntegerField()), named_anew=True),
    Case("alter_field_bigger_with_check", _alter("weight", models.PositiveBigIntegerField())),
    Case(
        "alter_field_shorter_not_null",
        _alter("remark", _remark(max_length=39, default="none")),
        nulls_are_filled=REMARK,
    ),
    Case(
        "alter_field_collation_not_null",
        _alter("remark", _remark(db_collation="C", default="none")),
        nulls_are_filled=REMARK,
    ),
    Case(
        "alter_field_db_column_not_null",
        _alter("remark", _remark(db_column="comment", default="none")),
        nulls_are_filled=REMARK,
        former_names=True,
    ),
    Case(
        "alter_field_number_to_text",
        _alter("sequence", _text(max_length=5, choices=[("1", "first"), ("2", "second")], db_column="rank")),
        compared_as=_digit,
    ),
    Case(
        "alter_field_decimal_to_float",
        AlterField("invoice", "amount", models.FloatField(db_column="sum")),
        compared_as=_number,
    ),
    Case("alter_field_date_to_moment", _alter("due", models.DateTimeField(db_column="It's due")), compared_as=_day),
    Case(
        "alter_two_fields_of_an_index_to_other_types",
        _alter("due", models.DateTimeField(db_column="at")),
        _alter("sequence", _text(max_length=5, choices=[("1", "first"), ("2", "second")], db_column="rank")),
        compared_as=lambda value: _digit(_day(value)),
    ),
    Case(
        "alter_two_fields_of_a_unique_constraint_to_another_name_and_another_type",
        _alter("region", models.CharField(max_length=30, db_column="area")),
        _alter("sequence", _text(max_length=5, choices=[("1", "first"), ("2", "second")], db_column="rank")),
        compared_as=_digit,
    ),
    Case("alter_field_bigger_and_db_column", _alter("limit", models.BigIntegerField(db_column="maximum"))),
    Case("alter_field_shorter_and_db_column", _alter("number", _remark(unique=True, max_length=39, db_column="code"))),
    Case("alter_field_text_to_char_and_db_column", _alter("note", _text(default="it's 100% new", db_column="text"))),
    Case("alter_field_db_default_and_db_column", _alter("state", models.TextField(db_default="open", db_column="st"))),
    Case(
        "alter_field_text_and_db_column_not_null",
        _alter("remark", models.TextField(db_column="comment", default="none")),
        nulls_are_filled=REMARK,
        former_names=True,
    ),
    Case(
        "alter_field_text_and_db_column_in_unique_together",
        _alter("reference", models.TextField(db_column="mark")),
    ),
    Case(
        "alter_field_like_index_and_db_column",
        _alter("lane", models.TextField(db_index=True, db_column="track")),
        former_names=True,
    ),
    Case(
        "alter_field_bigger_and_db_column_on_partitioned_table",
        AlterField("visit", "seconds", models.BigIntegerField(db_column="duration")),
    ),
    Case("alter_field_db_column_and_indexed", _alter("region", _text(max_length=30, db_index=True, db_column="area"))),
    Case(
        "alter_field_db_column_nullable_with_default",
        _alter(
            "channel", _text(max_length=30, null=True, db_default="web", choices=[("web", "W")], db_column="medium")
        ),
    ),
    Case("alter_field_db_column_with_check", _alter("weight", models.PositiveIntegerField(db_column="mass"))),
    Case(
        "alter_field_db_column_without_check",
        _alter("quantity", models.IntegerField(db_column="pieces")),
        named_anew=True,
    ),
    Case("alter_field_db_column_not_unique", _alter("number", _remark(db_column="code")), named_anew=True),
    Case(
        "rename_field_and_bigger",
        RenameField("category", "position", "place"),
        AlterField("category", "place", models.BigIntegerField()),
    ),
    Case(
        "rename_field_in_check_constraint_and_bigger",
        RemoveConstraint("order", "order_weight_limit"),
        RenameField("order", "limit", "maximum"),
        AddConstraint("order", CheckConstraint(condition=Q(weight__lte=F("maximum")), name="order_weight_limit")),
        AlterField("order", "maximum", models.BigIntegerField()),
    ),
    Case(
        "rename_field_and_not_null",
        RenameField("order", "remark", "comment"),
        AlterField("order", "comment", _remark(default="none")),
        nulls_are_filled=frozenset({"order.remark", "order.comment"}),
        former_names=True,
    ),
    Case(
        "rename_field_and_indexed",
        RenameField("customer", "name", "full_name"),
        AlterField("customer", "full_name", models.CharField(max_length=50, db_index=True)),
    ),
    Case("alter_field_more_digits", AlterField("invoice", "amount", _decimal(13, 4))),
    Case("alter_field_digits_on_the_other_side", AlterField("invoice", "amount", _decimal(9, 4))),
    Case("alter_field_fewer_digits", AlterField("invoice", "amount", _decimal(8, 2))),
    Case("alter_field_shorter", _alter("remark", _remark(null=True, max_length=39))),
    Case("alter_field_shorter_unique", _alter("number", _remark(max_length=39, unique=True))),
    Case("alter_field_shorter_in_unique_together", _alter("reference", _remark(max_length=39))),
    Case("alter_field_text_to_char", _alter("note", models.CharField(max_length=40, default="it's 100% new"))),
    Case("alter_field_collation", _alter("lane", models.CharField(max_length=10, db_index=True, db_collation="C"))),
    Case(
        "alter_field_collation_db_default",
        _alter("state", models.CharField(max_length=10, db_default="open", db_collation="C")),
    ),
    Case("alter_field_bigger_key", AlterField("tag", "id", models.BigAutoField(primary_key=True))),
    Case("alter_field_bigger_key_of_itself", AlterField("category", "id", models.BigAutoField(primary_key=True))),
    Case("alter_field_bigger_key_of_parent", AlterField("person", "id", models.BigAutoField(primary_key=True))),
    Case("alter_field_smaller_key", AlterField("customer", "id", models.AutoField(primary_key=True))),
    Case("rename_model", RenameModel("Order", "Purchase")),
    Case("rename_model_that_is_pointed_at", RenameModel("Customer", "Client")),
    Case("rename_model_with_many_to_many_to_it", RenameModel("Tag", "Label")),
    Case("rename_model_that_points_at_itself", RenameModel("Category", "Genre")),
    Case("rename_model_of_child", RenameModel("Courier", "Rider")),
    Case("rename_model_of_partitioned_table", RenameModel("Visit", "Call")),
    Case("alter_model_table", AlterModelTable("order", "purchases")),
    Case(
        "alter_model_table_and_add_field",
        _add(models.IntegerField(default=7)),
        AlterModelTable("order", "purchases"),
        former_names=True,
    ),
    Case(
        "alter_model_table_and_rename_field",
        RenameField("customer", "name", "full_name"),
        AlterModelTable("customer", "buyers"),
        former_names=True,
        named_anew=True,
    ),
    Case(
        "rename_model_and_add_field", RenameModel("Customer", "Client"), AddField("client", "extra", _text(default="a"))
    ),
    Case("move_model", MoveModelIn("Parcel", STORE)),
    Case("move_model_with_its_table", MoveModelIn("Parcel", STORE, "store_parcel")),
    Case("alter_model_table_awkward", AlterModelTable("customer", "The Customer's")),
)


BEFORE = "0001_initial"


def base() -> Migration:
    """The migration that the old release has applied."""
    migration = Migration(BEFORE, LABEL)
    migration.initial = True  # type: ignore[misc]
    migration.operations = copy.deepcopy(list(BASE))  # type: ignore[misc]  # RenameField writes into its fields
    return migration


@cache
def rendered_base() -> ProjectState:
    """The state of the old release, rendered once for all cases. Whoever changes it clones it."""
    state = state_after([base()])
    assert state.apps.all_models
    return state


def stock(case: Case) -> list[Migration]:
    """The release as Django writes it."""
    migration = Migration("0002_change", LABEL)
    migration.operations = [getattr(operation, "stock", operation) for operation in case.operations]  # type: ignore[misc]
    migration.dependencies = [(LABEL, BEFORE)]  # type: ignore[misc]
    return [migration]


def ours(case: Case, before: Migration | None = None) -> list[Migration]:
    """The release as makemigrations writes it with this package."""
    (migration,) = stock(case)
    migration.operations = list(case.operations)  # type: ignore[misc]
    return written(state_after([before or base()]), migration)


def written(before: ProjectState, migration: Migration) -> list[Migration]:
    """A migration of the app as makemigrations writes it with this package."""
    migrations = {LABEL: [migration]}
    replace_unsafe(before, migrations, lambda notice: None)
    return split(migrations)[LABEL]


def state_after(migrations: Sequence[Migration]) -> ProjectState:
    state = ProjectState()
    for migration in migrations:
        state = migration.mutate_state(state, preserve=False)
    return state
