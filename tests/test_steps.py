"""Steps are data: they survive as JSON, also into a later version of this package."""

from __future__ import annotations

import json
from dataclasses import field, replace
from typing import Any

import pytest

from safemigrations.data import Data
from safemigrations.plans import claims
from safemigrations.plans.claims import Claim, Kind
from safemigrations.plans.copies import BuildCounterparts, CopyIndexes, MoveAdditions, TryTypes
from safemigrations.plans.indexes import AddUnique, BuildIndex, DropIndex, EachPartition
from safemigrations.plans.steps import (
    Backfill,
    Nothing,
    Online,
    Proof,
    Question,
    RowFunction,
    Statement,
    Step,
    Together,
    Trial,
    nested,
    reverse,
)
from safemigrations.plans.stored import STEPS as KINDS
from safemigrations.plans.stored import from_json, to_json
from safemigrations.postgres.lock import Lock
from safemigrations.postgres.probe import NEVER, Probe

NOTE = claims.column('"shop_item"', "note")
DROP = Statement(
    why="shop_item: drop column note",
    sql='ALTER TABLE "shop_item" DROP COLUMN IF EXISTS "note"',
    locks={'"shop_order"': Lock.SHARE_ROW_EXCLUSIVE, '"shop_item"': Lock.ACCESS_EXCLUSIVE},
    done=Probe("SELECT 1"),
    frees=(NOTE,),
)
AGAIN = Statement(why="shop_item: add column note again", sql="SELECT 1", locks={}, undo=(DROP,))
STEPS: dict[str, Step] = {
    "Statement": Statement(
        why="shop_item: add column note",
        sql="""ALTER TABLE "shop_item" ADD COLUMN "note" text DEFAULT '100 % ''ü'''""",
        locks={'"shop_item"': Lock.ACCESS_EXCLUSIVE},
        undo=(DROP, AGAIN),
        takes=(NOTE,),
    ),
    "Together": Together(why="two at a time", sql=("SELECT 1", "SELECT 2"), locks={'"a"': Lock.SHARE}, undo=(DROP,)),
    "Online": Online(
        why="no row is null",
        sql='ALTER TABLE "shop_item" VALIDATE CONSTRAINT "c"',
        locks={'"shop_item"': Lock.SHARE_UPDATE_EXCLUSIVE},
        on_failure=(DROP,),
    ),
    "BuildIndex": BuildIndex(
        why="an index",
        table='"shop_item"',
        name="i",
        definition='("note")',
        unique=True,
        analyze=True,
        undo=(DropIndex(why="drop it", table='"shop_item"', name="i"),),
    ),
    "CopyIndexes": CopyIndexes(why="indexes for the twin", table='"shop_item"', column="note", twin="remark"),
    "BuildCounterparts": BuildCounterparts(
        why="indexes for the followers", table='"shop_item"', twins=(("note", "remark"), ("id", "key"))
    ),
    "TryTypes": TryTypes(
        why="indexes fit", table='"shop_item"', types=(("note", "text"),), failure="{what}: {error}", but="SELECT 'i'"
    ),
    "MoveAdditions": MoveAdditions(why="and back", table='"shop_item"', column="note", twin="remark"),
    "AddUnique": AddUnique(
        why="a constraint",
        table='"shop_item"',
        name="i",
        columns=('"a"', '"b"'),
        deferrable=" DEFERRABLE INITIALLY DEFERRED",
        nulls_distinct=" NULLS NOT DISTINCT",
        undo=(DROP,),
    ),
    "DropIndex": DropIndex(
        why="drop an index",
        table='"tenant"."shop_item"',
        name="i",
        frees=(claims.index('"tenant"."shop_item"', "i"),),
    ),
    "EachPartition": EachPartition(
        why="each partition",
        of=BuildIndex(why="an index", table='"shop_item"', name="i", definition='("note")', unique=True),
    ),
    "Trial": Trial(
        why="types fit",
        trials=(("index i", ("CREATE TABLE s (LIKE shop_item)", "CREATE INDEX i ON s (note)")),),
        failure="{what}: {error}",
    ),
    "Nothing": Nothing(why="nothing to do", because="its table is gone"),
    "Proof": Proof(why="no row is without", query="SELECT 1 WHERE FALSE", failure="These are: {rows}"),
    "Backfill": Backfill(
        why="fill",
        table='"shop_item"',
        key=('"tenant"', '"id"'),
        guard='"note" IS NULL',
        function=RowFunction(
            path="shop.notes.note_of",
            takes_row=True,
            app_label="shop",
            migration="0002_item_note",
            model="Item",
            field="note",
            column='"note"',
            also=', "marker" = NULL',
        ),
    ),
}


def test_every_kind_of_step_is_tried_here():
    assert set(STEPS) == {kind.__name__ for kind in KINDS}


def test_every_kind_of_step_comes_back_from_json():
    assert set(KINDS) == {*Step.__subclasses__(), *Question.__subclasses__()} - {Question}


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_comes_back_from_json_as_it_was(kind):
    plan = (STEPS[kind],)
    assert from_json(json.loads(json.dumps(to_json(plan)))) == plan


def test_a_probe_comes_back_as_one_that_can_be_put_together_with_others():
    (step,) = from_json(json.loads(json.dumps(to_json((DROP,)))))
    assert step.done.or_(Probe("SELECT 2")) == "SELECT 1 UNION ALL SELECT 2"
    assert STEPS["Online"].done == from_json(to_json((STEPS["Online"],)))[0].done == NEVER


def test_steps_that_undo_come_back_with_their_own_undo():
    (step,) = from_json(json.loads(json.dumps(to_json((STEPS["Statement"],)))))
    assert step.undo == (DROP, AGAIN)
    assert step.undo[1].undo == (DROP,)


def test_locks_keep_their_order_in_jsonb(database):
    """The column is jsonb, which sorts the keys of an object: shop_item would come before its parent shop_order."""
    with database.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(to_json((DROP,)))])
        (text,) = cursor.fetchone()
    (step,) = from_json(json.loads(text))
    assert isinstance(step, Statement)
    assert list(step.locks.items()) == [
        ('"shop_order"', Lock.SHARE_ROW_EXCLUSIVE),
        ('"shop_item"', Lock.ACCESS_EXCLUSIVE),
    ]


# What version 0.1.0 wrote. A line here is never changed: rows like it stand in people's queues.
STATEMENT_OF_0_1_0 = """[{"kind": "Statement", "why": "w", "sql": "SELECT 1", "done": "", "undo": [], "takes": [],
 "frees": ["index i"],
 "locks": {"kind": "locks", "pairs": [["\\"b\\"", "SHARE"], ["\\"a\\"", "ACCESS EXCLUSIVE"]]}}]"""
ONLINE_OF_0_1_0 = """[{"kind": "Online", "why": "w", "sql": "SELECT 1", "done": "", "undo": [], "takes": [],
 "frees": [], "locks": {"kind": "locks", "pairs": []},
 "on_failure": [{"kind": "DropIndex", "why": "d", "table": "\\"a\\"", "name": "i"}]}]"""
BACKFILL_OF_0_1_0 = """[{"kind": "Backfill", "why": "w", "table": "\\"a\\"", "key": ["\\"id\\""], "guard": "g",
 "assign": "",
 "function": {"kind": "RowFunction", "path": "a.b", "takes_row": false, "app_label": "a", "migration": "0001",
 "model": "M", "field": "f", "column": "\\"f\\""}}]"""
LOADED: list[tuple[str, Step]] = [
    (
        STATEMENT_OF_0_1_0,
        Statement(
            why="w",
            sql="SELECT 1",
            frees=(Claim(Kind.INDEX, name="i"),),
            locks={'"b"': Lock.SHARE, '"a"': Lock.ACCESS_EXCLUSIVE},
        ),
    ),
    (
        ONLINE_OF_0_1_0,
        Online(why="w", sql="SELECT 1", locks={}, on_failure=(DropIndex(why="d", table='"a"', name="i"),)),
    ),
    (
        BACKFILL_OF_0_1_0,
        Backfill(
            why="w",
            table='"a"',
            key=('"id"',),
            guard="g",
            function=RowFunction(
                path="a.b", takes_row=False, app_label="a", migration="0001", model="M", field="f", column='"f"'
            ),
        ),
    ),
]


@pytest.mark.parametrize(("stored", "step"), LOADED, ids=["Statement", "Online", "Backfill"])
def test_what_an_old_version_stored_still_loads(stored, step):
    assert from_json(json.loads(stored)) == (step,)


def test_fields_that_this_version_does_not_know_are_left_out():
    (data,) = to_json((DROP,))
    data["priority"] = {"kind": "Priority", "level": 3}
    assert from_json([data]) == (DROP,)


def test_fields_that_an_old_version_did_not_write_get_their_default():
    (data,) = to_json((DROP,))
    for name in ("done", "undo", "takes", "frees"):
        del data[name]
    assert from_json([data]) == (Statement(why=DROP.why, sql=DROP.sql, locks=DROP.locks),)


class Colour(Data):
    name: str
    parts: dict[str, int] = field(default_factory=dict)


class Shade(Colour):
    depth: int = 1


def test_a_class_of_values_is_complete_with_its_first_value_and_not_before():
    """No command pays for classes that it makes no value of."""
    assert "__init__" not in vars(Shade)
    assert Shade("grey", depth=2) == Shade("grey", {}, 2) != Shade("grey")
    assert repr(Shade("grey")) == "Shade(name='grey', parts={}, depth=1)"
    assert replace(Colour("red"), name="blue") == Colour("blue")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Colour()  # type: ignore[call-arg]


def test_a_plan_is_taken_back_from_its_last_step_to_its_first():
    first = Statement(why="first", sql="", locks={}, undo=(DROP,))
    last = Together(why="last", sql=(), locks={}, undo=(AGAIN, DROP))
    assert reverse((first, last)) == (AGAIN, DROP, DROP)


def test_every_step_of_a_plan_is_found_those_that_undo_and_clean_up_too():
    online = Online(why="online", sql="", locks={}, undo=(AGAIN,), on_failure=(STEPS["DropIndex"],))
    assert list(nested((online,))) == [online, AGAIN, DROP, STEPS["DropIndex"]]


PRINTED: dict[str, tuple[str, ...]] = {
    "Statement": ("""ALTER TABLE "shop_item" ADD COLUMN "note" text DEFAULT '100 % ''ü'''""",),
    "Together": ("SELECT 1", "SELECT 2"),
    "Online": ('ALTER TABLE "shop_item" VALIDATE CONSTRAINT "c"',),
    "BuildIndex": ('CREATE UNIQUE INDEX CONCURRENTLY "i" ON "shop_item" ("note")', 'ANALYZE "shop_item"'),
    "CopyIndexes": (),
    "BuildCounterparts": (),
    "TryTypes": (),
    "MoveAdditions": (),
    "AddUnique": ('ALTER TABLE "shop_item" ADD CONSTRAINT "i" UNIQUE USING INDEX "i" DEFERRABLE INITIALLY DEFERRED',),
    "DropIndex": ('DROP INDEX CONCURRENTLY IF EXISTS "tenant"."i"',),
    "EachPartition": (),
    "Trial": ("BEGIN", "CREATE TABLE s (LIKE shop_item)", "CREATE INDEX i ON s (note)", "ROLLBACK"),
    "Nothing": (),
    "Proof": ("SELECT 1 WHERE FALSE",),
    "Backfill": ('-- UPDATE "shop_item" SET "note" = shop.notes.note_of WHERE "note" IS NULL',),
}


@pytest.mark.parametrize("kind", STEPS)
def test_the_statements_of_a_step_as_sqlmigrate_prints_them(kind):
    assert STEPS[kind].statements == PRINTED[kind]


def test_locks_are_ordered_by_strength():
    modes: list[Any] = sorted(Lock, key=lambda lock: lock.strength)
    assert modes[0] is Lock.ACCESS_SHARE
    assert modes[-1] is Lock.ACCESS_EXCLUSIVE
