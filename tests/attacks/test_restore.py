"""A backup between expand and contract can be restored, and both releases go on there to Django's own end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from ..cases import CASES, Case, base, ours, stock
from ..conftest import new_database
from ..forked import both_releases, contracted, playing
from ..releases import contract, installed, migrate, write
from ..snapshot import Snapshot, nameless, rows, snapshot
from .deployment import ONE_IN, assert_same
from .restoring import FLAVOURS, PLAIN, Flavour, restored


@pytest.fixture
def database(used: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """With the rows of the release before the case."""
    with new_database("default", monkeypatch, used) as made:
        yield made


ENDS: dict[str, Snapshot] = {}  # case -> the catalog after the stock operations; the same for every test


@pytest.fixture
def end(case: Case, used: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Snapshot:
    """The catalog after the stock operations, in a database of their own."""
    if case.name not in ENDS:
        with new_database("other", monkeypatch, used) as other:
            if case.rows_differ:
                empty(other)
            with installed(tmp_path, write(tmp_path, [base(), *stock(case)])):
                migrate("0002_change", alias=other.alias)
            ENDS[case.name] = snapshot(other)
    return ENDS[case.name]


@pytest.fixture
def last(case: Case, end: Snapshot, database: Any, tmp_path: Path) -> Iterator[str]:
    """The case's last migration, applied on a database with rows that the release before it wrote."""
    parts = ours(case)
    with installed(tmp_path, write(tmp_path, [base(), *parts])):
        migrate(parts[-1].name)
        yield parts[-1].name


def empty(database: Any) -> None:
    """Where stock operations can't give each row a value of its own."""
    tables = ", ".join(name for name, (kind, *_) in snapshot(database)["tables"].items() if kind in "rp")
    with database.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables}")


def both_releases_go_on(case: Case) -> None:
    """Requests of both, whatever either reads of the other's rows, the contract, and requests of the new one."""
    with playing(case) as play:
        play.begin("restored")
        play.start_old()
        play.start_new()
        contracted(play, case, contract, both_releases(play, case))


def goes_on_after(
    flavour: Flavour, case: Case, end: Snapshot, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, data = snapshot(connection), rows(connection)
    with restored(flavour, directory, monkeypatch):
        assert_same(flavour.as_it_holds(before), flavour.as_it_holds(snapshot(connection)))
        assert rows(connection) == data
        both_releases_go_on(case)
        ended = snapshot(connection)
    if case.former_names:
        end, ended = nameless(end), nameless(ended)
    assert_same(flavour.as_it_holds(end), flavour.as_it_holds(ended))


# One of each kind of change: what it makes for the time between expand and contract is of another kind.
KINDS = {
    "replace_index",
    "add_field_uuid4",
    "backfill_with_meanwhile_over_row",
    "backfill_over_relation",
    "backfill_positive",
    "add_field_nullable_foreign_key",
    "add_field_many_to_many",
    "alter_field_positive",
    "alter_field_with_db_constraint",
    "set_not_null_over_relation",
    "order_with_respect_to",
    "add_check_constraint_enforced_by_expand",
    "remove_field_foreign_key",
    "remove_field_many_to_many",
    "delete_model_that_is_pointed_at",
    "rename_field_unique",
    "rename_field_in_check_constraint",
    "alter_field_db_column_foreign_key",
    "alter_field_bigger_in_unique_constraint",
    "alter_field_bigger_on_partitioned_table",
    "alter_field_bigger_key_of_itself",
    "alter_field_shorter_not_null",
    "alter_field_number_to_text",
    "alter_field_collation",
    "rename_model_with_many_to_many_to_it",
    "alter_model_table_awkward",
    "move_model",
    "move_model_with_its_table",
}
HERE = [case for case in CASES if ONE_IN == 1 or case.name in KINDS]
# Whatever a backup leaves out, something of theirs could be it.
FEW = {"rename_field_unique", "alter_field_number_to_text", "rename_model"}
MORE = {"backfill_with_meanwhile_over_row", "alter_field_bigger_key", "alter_field_shorter", "alter_model_table"}


@pytest.mark.parametrize("case", HERE, ids=repr)
def test_restored_between_expand_and_contract_it_goes_on(case, end, last, tmp_path, monkeypatch):
    goes_on_after(PLAIN, case, end, tmp_path, monkeypatch)


def of_each(flavour: Flavour) -> Iterator[Any]:
    for case in CASES:
        if case.name in (FEW | MORE if ONE_IN == 1 else FEW):
            yield pytest.param(flavour, case, id=f"{flavour}-{case}")


@pytest.mark.parametrize(("flavour", "case"), [one for flavour in FLAVOURS[1:] for one in of_each(flavour)])
def test_restored_in_whatever_way_it_goes_on(flavour, case, end, last, tmp_path, monkeypatch):
    goes_on_after(flavour, case, end, tmp_path, monkeypatch)
