"""The changes of the pictures: what the old release has, and what each side writes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import IntegerRangeField
from django.db import models
from django.db.migrations import Migration
from django.db.migrations.operations import AddConstraint, CreateModel, DeleteModel, RunSQL
from django.db.migrations.operations.base import Operation

from safemigrations.operations import Backfill, MoveModelIn

from ..cases import BEFORE, CASES, LABEL, STORE, Case, InStore, base, key, ours, stock
from .pages import CASE_OF

MANY = 200_000


def newest(model: Any) -> Any:
    return model.objects.order_by("-pk")[0]


def any_of_many(model: Any) -> Any:
    """Most likely one that was there before the change, and that nobody has saved since."""
    return model.objects.filter(pk__gt=random.randrange(MANY)).order_by("pk")[0]


class Play(NamedTuple):
    """`rows` are added to the table that changes, where how long a change takes is the harm."""

    before: Migration
    written: dict[str, list[Migration]]  # by the sides
    models: set[str]  # names of the models that change, in both releases
    rows: str = ""  # SQL
    saved: Callable[[Any], Any] = newest  # the row that a request saves

    @property
    def after(self) -> list[Migration]:
        """The new release, as Django writes it."""
        return [self.before, *self.written["django"]]


def play_of(page: str) -> Play:
    return OTHERS[page]() if page in OTHERS else _of_case(CASE_OF[page])


def _of_case(name: str) -> Play:
    (case,) = (case for case in CASES if case.name == name)
    names = case.models | {new for new, former in case.renamed.items() if former in case.models}
    return Play(base(), {"django": stock(case), "safemigrations": ours(case)}, names)


def _shop(*operations: Operation) -> Migration:
    before = Migration(BEFORE, LABEL)
    before.initial, before.operations = True, list(operations)  # type: ignore[misc]
    return before


def _release(*operations: Operation, atomic: bool = True) -> list[Migration]:
    migration = Migration("0002_change", LABEL)
    migration.operations, migration.atomic = list(operations), atomic  # type: ignore[misc]
    migration.dependencies = [(LABEL, BEFORE)]  # type: ignore[misc]
    return [migration]


def _move_model() -> Play:
    parcel = CreateModel("Parcel", [key(), ("label", models.CharField(max_length=40))])
    before = _shop(InStore(parcel))
    django = _release(parcel, InStore(DeleteModel("Parcel")))
    return Play(
        before, {"django": django, "safemigrations": ours(Case("", MoveModelIn("Parcel", STORE)), before)}, {"parcel"}
    )


def _add_exclusion_constraint() -> Play:
    """Both sides write the same; the second has the lock procedure."""
    before = _shop(CreateModel("Booking", [key(), ("during", IntegerRangeField())]))
    once = AddConstraint("booking", ExclusionConstraint(expressions=[("during", "&&")], name="booking_once"))
    rows = "INSERT INTO shop_booking (during) SELECT int4range(-2 * n, 1 - 2 * n) FROM generate_series(1, 8000) n"
    written = {side: _release(once) for side in ("django", "safemigrations")}
    return Play(before, written, {"booking"}, rows)


def _backfill() -> Play:
    order = CreateModel("Order", [key(), ("number", models.IntegerField()), ("note", models.TextField())])
    rows = f"INSERT INTO shop_order (number, note) SELECT n, '' FROM generate_series(1, {MANY}) n"
    update = RunSQL("UPDATE shop_order SET note = 'none' WHERE note = ''", RunSQL.noop)
    fill = Backfill("order", set={"note": "none"}, where=models.Q(note=""))
    written = {"django": _release(update), "safemigrations": _release(fill, atomic=False)}
    return Play(_shop(order), written, {"order"}, rows, any_of_many)


OTHERS = {
    "add_exclusion_constraint": _add_exclusion_constraint,
    "backfill": _backfill,
    "move_model": _move_model,
}
