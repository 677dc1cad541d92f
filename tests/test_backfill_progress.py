"""A backfill is found again: after a kill, an upgrade of this package, a change of its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState
from django.db.models import CharField, F, Q
from django.test import override_settings

from safemigrations.contracts.steering import steer
from safemigrations.operations import AddFieldNullableThenBackfill
from safemigrations.operations import Backfill as BackfillOperation
from safemigrations.operations.base import Change, Situation
from safemigrations.plans.steps import Backfill, RowFunction, nested
from safemigrations.plans.stored import from_json, to_json
from safemigrations.running.backfill import progress
from safemigrations.running.backfill.progress import Section, Status, digest

from . import stored
from .shop import Shop, book
from .test_stored import read_migration

# As the release before stored it, with the digest that it found it by.
STORED: dict[str, Any] = {
    "kind": "Backfill",
    "why": "item: fill twin",
    "done": "",
    "undo": [],
    "takes": [],
    "frees": [],
    "about": "column twin of item",
    "uses": [],
    "table": '"item"',
    "key": ['"id"'],
    "guard": '"twin" IS NULL',
    "assign": '"twin" = "price"',
    "function": None,
    "sets": [],
    "clears": True,
    "can_wait": True,
}
FUNCTION: dict[str, Any] = {
    "kind": "RowFunction",
    "path": "shop.backfills:twin_of",
    "takes_row": True,
    "app_label": "shop",
    "migration": "0002_twin",
    "model": "item",
    "field": "twin",
    "column": '"twin"',
    "also": "",
    "many": False,
}
DIGESTS = [
    (STORED, "f36d8abadad05f24aa147f9509050cd567521f17ef4e3d9635207dba57513842"),
    (
        {**STORED, "assign": "", "function": FUNCTION, "sets": ['"twin"'], "clears": False, "can_wait": False},
        "22c1bcc9cec87ce2c8856e9f213afb2d0d4ef39bca0f4985ec0ce6fdbfcdde89",
    ),
]


def step_of(stored: dict[str, Any]) -> Backfill:
    (step,) = from_json([stored])
    assert isinstance(step, Backfill)
    return step


@pytest.mark.parametrize(("stored", "known"), DIGESTS, ids=["expression", "function"])
def test_what_the_release_before_stored_has_the_digest_that_it_had(stored, known):
    assert digest(step_of(stored)) == known


def test_a_field_that_is_added_to_a_step_changes_no_digest():
    class Later(Backfill):
        hint: str = "of a release to come"

    step = step_of(STORED)
    later = Later(**vars(step))
    assert "hint" in to_json((later,))[0]
    assert digest(later) == digest(step)


@pytest.mark.parametrize("words", [{"why": "something else"}, {"done": "SELECT 1"}, {"about": "column price of item"}])
def test_what_is_said_of_a_step_changes_no_digest(words):
    assert digest(step_of({**STORED, **words})) == digest(step_of(STORED))


@pytest.mark.parametrize("what", ["table", "guard", "assign"])
def test_what_a_step_does_changes_its_digest(what):
    assert digest(step_of({**STORED, what: "something else"})) != digest(step_of(STORED))


def test_every_field_of_a_function_is_part_of_the_digest():
    assert {*RowFunction.field_names()} == {*progress.HOW_FUNCTION}


def shout(row: Any) -> str:
    return str(row.title).upper()


def shout_all(row: Any) -> dict[str, Any]:
    return {"title": shout(row)}


LOUD = CharField(max_length=100)
# As the release before planned them: what is running goes on only where this plan is hashed to the same.
PLANNED = {
    "a field by an expression": (
        AddFieldNullableThenBackfill("book", "loud", LOUD, backfill=F("title")),
        "0ba8c2a604c83789418902bbbce877662f7a675bc58bb02d9eeb7c91431fe248",
    ),
    "a field by a function": (
        AddFieldNullableThenBackfill("book", "loud", LOUD, backfill=shout),
        "be5231b570a4f6cf8ad40af8e2edd433e29b2e4dc6d46be3b7c41726eaffe0b3",
    ),
    "rows by an expression": (
        BackfillOperation("book", set={"title": F("title")}, where=Q(title="")),
        "734334708f6972db27be721311dbd468ca6aa4d06ef74d61c4009957b5e0a89d",
    ),
    "rows by a function": (
        BackfillOperation("book", set=shout_all),
        "3cccbb7d9d4acc4e08e333bce832472d8f911467fcaea52c6e9cb2c5266e46b5",
    ),
}


def planned(connection: Any, operation: Any, migration: str) -> Backfill:
    state = ProjectState()
    book().state_forwards("shop", state)
    after = state.clone()
    operation.state_forwards("shop", after)
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        at = Situation("shop", editor, before=state, after=after, migration=Migration(migration, "shop"))
        (step,) = (step for step in operation.expand(at) if isinstance(step, Backfill))
    return step


def backfills_of(connection: Any, migrations: Sequence[Migration]) -> Iterator[Backfill]:
    """The backfills that these migrations plan today, in both halves."""
    state = ProjectState()
    for migration in migrations:
        for operation in migration.operations:
            before = state.clone()
            operation.state_forwards("shop", state)
            with connection.schema_editor(collect_sql=True, atomic=False) as editor:
                at = Situation("shop", editor, before=before, after=state.clone(), migration=migration)
                plan = (*operation.expand(at), *operation.contract(at)) if isinstance(operation, Change) else ()
            yield from (step for step in nested(plan) if isinstance(step, Backfill))


def begun(case: dict[str, Any]) -> set[str]:
    """The digests of what an earlier version stored of a case."""
    plans = [case["steps"], *(row["plan"] for row in case["rows"])]
    return {digest(step) for plan in plans for step in nested(from_json(plan)) if isinstance(step, Backfill)}


WRITTEN = {version: stored.read(version) for version in stored.VERSIONS}
BEGUN = [(version, name) for version, all in WRITTEN.items() for name, case in all["cases"].items() if begun(case)]


@pytest.mark.parametrize(("version", "name"), BEGUN)
def test_what_an_earlier_version_began_is_found_by_what_is_planned_today(database, version, name):
    case = WRITTEN[version]["cases"][name]
    files = {**WRITTEN[version]["files"], **case["files"]}
    planned_today = backfills_of(database, [read_migration(key, files[key]) for key in sorted(files)])
    assert begun(case) <= {*map(digest, planned_today)}


@pytest.mark.parametrize("what", PLANNED)
def test_what_the_release_before_planned_has_the_digest_that_it_had(database, what):
    operation, known = PLANNED[what]
    assert digest(planned(database, operation, "0002")) == known


def test_the_plan_names_the_migration_that_it_was_made_for(database):
    step = planned(database, BackfillOperation("book", set=shout_all), "0002_loud")
    assert step.function
    assert (step.function.app_label, step.function.migration) == ("shop", "0002_loud")


def test_a_backfill_is_found_that_the_release_before_began(database, connect):
    connect().execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    began = progress.begin(database, step_of(STORED), app_label="shop", migration="0002", status=Status.RUNNING)
    progress.rows(database).update(digest=DIGESTS[0][1], step=STORED)
    connect().execute("ALTER TABLE safemigrations_backfill DROP COLUMN signature")
    again = progress.begin(database, step_of(STORED), app_label="shop", migration="0002", status=Status.RUNNING)
    assert again.pk == began.pk


def test_taking_a_squashed_migration_back_forgets_what_the_replaced_one_left(database):
    shop = Shop(database, book())
    shop.execute("INSERT INTO shop_book SELECT n, 'a title' FROM generate_series(1, 1000) n")
    with override_settings(SAFEMIGRATIONS={"BACKFILL_INLINE_ROWS": 10}):
        shop.migrate(BackfillOperation("book", set=shout_all, can_wait=True, reverse={"title": "x"}))
    assert progress.rows(database, status=Status.PENDING).count() == 1
    squashed = shop.migrations[-1]
    squashed.name, squashed.replaces = "0002_squashed", [("shop", squashed.name)]  # type: ignore[misc]
    shop.back()
    assert not progress.rows(database, status=Status.PENDING).exists()


def test_the_way_back_waits_for_a_batch_under_way_and_takes_its_section(database, connect):
    """It would fill rows that were set back already, where nothing tells them from the others."""
    worker, step = connect(), replace(step_of(STORED), undo=(step_of(STORED),))
    worker.execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    began = progress.begin(database, step, app_label="shop", migration="0002", status=Status.RUNNING)
    section = Section._base_manager.create(progress=began.pk, worker=7, owner=7, part=0)
    with worker.transaction():
        worker.execute("SELECT FROM safemigrations_backfill_section FOR UPDATE")
        with database.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            progress.begin_to_take_back(database, step)
    progress.begin_to_take_back(database, step)
    section.refresh_from_db()
    assert (section.worker, section.owner) == (0, 0)


def test_what_is_being_taken_back_is_not_resumed(database, connect):
    """Whoever resumes all that was cancelled doesn't mean it. When its migration is applied again, it is as others."""
    connect().execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    step = replace(step_of(STORED), undo=(step_of(STORED),))
    progress.begin(database, step, app_label="shop", migration="0002", status=Status.RUNNING)
    progress.begin_to_take_back(database, step)
    with pytest.raises(CommandError, match="no backfill to resume"):
        steer(database, "resume", None, {})
    progress.begin(database, step, app_label="shop", migration="0002", status=Status.RUNNING)
    for action in ("cancel", "resume"):
        assert len(steer(database, action, None, {})) == 1


def test_whoever_looks_while_the_first_backfill_makes_its_tables_finds_none(database, connect):
    connect().execute("CREATE TABLE item (id bigint PRIMARY KEY, price int, twin int)")
    seen = list[int]()

    def look(execute: Any, sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if sql.startswith("CREATE TABLE"):
            seen.append(progress.rows(database).count())
        return result

    with database.execute_wrapper(look):
        progress.begin(database, step_of(STORED), app_label="shop", migration="0002", status=Status.RUNNING)
    assert len(seen) == 2
    assert not any(seen)
