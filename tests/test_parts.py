"""An AlterField is divided into parts, and each part becomes an operation that does that part and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.migrations.operations import AlterField, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from safemigrations.checking import rules
from safemigrations.operations.alteration import described
from safemigrations.operations.base import Change, Situation
from safemigrations.operations.parts import Part, split
from safemigrations.operations.rule import Context

from .shop import KEY, Shop, book

NUMBER = 300  # of alterations that are tried; a seed gives the same ones each time


class Shouted(models.CharField):  # type: ignore[type-arg]
    """A field of somebody's own."""


class Positive(models.PositiveIntegerField):  # type: ignore[type-arg]
    """Another, with a check."""


def text() -> str:
    return "text"


# Families of types: what changes within one is what people change. The last value is a default.
TEXTS: list[tuple[Any, dict[str, Any], Any]] = [
    (models.CharField, {"max_length": 10}, "a"),
    (models.CharField, {"max_length": 20, "db_collation": "C"}, "a"),
    (models.EmailField, {"max_length": 20}, "a"),
    (Shouted, {"max_length": 10}, "a"),
    (models.TextField, {}, "a"),
    (models.TextField, {"db_collation": "C"}, "a"),
]
NUMBERS: list[tuple[Any, dict[str, Any], Any]] = [
    (models.SmallIntegerField, {}, 1),
    (models.IntegerField, {}, 1),
    (models.BigIntegerField, {}, 1),
    (models.PositiveIntegerField, {}, 1),
    (Positive, {}, 1),
    (models.DecimalField, {"max_digits": 8, "decimal_places": 2}, 1),
    (models.DecimalField, {"max_digits": 10, "decimal_places": 2}, 1),
    (models.BooleanField, {}, True),
]
RELATIONS: list[tuple[Any, dict[str, Any], Any]] = [
    (models.ForeignKey, {"to": "shop.author", "on_delete": models.CASCADE}, 1),
    (models.ForeignKey, {"to": "shop.author", "on_delete": models.CASCADE, "db_constraint": False}, 1),
    (models.ForeignKey, {"to": "shop.author", "on_delete": models.CASCADE, "db_index": False}, 1),
    (models.ForeignKey, {"to": "shop.publisher", "on_delete": models.CASCADE}, 1),
    (models.OneToOneField, {"to": "shop.author", "on_delete": models.CASCADE}, 1),
]
OTHERS: list[tuple[Any, dict[str, Any], Any]] = [
    (ArrayField, {"base_field": models.IntegerField()}, None),
    (ArrayField, {"base_field": models.BigIntegerField()}, None),
    (models.DateField, {}, None),
    (models.DateTimeField, {}, None),
    (models.UUIDField, {}, None),
]
FAMILIES = [TEXTS, TEXTS, NUMBERS, NUMBERS, RELATIONS, OTHERS]
OPTIONS: dict[str, list[Any]] = {
    "null": [False, True],
    "unique": [False, False, True],
    "db_index": [False, False, True],
    "db_column": [None, None, None, "other"],
    "db_comment": [None, None, "a comment"],
    "db_default": [False, False, True],
    "default": ["", "", "one", "function"],
}


def field(kind: tuple[Any, dict[str, Any], Any], options: dict[str, Any]) -> Any:
    make, arguments, default = kind
    given = {name: options[name] for name in ("null", "db_column", "db_comment") if options[name]}
    if make is not models.OneToOneField:
        given |= {name: True for name in ("unique", "db_index") if options[name] and name not in arguments}
    if options["db_default"] and default is not None and not issubclass(make, models.ForeignKey):
        given["db_default"] = default
    if options["default"] and default is not None:
        given["default"] = text if options["default"] == "function" and default == "a" else default
    return make(**{**given, **arguments})


def alterations() -> Iterator[Any]:
    chance = random.Random(12)
    while True:
        family = chance.choice(FAMILIES)
        old, new = ({name: chance.choice(values) for name, values in OPTIONS.items()} for _ in range(2))
        new = {name: chance.choice([old[name], new[name]]) for name in OPTIONS}
        before, after = (field(chance.choice(family), options) for options in (old, new))
        preserve_default = chance.random() < 0.7
        yield before, AlterField("book", "x", after, preserve_default)


def context(before: Any, *release: Operation) -> Context:
    state = ProjectState()
    authors, publishers = CreateModel("Author", [KEY, ("name", models.TextField())]), CreateModel("Publisher", [KEY])
    for model in (authors, publishers, book(("x", before))):
        model.state_forwards(Shop.label, state)
    after = state.clone()
    for operation in release:
        operation.state_forwards(Shop.label, after)
    return Context(Shop.label, state, after, [(Shop.label, operation) for operation in release], state)


# Of many alterations.


def rules_of(part: Part, where: Context) -> list[str]:
    return [rule.id for rule in rules.RULES if rule.is_for(Part) and rule.find(part, where)]


def test_each_part_goes_on_where_the_one_before_ended_and_is_found_by_one_rule():
    for before, operation in islice(alterations(), NUMBER):
        where = context(before, operation)
        parts = split(operation, where)
        forms = [parts[0].whole.change.old, *(part.change.new for part in parts)]
        assert [part.change.old for part in parts] == forms[:-1], described(operation.field)
        assert described(parts[-1].operation.field) == described(operation.field)
        assert all(len(rules_of(part, where)) <= 1 for part in parts), described(operation.field)


def test_each_operation_does_its_part_and_nothing_else():
    """An operation raises ValueError where the states around it differ in what it doesn't do."""
    for before, operation in islice(alterations(), NUMBER):
        found = rules.find(operation, where := context(before, operation))
        if not found or not found[1].replacement:
            continue
        state = where.before
        for safe in found[1].replacement:
            after = state.clone()
            safe.state_forwards(Shop.label, after)
            if isinstance(safe, Change):
                with connection.schema_editor(collect_sql=True, atomic=False) as editor:
                    safe.contract_label(Situation(Shop.label, editor, before=state.clone(), after=after.clone()))
            state = after
        reached, wanted = (one.models[Shop.label, "book"].fields["x"] for one in (state, where.after))
        assert described(reached) == described(wanted)


# In which order.


NEW: dict[str, Any] = {"unique": True, "db_column": "other", "db_comment": "new"}


def test_a_wider_type_comes_before_another_name():
    before = models.IntegerField(null=True, db_default=1, db_index=True)
    assert order(before, models.PositiveBigIntegerField(**NEW)) == [
        "AlterFieldConcurrently IntegerField(db_column='x', db_comment='new', db_default=1, null=True, unique=True)",
        "DropDefaultLater IntegerField(db_column='x', db_comment='new', null=True, unique=True)",
        "ExpandAlterField BigIntegerField(db_column='x', db_comment='new', null=True, unique=True)",
        "SetNotNullLater BigIntegerField(db_column='x', db_comment='new', unique=True)",
        "ExpandAlterField BigIntegerField(db_column='other', db_comment='new', unique=True)",
        "AlterFieldConcurrently PositiveBigIntegerField(db_column='other', db_comment='new', unique=True)",
    ]


def test_a_narrower_type_comes_after_another_name():
    before = models.BigIntegerField(null=True, db_default=1, db_index=True)
    assert order(before, models.PositiveIntegerField(**NEW)) == [
        "AlterFieldConcurrently BigIntegerField(db_column='x', db_comment='new', db_default=1, null=True, unique=True)",
        "DropDefaultLater BigIntegerField(db_column='x', db_comment='new', null=True, unique=True)",
        "SetNotNullLater BigIntegerField(db_column='x', db_comment='new', unique=True)",
        "ExpandAlterField BigIntegerField(db_column='other', db_comment='new', unique=True)",
        "ExpandAlterField IntegerField(db_column='other', db_comment='new', unique=True)",
        "AlterFieldConcurrently PositiveIntegerField(db_column='other', db_comment='new', unique=True)",
    ]


def test_types_of_which_no_one_holds_the_other_come_with_the_other_name():
    before = models.TextField(null=True, db_default="1", db_index=True)
    assert order(before, models.PositiveIntegerField(**NEW)) == [
        "AlterFieldConcurrently TextField(db_column='x', db_comment='new', db_default='1', null=True, unique=True)",
        "DropDefaultLater TextField(db_column='x', db_comment='new', null=True, unique=True)",
        "ExpandAlterField IntegerField(db_column='other', db_comment='new', null=True, unique=True)",
        "AlterFieldConcurrently PositiveIntegerField(db_column='other', db_comment='new', null=True, unique=True)",
        "SetNotNullLater PositiveIntegerField(db_column='other', db_comment='new', unique=True)",
    ]


def test_a_text_has_no_limit_while_its_index_for_like_becomes_one_of_the_new_type():
    assert order(models.TextField(unique=True), models.CharField(max_length=9, unique=True)) == [
        "AlterFieldConcurrently CharField(unique=True)",
        "ExpandAlterField CharField(max_length=9, unique=True)",
    ]


def test_nor_has_a_text_that_gives_itself_a_limit():
    assert order(models.TextField(db_index=True), models.EmailField(db_index=True)) == [
        "AlterFieldConcurrently CharField(db_index=True)",
        "ExpandAlterField EmailField(db_index=True, max_length=254)",
    ]


def order(before: Any, after: Any) -> list[str]:
    """The operations that an AlterField becomes, each with the field that it gives the model."""
    operation = AlterField("book", "x", after)
    found = rules.find(operation, context(before, operation))
    assert found
    return [f"{type(safe).__name__} {described(safe.field)}" for safe in found[1].replacement]  # type: ignore[attr-defined]
