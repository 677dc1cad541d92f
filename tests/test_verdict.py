"""What a rehearsal makes of failures: those that the change can't have caused are no findings."""

from __future__ import annotations

from typing import Any

import pytest

from safemigrations.rehearsing.changes import Changes, Touched
from safemigrations.rehearsing.requests import Failure
from safemigrations.rehearsing.result import Phase
from safemigrations.rehearsing.verdict import UNIQUE_VIOLATION, Verdict

BOTH = "both releases"


def touched(*tables: str, model: str = "shop.Item") -> Touched:
    return Touched("shop", "0002_x", 0, "AddField(item.x)", "0002_x.py", 9, model, tables=frozenset(tables))


def verdict(*operations: Touched) -> Verdict:
    empty: dict[str, Any] = {"models": [], "made": frozenset(), "filled": [], "unique": []}
    names: dict[str, Any] = {"model_names": {}, "column_names": {}, "targets": {"shop": "0001_initial"}}
    return Verdict(Changes([("shop", "0002_x")], list(operations), **empty, **names))


def repeated(table: str) -> Failure:
    said = f'duplicate key value violates unique constraint "{table}_day_key"'
    return Failure("new", "search.Hits", "create", UNIQUE_VIOLATION, said, table, "", f"{table}_day_key")


def test_a_value_that_repeats_where_nothing_changes_is_noted():
    found = verdict(touched("shop_item"))
    found.note(Phase(BOTH, 0), [repeated("search_hits")])
    assert not found.found
    (note,) = found.notes()
    assert note.startswith("Generated values repeat in search_hits_day_key, whose tables the change leaves alone.")


@pytest.mark.parametrize("operation", [touched("shop_item"), touched(model="")], ids=["its table", "a function"])
def test_one_that_the_change_may_have_caused_is_a_finding(operation):
    found = verdict(operation)
    found.note(phase := Phase(BOTH, 0), [repeated("shop_item")])
    assert [one.message for one in found.found.values()] == [repeated("shop_item").message]
    assert (phase.errors, list(found.notes())) == (1, [])
