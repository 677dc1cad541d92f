"""What the gate decides: values in, verdict out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from safemigrations.contracts.gate import Others, Row, Rules, Verdict, Why, decide
from safemigrations.contracts.releases import Release
from safemigrations.contracts.sessions import Seen
from safemigrations.contracts.table import Status
from safemigrations.contracts.unfinished import Unfinished
from safemigrations.plans.steps import Backfill

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
OLD, NEW, STRANGER = "0000000a", "0000000b", "0000000c"
RELEASES = {
    OLD: Release(mark=OLD, migrations={"shop": ["0001"]}, tables=["shop_item"]),
    NEW: Release(mark=NEW, migrations={"shop": ["0001", "0002"]}, tables=["shop_item"]),
}
KNOWN = {("shop", "0001"), ("shop", "0002")}


def row(number: int = 1, migration: str = "0002", **values: Any) -> Row:
    given: dict[str, Any] = {
        "key": ("shop", migration),
        "status": Status.PENDING,
        "since": NOW - timedelta(hours=1),
        "until": None,
        "tables": frozenset({"shop_item"}),
        "needs": frozenset(),
        **values,
    }
    return Row(number=number, **given)


def session(mark: str | None, name: str = "web", pid: int = 7) -> Seen:
    called = f"{name} safemig:{mark}" if mark else name
    return Seen(pid, called, "app", "10.0.0.1", "idle", 120.0, 1.0)


def verdict(*rows: Row, sessions=(), remembered=None, releases=None, known=KNOWN, **rules: Any) -> Verdict:
    others = Others(sessions, remembered or {}, RELEASES if releases is None else releases, own=NEW)
    return decide(rows or (row(),), known, others, Rules(**rules), NOW)


def why(found: Verdict) -> dict[int, Why]:
    assert {wait.row.number for wait in found.waits}.isdisjoint(one.number for one in found.runs)
    return {wait.row.number: wait.why for wait in found.waits}


def test_a_row_waits_for_a_backfill_that_needs_what_goes_whatever_is_forced():
    fill = Unfinished(
        number=1,
        label="shop_item: fill size",
        app_label="shop",
        migration="0002",
        step=Backfill(why="fill", table='"shop_item"', key=('"id"',), assign='"size" = 0', guard="TRUE"),
        has_table=True,
    )
    found = verdict(row(1, unfilled=(fill,)), row(2), forced=True)
    assert (why(found), found.says_no) == ({1: Why.UNFILLED}, True)
    assert why(verdict(row(unfilled=(fill,)), is_open=True)) == {1: Why.UNFILLED}


def test_what_nobody_needs_runs():
    found = verdict()
    assert [one.number for one in found.runs] == [1]
    assert (found.waits, found.says_no) == ([], False)


def test_a_session_of_a_release_that_does_not_know_the_migration_holds_its_row_back():
    needing = session(OLD)
    found = verdict(sessions=[session(NEW, pid=8), needing])
    (wait,) = found.waits
    assert (wait.why, wait.sessions, found.runs, found.says_no) == (Why.SESSIONS, (needing,), [], True)


@pytest.mark.parametrize("other", [session(NEW), session(None), session(None, "psql")], ids=["new", "unmarked", "psql"])
def test_other_sessions_hold_nothing_back(other):
    assert why(verdict(sessions=[other])) == {}


def test_only_the_rows_that_a_release_needs_wait_for_it():
    found = verdict(row(1, "0001"), row(2), sessions=[session(OLD)])
    assert why(found) == {2: Why.SESSIONS}
    assert [one.number for one in found.runs] == [1]


def test_a_release_that_has_none_of_the_tables_is_not_harmed():
    releases = {**RELEASES, OLD: Release(mark=OLD, migrations={"billing": ["0001"]}, tables=["billing_bill"])}
    assert why(verdict(sessions=[session(OLD)], releases=releases)) == {}
    assert why(verdict(row(tables=frozenset({"billing_bill"})), sessions=[session(OLD)], releases=releases)) == {
        1: Why.SESSIONS
    }


def test_a_release_that_never_migrated_here_may_need_everything():
    stranger = session(STRANGER)
    assert why(verdict(sessions=[stranger])) == {1: Why.SESSIONS}


def test_where_no_other_release_was_noted_a_strange_mark_says_as_little_as_none():
    stranger, alone = session(STRANGER), {NEW: RELEASES[NEW]}
    found = verdict(sessions=[stranger], releases=alone)
    assert (why(found), found.unjudged) == ({}, [stranger])
    assert why(verdict(sessions=[stranger], releases=alone, strict=True)) == {1: Why.UNMARKED}


@pytest.mark.parametrize(("name", "waits"), [("web", {1: Why.UNMARKED}), ("psql", {}), ("pg_dump", {})])
def test_strict_waits_for_sessions_without_a_mark_but_for_postgresqls_own_tools(name, waits):
    found = verdict(sessions=[session(None, name)], strict=True)
    assert why(found) == waits
    assert len(found.unjudged) == 1


def test_a_row_whose_migration_is_unknown_never_runs():
    unknown = row(migration="0003")
    assert why(verdict(unknown)) == why(verdict(unknown, forced=True)) == {1: Why.UNKNOWN}
    assert why(verdict(unknown, is_open=True)) == {1: Why.UNKNOWN}


def test_a_young_row_waits():
    assert why(verdict(after=timedelta(hours=2))) == {1: Why.YOUNG}
    assert why(verdict(after=timedelta(hours=1))) == {}


def test_a_release_that_was_there_a_moment_ago_is_remembered():
    remembered = {OLD: NOW - timedelta(seconds=100), NEW: NOW}
    found = verdict(remembered=remembered, quiet=timedelta(seconds=120))
    assert [(wait.why, wait.marks) for wait in found.waits] == [(Why.REMEMBERED, (OLD,))]
    assert why(verdict(remembered=remembered, quiet=timedelta(seconds=90))) == {}


@pytest.mark.parametrize(
    ("status", "until", "waits"),
    [
        (Status.POSTPONED, NOW + timedelta(hours=1), {1: Why.POSTPONED}),
        (Status.POSTPONED, None, {1: Why.POSTPONED}),
        (Status.POSTPONED, NOW - timedelta(hours=1), {}),
        (Status.SKIPPED, None, {1: Why.SKIPPED}),
        (Status.FAILED, None, {}),
    ],
)
def test_what_people_decided_is_no_refusal(status, until, waits):
    found = verdict(row(status=status, until=until), forced=True)
    assert (why(found), found.says_no) == (waits, False)


def test_force_goes_past_everybody_else_and_says_past_whom():
    needing = [session(OLD)]
    found = verdict(sessions=needing, forced=True)
    assert ([one.number for one in found.runs], found.says_no) == ([1], False)
    assert [(wait.why, wait.sessions) for wait in found.forced] == [(Why.SESSIONS, tuple(needing))]


def test_where_nobody_else_uses_the_database_nobody_is_asked():
    assert why(verdict(sessions=[session(OLD)], is_open=True, after=timedelta(days=1), strict=True)) == {}


def test_a_row_waits_for_those_that_it_needs_and_they_for_theirs():
    rows = row(1, status=Status.POSTPONED), row(2, needs=frozenset({1})), row(3, needs=frozenset({2})), row(4)
    found = verdict(*rows)
    assert why(found) == {1: Why.POSTPONED, 2: Why.NEEDS, 3: Why.NEEDS}
    assert [wait.rows for wait in found.waits] == [(), (1,), (2,)]
    assert ([one.number for one in found.runs], found.says_no) == ([4], False)


def test_nothing_waits_for_a_row_that_is_skipped():
    rows = row(1, status=Status.SKIPPED), row(2, needs=frozenset({1}))
    assert why(verdict(*rows)) == {1: Why.SKIPPED}


def test_what_was_forced_and_waits_for_another_row_is_not_said_to_be_forced():
    rows = row(1, status=Status.POSTPONED), row(2, needs=frozenset({1}))
    found = verdict(*rows, sessions=[session(OLD)], forced=True)
    assert (why(found), found.forced) == ({1: Why.POSTPONED, 2: Why.NEEDS}, [])
