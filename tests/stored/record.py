"""Records what this version writes. The oldest PostgreSQL is taken, because each later one reads its dumps.

SAFEMIGRATIONS_TEST_PG=15 python -m pytest -n 0 tests/stored/record.py
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from django.db import connection
from django.db.migrations import Migration
from django.db.models import F, Q
from psycopg.conninfo import make_conninfo

from safemigrations.contracts import queue
from safemigrations.operations import Backfill
from safemigrations.plans.steps import Step
from safemigrations.plans.stored import to_json
from safemigrations.running.run import Report
from tests.cases import CASES, LABEL, base, ours
from tests.conftest import new_database
from tests.releases import contract, installed, migrate
from tests.releases import write as write_migrations

from . import dumped, write

# The fewest cases that have every kind of step, each with every field that it has somewhere, every kind of claim, and
# every operation with every argument.
CHOSEN = {
    "add_check_constraint_enforced_by_expand",
    "add_field_array_with_values",
    "add_field_nullable_unique",
    "add_field_one_off_default",
    "add_unique_constraint_deferrable",
    "add_unique_constraint_nulls_are_same",
    "add_unique_together",
    "alter_field_bigger",
    "alter_field_bigger_and_db_column_on_partitioned_table",
    "alter_field_number_to_text",
    "alter_field_text_indexed",
    "alter_model_table_awkward",
    "backfill_with_meanwhile",
    "delete_model_with_its_child",
    "drop_default",
    "index_of_field_becomes_one_of_meta",
    "order_with_respect_to",
    "remove_field_foreign_key",
    "remove_index_on_expression",
    "rename_field",
    "rename_field_in_check_constraint",
    "rename_model",
    "rename_model_with_many_to_many_to_it",
    "replace_check_constraint_by_unique",
    "replace_index",
    "set_not_null_by_function",
    "set_not_null_foreign_key",
}


class Collected(Report):
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def begin(self, step: Step) -> None:
        self.steps.append(step)


def test_record(used: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations = {case.name: ours(case) for case in CASES if case.name in CHOSEN} | {"backfill": [_backfill()]}
    recorded: dict[str, Any] = {"files": {}, "cases": {}}
    for name, parts in migrations.items():
        with new_database("default", monkeypatch, used):
            recorded["start"] = _dump()
            case = recorded["cases"][name] = _recorded(parts, tmp_path)
            recorded["files"][base().name] = case["files"].pop(base().name)
    write(version("safemigrations"), recorded)


def _backfill() -> Migration:
    migration = Migration("0002_change", LABEL)
    migration.operations = [Backfill("order", set={"note": F("number")}, where=Q(weight=1))]  # type: ignore[misc]
    migration.dependencies = [(LABEL, base().name)]  # type: ignore[misc]
    migration.atomic = False  # type: ignore[misc]
    return migration


def _recorded(parts: list[Migration], folder: Any) -> dict[str, Any]:
    package, collected = write_migrations(folder, [base(), *parts]), Collected()
    with installed(folder, package):
        migrate(parts[-1].name, collected)
        fields = ("app_label", "migration", "operation", "label", "plan")
        rows = [{name: getattr(row, name) for name in fields} for row in queue.rows(connection)]
        expanded = _dump()
        contract()
    return {
        "steps": to_json(tuple(collected.steps)),
        "rows": rows,
        "files": {path.stem: path.read_text() for path in sorted((folder / package).glob("0*.py"))},
        "expanded": expanded,
        "contracted": _dump(),
    }


def _dump() -> str:
    settings = connection.settings_dict
    return dumped(make_conninfo(host=settings["HOST"], user=settings["USER"], dbname=settings["NAME"]))
