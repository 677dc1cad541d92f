"""Steps that ask what the database holds: what they come to is decided without a runner and without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from safemigrations.errors import StepFailed
from safemigrations.plans.copies import SHAPE, BuildCounterparts, CopyIndexes, MoveAdditions, TryTypes
from safemigrations.plans.indexes import AddUnique, BuildIndex, DropIndex, EachPartition
from safemigrations.plans.steps import Instead, Nothing, Online, Statement, Step, Together, Trial
from safemigrations.postgres.columns import column_exists
from safemigrations.postgres.constraints import (
    checks_of_columns,
    columns_of_constraint,
    constraint_exists,
    constraint_of_index,
    unique_exists,
)
from safemigrations.postgres.indexes import (
    index_attached,
    index_exists,
    index_of_partition,
    indexes_of_columns,
    name_taken,
    other_of_this_name,
)
from safemigrations.postgres.lock import Lock
from safemigrations.postgres.names import name_of_copy
from safemigrations.postgres.probe import Probe
from safemigrations.postgres.tables import partitions, place_of_table

ITEM = '"item"'
PLAIN: Mapping[Any, Sequence[Any]] = {place_of_table(ITEM): [("r", "public")]}
PARTITIONED: Mapping[Any, Sequence[Any]] = {
    place_of_table(ITEM): [("p", "public")],
    partitions(ITEM): [("public.item_0", "item_0", "r", "public"), ("old.item_1", "item_1", "r", "old")],
}


class Catalog:
    """A database that gives these rows for these queries, and none for all others."""

    def __init__(self, *rows: Mapping[Any, Sequence[Any]], shape: Mapping[Any, Sequence[Any]] | None = None) -> None:
        self.found = {query: list(found) for one in rows for query, found in one.items()}
        self.shape = shape or {}
        self.sent: list[Sequence[str]] = []

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.found.get(query, [])

    def rows_after(self, statements: Sequence[str], query: str) -> list[tuple[Any, ...]]:
        self.sent.append(statements)
        return list(self.shape[query])


# One statement or another.

SINCE_18 = Probe("SELECT 1 WHERE since_18")
EITHER: list[Any] = [
    Statement(why="w", sql="CHECK", locks={}, instead=Instead(when=SINCE_18, sql="NOT VALID")),
    Online(why="w", sql="CHECK", locks={}, instead=Instead(when=SINCE_18, sql="NOT VALID")),
]


@pytest.mark.parametrize("step", EITHER, ids=["Statement", "Online"])
def test_a_server_gets_the_one_of_two_statements_that_it_has(step):
    assert step.discover(Catalog()) == replace(step, instead=None)
    assert step.discover(Catalog({SINCE_18: [(1,)]})) == replace(step, sql="NOT VALID", instead=None)


def test_a_step_may_be_for_some_servers_only():
    step = Statement(why="w", sql="SELECT 1", locks={}, only_where=SINCE_18)
    assert not step.is_needed(Catalog())
    assert step.is_needed(Catalog({SINCE_18: [(1,)]}))
    assert replace(step, only_where=None).is_needed(Catalog())


def test_a_step_without_a_question_comes_to_itself():
    step = Together(why="w", sql=("SELECT 1",), locks={})
    assert step.discover(Catalog()) is step


# Indexes of partitioned tables.

BUILD = BuildIndex(why="item: index by_id", table=ITEM, name="by_id", definition='("id")', unique=True)
ADD = AddUnique(why="item: unique", table=ITEM, name="by_id", columns=('"id"', '"a ""b"""'), deferrable=" DEFERRABLE")


@pytest.mark.parametrize("step", [BUILD, ADD])
@pytest.mark.parametrize("catalog", [Catalog(PLAIN), Catalog()], ids=["plain", "missing"])
def test_on_a_plain_table_it_comes_to_itself(step, catalog):
    assert step.discover(catalog) is step


def plan_of(step: Step) -> Any:
    return step.discover(Catalog(PARTITIONED))


def test_the_index_of_a_partitioned_table_comes_before_those_of_its_partitions():
    whole, each = plan_of(BUILD)
    assert whole == Statement(
        why="item: index by_id: the partitioned table's own, empty until its partitions are attached",
        sql='CREATE UNIQUE INDEX "by_id" ON ONLY "item" ("id")',
        locks={ITEM: Lock.SHARE},
        done=index_exists(ITEM, "by_id"),
    )
    assert each == EachPartition(why="item: index by_id: each partition", of=BUILD)


def test_an_index_that_a_constraint_takes_over_is_built_with_it():
    assert replace(BUILD, for_constraint=True).discover(Catalog(PARTITIONED)) == Nothing(
        why="item: index by_id", because="with the constraint, partition by partition"
    )


def attach(why: str, partition: str, index: str) -> Statement:
    return Statement(
        why=f"{why}: attach partition {partition}",
        sql=f'ALTER INDEX "public"."by_id" ATTACH PARTITION {index}',
        locks={},
        done=index_attached('"public"."by_id"', index),
    )


def test_each_partition_gets_an_index_that_is_attached():
    assert EachPartition(why="each", of=BUILD).discover(Catalog(PARTITIONED)) == (
        replace(BUILD, why="item: index by_id: partition item_0", table="public.item_0", name="item_0_by_id"),
        attach("item: index by_id", "item_0", '"public"."item_0_by_id"'),
        replace(BUILD, why="item: index by_id: partition item_1", table="old.item_1", name="item_1_by_id"),
        attach("item: index by_id", "item_1", '"old"."item_1_by_id"'),
    )


def test_each_partition_gets_a_unique_constraint_that_is_attached():
    whole, each = plan_of(ADD)
    assert whole == Statement(
        why="item: unique: the partitioned table's own, empty until its partitions are attached",
        sql='ALTER TABLE ONLY "item" ADD CONSTRAINT "by_id" UNIQUE ("id", "a ""b""") DEFERRABLE',
        locks={ITEM: Lock.ACCESS_EXCLUSIVE},
        done=constraint_exists(ITEM, "by_id"),
    )
    name = 'item_0_id_a "b"_key'
    plan = each.discover(Catalog(PARTITIONED))
    assert plan[:3] == (
        BuildIndex(
            why="item: unique: index of partition item_0",
            table="public.item_0",
            name=name,
            definition='("id", "a ""b""")',
            unique=True,
            for_constraint=True,
            done=unique_exists("public.item_0", name),
        ),
        replace(
            ADD,
            why="item: unique: partition item_0",
            table="public.item_0",
            name=name,
            done=unique_exists("public.item_0", name),
        ),
        attach("item: unique", "item_0", '"public"."item_0_id_a ""b""_key"'),
    )


def test_a_partition_that_has_its_index_gets_no_other():
    has = {index_of_partition('"public"."by_id"', "public.item_0"): [(1,)]}
    plan = EachPartition(why="each", of=BUILD).discover(Catalog(PARTITIONED, has))
    assert [step.why for step in plan] == [
        "item: index by_id: partition item_1",
        "item: index by_id: attach partition item_1",
    ]


def test_a_name_that_is_taken_is_given_to_no_partition():
    taken = {name_taken("public", "item_0_by_id", "public.item_0"): [(1,)]}
    build, *_ = EachPartition(why="each", of=BUILD).discover(Catalog(PARTITIONED, taken))
    assert isinstance(build, BuildIndex)
    assert build.name == "item_0_by_id1"


def test_partitions_whose_names_are_cut_alike_get_names_of_their_own():
    long = "p" * 60
    parts = [(f"public.{long}{number}", f"{long}{number}", "r", "public") for number in range(3)]
    plan = EachPartition(why="each", of=ADD).discover(Catalog({**PARTITIONED, partitions(ITEM): parts}))
    names = [step.name for step in plan if isinstance(step, AddUnique)]
    assert len(set(names)) == len(names) == 3


def test_duplicates_in_one_partition_take_back_what_all_have():
    (drop,) = EachPartition(why="each", of=BUILD).on_failure
    assert drop == DropIndex(why="item: index by_id: drop what was built", table=ITEM, name="by_id")
    (drop,) = EachPartition(why="each", of=ADD).on_failure
    assert drop.statements == ('ALTER TABLE "item" DROP CONSTRAINT IF EXISTS "by_id"',)
    assert EachPartition(why="each", of=replace(BUILD, unique=False)).on_failure == ()


# Indexes that are dropped.

DROP = DropIndex(why="drop", table=ITEM, name="by_id")
NAMED = replace(DROP, query="SELECT name")


def dropped(step: DropIndex, *rows: Mapping[Any, Sequence[Any]]) -> list[str]:
    answer = step.discover(Catalog(*rows))
    return [sql for one in ([answer] if isinstance(answer, Step) else answer) for sql in one.statements]


def test_an_index_is_dropped_concurrently_unless_its_table_is_partitioned():
    assert dropped(DROP, PLAIN) == ['DROP INDEX CONCURRENTLY IF EXISTS "by_id"']
    assert dropped(DROP, PARTITIONED) == ['DROP INDEX IF EXISTS "by_id"']


def test_an_index_whose_name_is_found_elsewhere_first_is_named_with_its_schema():
    assert dropped(DROP, PLAIN, {other_of_this_name("by_id", "public"): [(1,)]}) == [
        'DROP INDEX CONCURRENTLY IF EXISTS "public"."by_id"'
    ]


def test_an_index_is_dropped_under_the_names_that_are_found():
    assert dropped(NAMED, PLAIN, {"SELECT name": [("one",)]}) == ['DROP INDEX CONCURRENTLY IF EXISTS "one"']
    assert dropped(NAMED, PLAIN, {"SELECT name": [("one",), ("two",)]}) == [
        'DROP INDEX CONCURRENTLY IF EXISTS "one"',
        'DROP INDEX CONCURRENTLY IF EXISTS "two"',
    ]


def test_an_index_that_is_not_found_is_looked_for_again_before_anything_is_dropped():
    answer = NAMED.discover(Catalog(PLAIN))
    assert isinstance(answer, DropIndex)
    assert answer.query == "SELECT name"
    assert answer.statements == ('DROP INDEX CONCURRENTLY IF EXISTS "by_id"',)


def test_an_index_whose_table_is_gone_is_no_more():
    assert DROP.discover(Catalog()) is DROP


# Copies for a twin.

MADE = [f'CREATE TABLE {SHAPE} (LIKE "item")', f'ALTER TABLE {SHAPE} DROP COLUMN IF EXISTS "remark"']
RENAMED = f'ALTER TABLE {SHAPE} RENAME COLUMN "note" TO "remark"'
BY_NOTE = {indexes_of_columns(ITEM, "note"): [("by_note", False, False, "USING btree (note)")]}
BY_REMARK = {indexes_of_columns(SHAPE, "remark"): [("x", False, False, "USING btree (remark)")]}
COPY = name_of_copy(ITEM, "USING btree (remark)")


def test_an_index_is_built_as_postgresql_spells_it_with_the_other_name():
    catalog = Catalog(BY_NOTE, shape=BY_REMARK)
    assert CopyIndexes(why="w", table=ITEM, column="note", twin="remark").discover(catalog) == (
        BuildIndex(why="item: index by_note for remark too", table=ITEM, name=COPY, definition="USING btree (remark)"),
    )
    assert catalog.sent == [[*MADE, f'CREATE INDEX "safemig_shape_0" ON {SHAPE} USING btree (note)', RENAMED]]


def test_an_index_that_has_both_columns_is_no_copy_of_itself():
    both = {indexes_of_columns(ITEM, "remark"): BY_NOTE[indexes_of_columns(ITEM, "note")]}
    catalog = Catalog(BY_NOTE, both)
    assert CopyIndexes(why="w", table=ITEM, column="note", twin="remark").discover(catalog) == ()
    assert catalog.sent == []


TWINS = BuildCounterparts(why="w", table=ITEM, twins=(("note", "remark"),))


def test_a_unique_constraint_is_made_with_the_twin():
    constraint: dict[str, Any] = {
        constraint_of_index(ITEM, "by_note"): [("u", " DEFERRABLE")],
        columns_of_constraint(ITEM, "by_note"): [("id",), ("note",)],
    }
    name = name_of_copy(TWINS.scope, "by_note")
    build, add = TWINS.discover(Catalog(BY_NOTE, constraint, shape=BY_REMARK))
    assert isinstance(build, BuildIndex)
    assert (build.name, build.unique, build.for_constraint) == (name, True, True)
    assert build.why == (
        "item: index by_note, for what takes its place; until the next step, two rows can't exchange their values in "
        "one transaction"
    )
    assert add == AddUnique(
        why="item: index by_note, for what takes its place",
        table=ITEM,
        name=name,
        columns=('"id"', '"remark"'),
        deferrable=" DEFERRABLE",
        done=unique_exists(ITEM, name),
    )


@pytest.mark.parametrize("but", ["by_note", ""])
def test_an_index_may_be_left_out(but):
    step = replace(TWINS, but="SELECT name")
    plan = step.discover(Catalog(BY_NOTE, {"SELECT name": [(but,)]}, shape=BY_REMARK))
    assert len(plan) == (0 if but else 1)


@pytest.mark.parametrize("validity", ["", " NOT VALID"])
def test_a_check_is_made_with_the_twin_and_is_as_valid(validity):
    known = {checks_of_columns(ITEM, "note"): [("short", f"CHECK ((length(note) < 9)){validity}")]}
    renamed = {checks_of_columns(SHAPE, "remark"): [("x", f"CHECK ((length(remark) < 9)){validity}")]}
    name = name_of_copy(TWINS.scope, "short")
    add, *validate = TWINS.discover(Catalog(known, shape=renamed))
    assert add.statements == (f'ALTER TABLE "item" ADD CONSTRAINT "{name}" CHECK ((length(remark) < 9)) NOT VALID',)
    assert [step.statements for step in validate] == (
        [] if validity else [(f'ALTER TABLE "item" VALIDATE CONSTRAINT "{name}"',)]
    )


# What a later migration gave the twin.

MOVE = MoveAdditions(why="w", table=ITEM, column="note", twin="remark")
ADDED = {indexes_of_columns(ITEM, "remark"): [("by_remark", False, False, "USING btree (remark)")]}
OF_NOTE = {indexes_of_columns(SHAPE, "note"): [("x", False, False, "USING btree (note)")]}


def test_an_addition_is_built_for_the_column_that_stays_and_takes_its_name_over():
    build, exchange = MOVE.discover(Catalog(ADDED, shape=OF_NOTE))
    built, of_twin = name_of_copy(ITEM, "USING btree (note)"), name_of_copy(ITEM, "by_remark")
    assert isinstance(build, BuildIndex)
    assert (build.name, build.definition) == (built, "USING btree (note)")
    assert exchange.statements == (
        f'ALTER INDEX "by_remark" RENAME TO "{of_twin}"',
        f'ALTER INDEX "{built}" RENAME TO "by_remark"',
    )


def test_an_addition_that_cannot_be_built_without_blocking_is_refused():
    with pytest.raises(StepFailed) as caught:
        MOVE.discover(Catalog(ADDED, {constraint_of_index(ITEM, "by_remark"): [("x", "")]}, shape=OF_NOTE))
    assert str(caught.value) == (
        "by_remark of item was made after remark got its twin, and can't be built without blocking. Drop it, run the "
        "same command again, and then make it anew."
    )


# Types that are tried.


def test_every_index_and_check_is_tried_with_the_type_and_nothing_else():
    checks = {checks_of_columns(ITEM, "note"): [("short", "CHECK (note < 'z')"), ("safemig_x", "CHECK (TRUE)")]}
    step = TryTypes(why="w", table=ITEM, types=(("note", "bigint"),), failure="{what}: {error}")
    alter = f'ALTER TABLE {SHAPE} ALTER COLUMN "note" TYPE bigint USING NULL'
    create = MADE[0]
    assert step.discover(Catalog(BY_NOTE, checks)) == Trial(
        why="w",
        trials=(
            (
                "index by_note",
                (create, f'CREATE INDEX "safemig_shape_0" ON {SHAPE} USING btree (note)', alter),
            ),
            (
                "check short",
                (create, f"ALTER TABLE {SHAPE} ADD CONSTRAINT \"safemig_shape_0\" CHECK (note < 'z')", alter),
            ),
        ),
        failure="{what}: {error}",
    )


# Too early to ask.

EARLY: list[Any] = [
    (CopyIndexes(why="w", table=ITEM, column="note", twin="remark"), ["note"]),
    (TWINS, ["note"]),
    (TryTypes(why="w", table=ITEM, types=(("note", "bigint"), ("id", "bigint")), failure=""), ["note", "id"]),
    (MOVE, ["note", "remark"]),
]


@pytest.mark.parametrize(("step", "columns"), EARLY, ids=lambda value: type(value).__name__)
def test_it_is_too_early_to_ask_while_a_column_is_missing(step, columns):
    there = [{column_exists(ITEM, column): [(1,)]} for column in columns]
    assert not step.is_too_early(Catalog(*there))
    assert step.is_too_early(Catalog(*there[:-1]))
