"""A change of type that is called instant is: nothing is rewritten, built or read, of all that depends on the column.

What the stock operation does is measured. Where it keeps every file and reads no table, nothing is found. Where it
doesn't, something else is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.db.migrations import AlterField, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint
from django.db.models.functions import Coalesce

from safemigrations.checking import rules
from safemigrations.checking.scene import Scene
from safemigrations.checking.sql import reader
from safemigrations.contracts import queue
from safemigrations.errors import StepFailed
from safemigrations.operations import ExpandAlterField
from safemigrations.operations.rule import Context

from . import citext
from .cases import CaseInsensitive
from .shop import KEY, Shop
from .snapshot import difference, snapshot

Make = Callable[..., Any]
FILES = """
    SELECT relname::text, pg_relation_filenode(oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') ORDER BY 1
"""
SCANS = "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) FROM pg_stat_xact_user_tables"


def _short(**options: Any) -> Any:
    return models.CharField(max_length=40, **options)


def _long(**options: Any) -> Any:
    return models.CharField(max_length=60, **options)


def _digits(precision: int) -> Make:
    return lambda **options: models.DecimalField(max_digits=precision, decimal_places=2, **options)


TYPES: dict[str, tuple[Make, Make]] = {
    "a longer text": (_short, _long),
    "text": (_short, models.TextField),
    "text without case": (_short, CaseInsensitive),
    "text with case": (CaseInsensitive, models.TextField),
    "more digits": (_digits(8), _digits(10)),
}


@dataclass(frozen=True)
class Relied:
    """What relies on the column: options of the field, of the model, and other models."""

    field: dict[str, Any]
    model: dict[str, Any]
    others: Sequence[Operation] = ()
    more: Sequence[tuple[str, Any]] = ()


def _options(**options: Any) -> Relied:
    return Relied({}, options)


def _child(**options: Any) -> CreateModel:
    target = models.ForeignKey("shop.Place", models.CASCADE, **options)
    return CreateModel("Visit", [KEY, ("place", target)])


OF_TEXT = "index with an operator class"
CODE_IS = Q(code__gt="5")
RELIED: dict[str, Relied] = {
    "nothing": Relied({}, {}),
    "db_index": Relied({"db_index": True}, {}),
    "unique": Relied({"unique": True}, {}),
    "primary key": Relied({"primary_key": True}, {}),
    "index": _options(indexes=[Index(fields=["code"], name="relied")]),
    "index with another column": _options(indexes=[Index(fields=["size", "-code"], name="relied")]),
    "index that includes it": _options(indexes=[Index(fields=["size"], include=["code"], name="relied")]),
    "index where it is the condition": _options(indexes=[Index(fields=["size"], condition=CODE_IS, name="relied")]),
    "index with a condition": _options(indexes=[Index(fields=["code"], condition=Q(size=1), name="relied")]),
    "index with a condition that includes it": _options(
        indexes=[Index(fields=["size"], include=["code"], condition=Q(size=1), name="relied")]
    ),
    "index of an expression": _options(indexes=[Index(Coalesce("code", None), name="relied")]),
    OF_TEXT: _options(indexes=[Index(fields=["code"], opclasses=["varchar_pattern_ops"], name="relied")]),
    "index of its reverse": _options(indexes=[Index(F("code").desc(), name="relied")]),
    "unique_together": _options(unique_together={("size", "code")}),
    "unique constraint": _options(constraints=[UniqueConstraint(fields=["code"], name="relied")]),
    "unique constraint with a condition": _options(
        constraints=[UniqueConstraint(fields=["code"], condition=Q(size=1), name="relied")]
    ),
    "check": _options(constraints=[CheckConstraint(condition=CODE_IS, name="relied")]),
    "what doesn't rely on it": _options(
        indexes=[Index(fields=["size"], condition=Q(size=1), name="relied")],
        constraints=[CheckConstraint(condition=Q(size__gt=0), name="other")],
    ),
    "foreign key to a unique field": Relied({"unique": True}, {}, [_child(to_field="code")]),
    "foreign key to a primary key": Relied({"primary_key": True}, {}, [_child()]),
    "relation without a foreign key": Relied({"unique": True}, {}, [_child(to_field="code", db_constraint=False)]),
}


def made(new: Make, old: Make, what: Relied) -> tuple[list[Operation], AlterField]:
    key = [] if "primary_key" in what.field else [KEY]
    fields = [*key, ("code", old(**what.field)), ("size", models.IntegerField(default=1)), *what.more]
    return [citext.CREATE, CreateModel("Place", fields, what.model), *what.others], AlterField(
        "place", "code", new(**what.field)
    )


def is_instant(shop: Shop, operation: Operation) -> bool:
    """Does the stock operation keep every file, and read no table?"""
    before, after = shop.state, shop.state.clone()
    operation.state_forwards("shop", after)
    with transaction.atomic():
        there = shop.execute(FILES), shop.execute(SCANS)
        with connection.schema_editor(atomic=False) as editor:
            operation.database_forwards("shop", editor, before, after)
        kept = there == (shop.execute(FILES), shop.execute(SCANS))
        transaction.set_rollback(True)
    return kept


POSSIBLE = [(types, what) for types in TYPES for what in RELIED if (types, what) != ("more digits", OF_TEXT)]


@pytest.mark.parametrize(("types", "what"), POSSIBLE)
def test_django_writes_what_is_instant_and_nothing_else(database, types, what):
    old, new = TYPES[types]
    tables, alter = made(new, old, RELIED[what])
    shop = Shop(database, *tables)
    after = shop.state.clone()
    alter.state_forwards("shop", after)
    found = rules.find(alter, Context("shop", shop.state, after, [("shop", alter)]))
    assert (found is None) == is_instant(shop, alter)


def test_values_that_differ_by_case_are_named_before_the_type_changes(database):
    shop = Shop(database, citext.CREATE, CreateModel("Place", [KEY, ("code", _short(unique=True))]))
    shop.execute("INSERT INTO shop_place (code) VALUES ('a'), ('b'), ('A')")
    there = snapshot(database)
    with pytest.raises(StepFailed) as error:
        shop.migrate(ExpandAlterField("place", "code", CaseInsensitive(unique=True)))
    assert str(error.value) == (
        "Rows of shop_place have a code that is another row's, too, as citext: a. Nothing was changed. Fix them, then "
        "run the same command again."
    )
    assert difference(there, snapshot(database)) == {}
    assert not queue.holders(database)


@pytest.mark.parametrize("what", ["index", "index with a condition", "index of an expression", "check"])
def test_a_statement_by_hand_is_judged_by_what_relies_on_its_column(what):
    state = ProjectState()
    for table in made(_long, _short, RELIED[what])[0]:
        table.state_forwards("shop", state)
    found = list(reader.read("ALTER TABLE shop_place ALTER code TYPE varchar(60)", Scene(state, atomic=False)))
    assert (found == []) == (what == "index")
