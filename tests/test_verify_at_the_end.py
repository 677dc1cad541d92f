"""migrate, its contract and its way back end with a look at the tables that they touched; failures suggest one."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, DataError, connection, models
from django.db.migrations import AddField, CreateModel, Migration
from django.test import override_settings

from safemigrations.errors import StepFailed
from safemigrations.inspecting.drift import verify
from safemigrations.operations import AddFieldWithDefault
from safemigrations.operations.of_migration import models_touched
from safemigrations.running.run import hint_of_drift
from safemigrations.typed import set_on

from .cases import CASES, LABEL, base, key, ours, state_after
from .releases import installed, write

DRIFT = "Every step is done, and this differs from the migrations:\n"
EXTRA = "shop_book: column extra is in no migration, can't be null and has no default: inserts fail\n"
ACTS = (["migrate", "shop"], ["migrate", "shop", "0002", "--contract", "--only"], ["migrate", "shop", "0001"])
VERIFIED = "Verified: 1 table, as the migrations say.\n"


@pytest.fixture
def shop(database: Any, tmp_path: Path) -> Iterator[Any]:
    """Two tables, of which the second release changes one."""
    first, second = Migration("0001_initial", "shop"), Migration("0002_pages", "shop")
    first.operations = [CreateModel("Book", [key()]), CreateModel("Shelf", [key()])]  # type: ignore[misc]
    second.operations = [  # type: ignore[misc]
        AddFieldWithDefault("book", "pages", models.IntegerField(default=1))
    ]
    set_on(second, atomic=False, dependencies=[("shop", "0001_initial")])
    with installed(tmp_path, write(tmp_path, [first, second])), override_settings(SAFEMIGRATIONS={"GATE_WATCH": 0}):
        said("migrate", "shop", "0001", verbosity=2)
        yield database


def said(*command: str, **options: Any) -> str:
    out = StringIO()
    call_command(*command, stdout=out, **options)
    return out.getvalue()


def send(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def differ() -> None:
    """Both tables, but only one of them is touched."""
    for table in ("shop_book", "shop_shelf"):
        send(f"ALTER TABLE {table} ADD extra int NOT NULL")


def test_drift_is_a_warning_with_its_repair_at_each_end(shop):
    differ()
    for command in ACTS:
        out = said(*command, force=True)
        assert out.partition(DRIFT)[2].startswith(EXTRA), (command, out)
        assert "shop_shelf" not in out
        assert said(*command, force=True).partition(DRIFT)[1] == "", "nothing was touched"
    send(out.partition(EXTRA)[2].strip())  # as it stands
    assert DRIFT not in said("migrate", "shop")


def test_nothing_is_said_where_nothing_differs(shop):
    for command in ACTS:
        assert VERIFIED in said(*command, verbosity=2, force=True)
    out = said("migrate", "shop", verbosity=1)
    assert "erified" not in out
    assert DRIFT not in out


def test_what_differs_more_than_a_few_times_is_counted(shop):
    for number in range(6):
        send(f"ALTER TABLE shop_book ADD extra{number} int NOT NULL")
    out = said("migrate", "shop")
    assert out.count("is in no migration") == 4
    assert "2 more differences: python manage.py safemigrations verify --sql\n" in out


def test_a_first_migrate_and_a_setting_leave_it_out(shop):
    differ()
    with override_settings(SAFEMIGRATIONS={"VERIFY_TOUCHED": False}):
        assert DRIFT not in said("migrate", "shop")
    send("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert "erified" not in said("migrate", "shop", verbosity=2)


def test_what_it_meets_fails_nothing(shop, monkeypatch):
    monkeypatch.setattr(verify, "explained", lambda *of: 1 / 0)
    assert "The tables of this run could not be verified: division by zero" in said("migrate", "shop")


HINT = "how to fix it: python manage.py safemigrations verify --sql"


def test_a_step_that_meets_another_table_than_the_migrations_say_suggests_to_verify(shop):
    send("ALTER TABLE shop_book ADD pages text")
    with pytest.raises(StepFailed, match=HINT) as ours:
        said("migrate", "shop")
    assert 'column "pages" of relation "shop_book" already exists' in str(ours.value)
    send("ALTER TABLE shop_book DROP pages")
    said("migrate", "shop")
    send("ALTER TABLE shop_book DROP pages")
    with pytest.raises(StepFailed, match=HINT):
        said(*ACTS[1])


def test_so_does_a_statement_of_django(shop, tmp_path):
    stock = Migration("0001_initial", "shop")
    set_on(stock, operations=[CreateModel("Book", [key()]), CreateModel("Shelf", [key()])])
    more = Migration("0002_more", "shop")
    more.operations = [AddField("shelf", "size", models.IntegerField(null=True))]  # type: ignore[misc]
    set_on(more, dependencies=[("shop", "0001_initial")])
    send("DROP TABLE shop_shelf")
    package = write(tmp_path, [stock, more])
    with override_settings(MIGRATION_MODULES={"shop": package}), pytest.raises(DatabaseError) as theirs:
        said("migrate", "shop")
    assert HINT in "".join(theirs.value.__notes__)
    assert hint_of_drift(connection, DataError()) == ""


def test_what_points_at_the_key_of_a_child_is_touched_with_that_of_its_parent():
    (case,) = (case for case in CASES if case.name == "alter_field_bigger_key_of_parent")
    (migration,) = ours(case)
    assert {(LABEL, "person"), (LABEL, "courier"), (LABEL, "order")} <= models_touched(migration, state_after([base()]))
