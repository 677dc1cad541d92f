"""The ways to fill a column, each as a function of a connection to the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection, models, transaction
from django.db.migrations.state import ModelState, ProjectState

from safemigrations.plans.steps import Backfill
from safemigrations.running.run import Report
from safemigrations.running.runner import Runner

BATCH = 5000


def model(key: str) -> Any:
    pk: Any = models.UUIDField(primary_key=True) if key == "uuid" else models.BigIntegerField(primary_key=True)
    state = ProjectState()
    fields: Any = [
        ("id", pk),
        ("name", models.TextField()),
        ("price", models.DecimalField(max_digits=10, decimal_places=2)),
        ("placed", models.DateTimeField()),
        ("twin", models.DecimalField(max_digits=12, decimal_places=2, null=True)),
    ]
    state.add_model(ModelState("bench", "Item", fields, {"db_table": "item"}))
    return state.apps.get_model("bench", "Item")


def single_update(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE item SET twin = price WHERE twin IS NULL")


def run_python(key: str) -> None:
    """What blog posts recommend: a list of ids, and bulk_update for each batch of them."""
    item = model(key)
    ids = list(item.objects.filter(twin=None).values_list("pk", flat=True))
    for at in range(0, len(ids), BATCH):
        with transaction.atomic():
            rows = list(item.objects.filter(pk__in=ids[at : at + BATCH]))
            for row in rows:
                row.twin = row.price
            item.objects.bulk_update(rows, ["twin"])


def keyset(key: str) -> None:
    """Fixed batches in the order of the key, each bound looked up first."""
    after = ""
    with connection.cursor() as cursor:
        while True:
            where = f"id > '{after}'" if after else "TRUE"
            cursor.execute(f"SELECT id FROM item WHERE {where} ORDER BY id OFFSET {BATCH - 1} LIMIT 1")
            row = cursor.fetchone()
            upto = f"id <= '{row[0]}'" if row else "TRUE"
            cursor.execute(f"UPDATE item SET twin = price WHERE {where} AND {upto} AND twin IS NULL")
            if not row:
                return
            after = str(row[0])


def ours(key: str) -> None:
    step = Backfill(
        why="item: fill twin", table='"item"', key=('"id"',), guard='"twin" IS NULL', assign='"twin" = "price"'
    )
    Runner(connection, Report()).run((step,))


WAYS: dict[str, Callable[[str], None]] = {
    "single UPDATE": single_update,
    "RunPython, bulk_update": run_python,
    "keyset batches": keyset,
    "safemigrations": ours,
}
