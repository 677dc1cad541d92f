"""What a rehearsal makes of failures: those that the change can't have caused are no findings."""

from __future__ import annotations

from typing import Any

import pytest

from safemigrations.rehearsing.changes import Changes, Touched
from safemigrations.rehearsing.requests import LOST, RAISED, REFUSED, Failure
from safemigrations.rehearsing.result import Phase
from safemigrations.rehearsing.verdict import (
    AGAIN,
    NULL_VIOLATION,
    OLD_ALONE,
    UNIQUE_VIOLATION,
    Verdict,
)

BOTH = "both releases"


def touched(*tables: str, model: str = "shop.Item") -> Touched:
    at = ("shop", "0002_x", 0, "AddField(item.x)", "0002_x.py", 9)
    return Touched(*at, model, tables=frozenset(tables), columns=frozenset({"x"}))


def verdict(*operations: Touched) -> Verdict:
    empty: dict[str, Any] = {"models": [], "made": frozenset(), "filled": [], "unique": []}
    names: dict[str, Any] = {"model_names": {}, "column_names": {}, "targets": {"shop": "0001_initial"}}
    reached = frozenset({"shop_line"}.union(*(one.tables for one in operations)))
    return Verdict(Changes([("shop", "0002_x")], list(operations), **empty, **names, reached=reached))


def repeated(table: str) -> Failure:
    said = f'duplicate key value violates unique constraint "{table}_day_key"'
    return Failure("new", "search.Hits", "create", UNIQUE_VIOLATION, said, table, "", f"{table}_day_key")


def test_a_value_that_repeats_where_nothing_changes_is_noted():
    found = verdict(touched("shop_item"))
    found.note(Phase(BOTH, 0), [repeated("search_hits")])
    assert not found.findings()
    (note,) = found.notes()
    assert note.startswith("Generated values repeat in search_hits_day_key, whose tables the change leaves alone.")


@pytest.mark.parametrize("operation", [touched("shop_item"), touched(model="")], ids=["its table", "a function"])
def test_one_that_the_change_may_have_caused_is_a_finding(operation):
    found = verdict(operation)
    found.note(phase := Phase(BOTH, 0), [repeated("shop_item")])
    assert [one.message for one in found.findings()] == [repeated("shop_item").message]
    assert (phase.errors, list(found.notes())) == (1, [])


def lost(release: str, value: str, table: str = "shop_item") -> Failure:
    said = f"number is 'T-1', and {value} was written"
    return Failure(release, table.replace("_", "."), "read what was written", LOST, said, table, "number")


def refused(release: str, kind: str, column: str = "") -> Failure:
    return Failure(release, "shop.item", "create()", kind, "refused", "shop_item", column)


def test_what_the_code_does_when_it_is_alone_is_no_finding_of_either_release():
    found = verdict(touched("shop_item"))
    found.note(Phase(OLD_ALONE, 0), [lost("old", "'a'")])
    found.note(Phase(BOTH, 0), [lost("old", "None"), lost("new", "True")])
    assert found.findings() == []


def test_what_the_server_refuses_one_release_may_be_a_finding_of_the_other():
    found = verdict(touched("shop_item"))
    found.note(Phase(OLD_ALONE, 0), [refused("old", "22001")])
    found.note(Phase(BOTH, 0), [refused("old", "22001"), refused("new", "22001")])
    assert [finding.release for finding in found.findings()] == ["new"]


def test_what_happens_without_the_change_when_it_is_asked_again_is_withdrawn():
    found, phase = verdict(touched("shop_item")), Phase(BOTH, 0)
    found.note(phase, [lost("new", "None"), refused("old", "22001")])
    assert (found.suspected("old"), found.suspected("new")) == (["shop.item"], ["shop.item"])
    assert (phase.errors, phase.lost) == (1, 1)
    found.note(Phase(AGAIN["new"], 0), [lost("new", "'b'")])
    found.withdraw()
    assert [finding.kind for finding in found.findings()] == ["error"]
    assert (phase.errors, phase.lost, found.suspected("new")) == (1, 0, [])
    assert list(found.notes()) == ["Some errors of shop.item are no findings: they have other reasons than the change."]


def test_nobody_is_asked_again_for_what_only_the_change_can_do():
    """A column that isn't there, and a null in the column that was added."""
    found = verdict(touched("shop_item"))
    null = refused("old", NULL_VIOLATION, "x")
    found.note(Phase(BOTH, 0), [refused("old", "42703"), null])
    assert found.suspected("old") == []
    found.note(Phase(BOTH, 0), [refused("old", NULL_VIOLATION, "another")])
    assert found.suspected("old") == ["shop.item"]


def test_what_the_project_does_to_tables_that_the_change_leaves_alone_is_noted():
    """A save() that writes another value, and a rule that refuses one; a line points at the item."""
    found = verdict(touched("shop_item"))
    rule = Failure("old", "cart.cart", "create()", REFUSED, "PermissionDenied: not yours", "cart_cart")
    found.note(Phase(BOTH, 0), [lost("new", "None", "cart_cart"), rule, lost("new", "None", "shop_line")])
    assert [finding.requests[0].model for finding in found.findings()] == ["shop.line"]
    (note,) = found.notes()
    assert note == "Some errors of cart.cart are no findings: they have other reasons than the change."


def test_a_function_of_the_change_may_have_done_anything():
    found = verdict(touched(model=""))
    found.note(Phase(BOTH, 0), [lost("new", "None", "cart_cart")])
    assert len(found.findings()) == 1


def transition(to: str, action: str = "save()") -> Failure:
    said = f'pgtrigger: Invalid transition of field "status" from "asked" to "{to}" on table shop_item'
    return Failure("old", "shop.item", action, RAISED, said, "shop_item")


def test_a_trigger_of_the_project_says_its_values_between_double_quotes():
    found = verdict(touched("shop_item"))
    found.note(Phase(OLD_ALONE, 0), [transition("1zrj6")])
    found.note(Phase(BOTH, 0), [transition("v0sj6", "update()")])
    assert found.findings() == []


def test_names_of_the_server_between_double_quotes_tell_reasons_apart():
    found = verdict(touched("shop_item"))
    missing = [Failure("old", "shop.item", "save()", "42703", f'column "{name}" does not exist') for name in "ab"]
    found.note(Phase(OLD_ALONE, 0), missing[:1])
    found.note(Phase(BOTH, 0), missing)
    assert [finding.message for finding in found.findings()] == ['column "b" does not exist']


def at(failure: Failure, **times: int) -> Failure:
    failure.at, failure.count = {number.strip("_"): count for number, count in times.items()}, sum(times.values())
    return failure


def test_a_picture_shows_the_errors_that_are_findings_when_they_happened():
    found, phase = verdict(touched("shop_item")), Phase(BOTH, 0)
    phase.add([(0.3, 9, 0, 0.5)])
    phase.add([(0.3, 5, 0, 0.2), (0.1, 1, 0, 0.1)])
    found.note(phase, [at(lost("new", "None"), _1=2, _3=1), at(refused("old", "22001"), _3=4)])
    assert phase.series == [(0.1, 1, 2, 0.1), (0.3, 14, 5, 0.5)]
    found.note(Phase(AGAIN["new"], 0), [lost("new", "'b'")])
    found.withdraw()
    assert phase.series == [(0.1, 1, 0, 0.1), (0.3, 14, 4, 0.5)]


def missing(table: str, operation: str) -> Failure:
    said = 'column "x" does not exist'
    return Failure("old", table.replace("_", "."), operation, "42703", said, table)


def test_what_the_server_says_in_the_same_words_is_told_once():
    found = verdict(touched("shop_item"))
    found.note(Phase(BOTH, 0), [missing("shop_item", "get()"), missing("shop_line", "delete()")])
    (finding,) = found.findings()
    assert [request.model for request in finding.requests] == ["shop.item", "shop.line"]


def test_a_value_that_a_function_names_is_its_doing():
    """Also where another operation is about the same table."""
    other = touched("shop_item")
    at_function = ("shop", "0002_x", 1, "RunPython(fill)", "0002_x.py", 12, "")
    found = verdict(other, Touched(*at_function, mentions=frozenset({"number", "item"})))
    found.note(Phase(BOTH, 0), [lost("new", "None")])
    (finding,) = found.findings()
    assert finding.cause
    assert finding.cause.description == "RunPython(fill)"
