"""Claims: what they are called, how their texts are read, and which are the same thing."""

from __future__ import annotations

import json

import pytest

from safemigrations.operations.base import Change
from safemigrations.operations.of_migration import situations
from safemigrations.plans import claims
from safemigrations.plans.claims import Claim, Kind
from safemigrations.plans.indexes import DropIndex
from safemigrations.plans.steps import Proof, Statement, reverse
from safemigrations.plans.stored import from_json, to_json
from safemigrations.postgres.lock import Lock
from safemigrations.postgres.names import Name

from .cases import CASES, base, ours, state_after
from .stored.record import CHOSEN

ITEM = '"shop_item"'
SPELLED = {
    "table shop_item": claims.table(ITEM),
    "view of shop_item": claims.view_of(ITEM),
    "index by_price": claims.index(ITEM, "by_price"),
    "column note of shop_item": claims.column(ITEM, "note"),
    "twin note of shop_item": claims.column(ITEM, "note").twin,
    "constraint positive of shop_item": claims.constraint(ITEM, "positive"),
}


@pytest.mark.parametrize("text", SPELLED)
def test_a_claim_is_spelled_for_people_and_read_again(text):
    assert str(SPELLED[text]) == text
    assert claims.read(text, [ITEM]) == SPELLED[text]
    assert claims.read(text, []) == SPELLED[text]


# Names that hold what stands between names.

AWKWARD = [
    ("order", "date of birth"),
    ("order of merit", "date"),
    ("order of merit", "date of birth"),
    (" of ", "of"),
    ("it's", 'a "b" of c'),
]
MADE = (claims.column, claims.constraint, lambda table, name: claims.column(table, name).twin)


def stored(table: str, claim: Claim, *, others: tuple[str, ...] = ()) -> Claim:
    """What becomes of a claim in the queue."""
    locks = dict.fromkeys([*others, table], Lock.ACCESS_EXCLUSIVE)
    plan = (Statement(why="w", sql="SELECT 1", locks=locks, frees=(claim,)),)
    (step,) = from_json(json.loads(json.dumps(to_json(plan))))
    return step.frees[0]


@pytest.mark.parametrize("make", MADE, ids=["column", "constraint", "twin"])
@pytest.mark.parametrize(("table", "name"), AWKWARD)
def test_a_name_that_holds_an_of_is_told_from_the_table(make, table, name):
    quoted = Name.of(table)
    assert stored(quoted, make(quoted, name)) == make(quoted, name)
    # A foreign key locks its parent first.
    assert stored(quoted, make(quoted, name), others=('"merit"',)) == make(quoted, name)


def test_a_step_that_names_no_table_is_read_by_those_of_the_others():
    """A proof has only a query."""
    column = claims.column('"order of merit"', "date")
    proof = Proof(why="p", query="SELECT 1", failure="f", works_on=(column,))
    drop = Statement(why="d", sql="SELECT 1", locks={'"order of merit"': Lock.SHARE})
    assert from_json(json.loads(json.dumps(to_json((proof, drop))))) == (proof, drop)


@pytest.mark.parametrize("make", [claims.table, claims.view_of], ids=["table", "view"])
def test_a_table_that_is_called_as_something_of_another_is_read_whole(make):
    assert stored('"date of order"', make('"date of order"')) == make('"date of order"')


# Schemas.


def test_the_schema_of_a_claim_is_that_of_its_table():
    """The text has none, so that versions read it which know no schema."""
    table = '"tenant"."item"'
    for claim in (claims.table(table), claims.column(table, "note"), claims.index(table, "by_note")):
        assert "tenant" not in str(claim)
        assert claim.schema == "tenant"
        assert stored(table, claim, others=('"other"."parent"',)) == claim
    drop = DropIndex(why="d", table=table, name="by_note", frees=(claims.index(table, "by_note"),))
    assert from_json(json.loads(json.dumps(to_json((drop,))))) == (drop,)


def test_the_same_names_in_two_schemas_are_two_things():
    here, there, somewhere = (claims.column(f'{schema}"item"', "note") for schema in ('"here".', '"there".', ""))
    assert here.meets(here)
    assert not here.meets(there)
    assert here.meets(somewhere)  # which the search_path finds
    assert somewhere.meets(there)
    assert here.is_in([there, somewhere])
    assert not here.is_in([there])


@pytest.mark.parametrize(
    ("gone", "goes"),
    [
        (claims.column('"here"."item"', "note"), True),
        (claims.column('"item"', "note"), True),
        (claims.table('"here"."item"'), True),
        (claims.table('"there"."item"'), False),
        (claims.column('"here"."item"', "size"), False),
        (claims.index('"here"."item"', "note"), False),
    ],
    ids=str,
)
def test_a_column_goes_with_its_table(gone, goes):
    assert claims.column('"here"."item"', "note").goes_with([gone]) is goes


def test_a_view_stays_when_the_table_is_dropped():
    """Who drops the table has to drop the view before."""
    assert not claims.view_of(ITEM).goes_with([claims.table(ITEM)])


# Steps.


def test_what_a_step_works_on_keeps_the_two_names_that_it_had():
    """Other versions read the same rows."""
    check, column = claims.constraint(ITEM, "positive"), claims.column(ITEM, "price")
    plan = (
        Statement(why="w", sql="", locks={ITEM: Lock.SHARE}, works_on=(check, column)),
        Statement(why="w", sql="", locks={ITEM: Lock.SHARE}, works_on=(claims.view_of(ITEM),)),
        Statement(why="w", sql="", locks={ITEM: Lock.SHARE}),
    )
    first, second, third = to_json(plan)
    assert (first["about"], first["uses"]) == ("constraint positive of shop_item", ["column price of shop_item"])
    assert (second["about"], second["uses"]) == ("", ["view of shop_item"])
    assert (third["about"], third["uses"]) == ("", [])
    assert not {"works_on", "claims"} & first.keys()
    assert from_json([first, second, third]) == plan


def test_only_a_step_of_one_column_alters_it():
    check, column = claims.constraint(ITEM, "positive"), claims.column(ITEM, "price")
    assert Statement(why="w", sql="", locks={}, works_on=(column,)).altered_column == column
    assert Statement(why="w", sql="", locks={}, works_on=(check, column)).altered_column is None
    assert Statement(why="w", sql="", locks={}).altered_column is None


def test_what_undoes_a_change_of_a_column_is_done_when_the_column_has_gone():
    column = claims.column('"here"."item"', "it's")
    drop = Statement(why="undo", sql="", locks={'"here"."item"': Lock.SHARE}, works_on=(column,))
    (undo,) = reverse((Statement(why="do", sql="", locks={}, undo=(drop,)),))
    assert 'to_regclass(\'"here"."item"\')' in str(undo.done)
    assert "'it''s'" in str(undo.done)
    elsewhere = Statement(why="undo", sql="", locks={'"b"': Lock.SHARE}, works_on=(column,))
    assert reverse((Statement(why="do", sql="", locks={}, undo=(elsewhere,)),)) == (elsewhere,)


def test_a_plan_comes_back_from_the_queue_as_it_was(database):
    """Of every kind of step, with the tables that its claims name."""
    start = state_after([base()])
    assert start.apps.ready  # rendered, as a migrate has it before its first operation
    for case in (case for case in CASES if case.name in CHOSEN):
        state = start.clone()
        for migration in ours(case):
            for operation, at in situations(migration, state, database):
                if isinstance(operation, Change):
                    plan = operation.expand(at) + operation.contract(at)
                    assert from_json(json.loads(json.dumps(to_json(plan)))) == plan, case
            state = migration.mutate_state(state)


def test_a_claim_is_a_key():
    assert len({claims.column(ITEM, "note"), claims.column(ITEM, "note"), claims.column(ITEM, "note").twin}) == 2
    assert Claim(Kind.INDEX, name="i") == claims.index(ITEM, "i")
