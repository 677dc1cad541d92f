"""pg_upgrade between expand and contract: both releases go on at the new version, to Django's own end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, connections

from testproject.postgres import embedded, upgraded

from ..cases import CASES, Case, base, ours, state_after, stock
from ..conftest import use_server
from ..releases import fill, installed, migrate, write
from ..snapshot import Snapshot, nameless, rows, snapshot
from ..tried import tried
from .deployment import ONE_IN, assert_same
from .test_restore import KINDS, both_releases_go_on, empty

NEW = "18"
OLD = ["15", "16"] if ONE_IN == 1 else ["16"]
FEW = {  # triggers that keep equal, convert and fill, a check, views
    "rename_field_unique",
    "alter_field_number_to_text",
    "backfill_with_meanwhile_over_row",
    "alter_field_shorter_not_null",
    "rename_model_with_many_to_many_to_it",
}
HERE = [case for case in CASES if case.name in (KINDS if ONE_IN == 1 else FEW)]


@contextmanager
def using(name: str) -> Iterator[Any]:
    """Django's connection "default", to a database of this name."""
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connections.settings["default"], "NAME", name)
        yield connection
        connection.close()


def create(conninfo: str, name: str, template: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def expand(server: str, case: Case, directory: Path) -> tuple[Snapshot, Any]:
    """A database of the case's name with its change expanded: the catalog, and the rows."""
    create(server, case.name, "used")
    parts = ours(case)
    with using(case.name), installed(directory, write(directory, [base(), *parts])):
        migrate(parts[-1].name)
        return snapshot(connection), rows(connection)


def without_novelties(found: Snapshot) -> Snapshot:
    """PostgreSQL 16 spells views anew, 17 gives partitions their table's identity, and 18 names each NOT NULL."""
    columns = {name: [*details[:3], *details[4:]] for name, details in found["columns"].items()}
    constraints = {name: details for name, details in found["constraints"].items() if details[0] != "n"}
    return {**found, "columns": columns, "constraints": constraints, "views": {}}


def assert_goes_on(server: str, case: Case, directory: Path, before: Snapshot, data: Any) -> None:
    parts = ours(case)
    with using(case.name), installed(directory, write(directory, [base(), *parts])):
        assert_same(without_novelties(before), without_novelties(snapshot(connection)))
        assert rows(connection) == data
        both_releases_go_on(case)
        ended = snapshot(connection)
    end = stock_end(server, case, directory)
    if case.former_names:
        end, ended = nameless(end), nameless(ended)
    assert_same(without_novelties(end), without_novelties(ended))


def stock_end(server: str, case: Case, directory: Path) -> Snapshot:
    name = f"{case.name}_stock"
    create(server, name, "used")
    with using(name), installed(directory, write(directory, [base(), *stock(case)])):
        if case.rows_differ:
            empty(connection)
        migrate("0002_change")
        return snapshot(connection)


@pytest.mark.parametrize("version", OLD, ids=lambda version: f"{version} to {NEW}")
def test_upgraded_between_expand_and_contract_it_goes_on(version, tmp_path, monkeypatch):
    """Every kind of change has a database of its own, on a server that is upgraded once."""
    failed = {}
    with embedded(version) as old:
        use_server(monkeypatch, old)
        create(old, "used", "template1")
        with using("used"), installed(tmp_path, write(tmp_path, [base()])):
            migrate(base().name)
            fill(state_after([base()]))
        expanded = {case: expand(old, case, tmp_path) for case in HERE}
        with upgraded(old, NEW) as new:
            use_server(monkeypatch, new)
            for case, (before, data) in expanded.items():
                try:
                    assert_goes_on(new, case, tmp_path, before, data)
                    tried("databases upgraded")
                except AssertionError as error:
                    failed[case.name] = str(error)
    assert failed == {}
