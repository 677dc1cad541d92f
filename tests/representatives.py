"""Which cases stand for all of them in a suite that takes long for each.

What a case has to show is computed from it: for each operation its class and the form of its two plans, that is for
each step its kind and the modes of its locks. Cases are chosen, whichever shows the most that none before it shows,
until everything is shown; among equals it is the one with the fewest steps, and then the first of tests/cases.py. So a
new case is taken where it brings a plan of another form, and no list is kept by hand.

Where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, every case is taken, but in suites that say `few`. `crossed`
does the same for tests that ask about each of some things with each of others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain, pairwise, product
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Model
from psycopg.conninfo import conninfo_to_dict

from safemigrations.operations.base import Change, Situation
from safemigrations.plans.claims import Claim
from safemigrations.plans.copies import BuildCounterparts, CopyIndexes
from safemigrations.plans.indexes import BuildIndex, DropIndex
from safemigrations.plans.steps import Plan, Step
from safemigrations.postgres.names import Name

from .cases import CASES, LABEL, Case, ours, rendered_base

# After one statement in how many a backend is ended; with 1, every case is taken, too.
ONE_IN = int(os.environ.get("SAFEMIGRATIONS_TEST_ONE_IN", "4"))

Shows = Callable[[Case], set[Any]]


class Planned(NamedTuple):
    operation: Operation
    expand: Plan = ()
    contract: Plan = ()


def representatives(shows: Shows, cases: Sequence[Case] = CASES) -> list[Case]:
    """Those of the default run; in the matrix all."""
    return list(cases) if ONE_IN == 1 else few(shows, cases)


def few(shows: Shows, cases: Sequence[Case] = CASES) -> list[Case]:
    """Cases that show together whatever one of them shows."""
    shown = {case: found for case in cases if (found := shows(case))}
    left, chosen = set().union(*shown.values()), list[Case]()

    def tells(case: Case) -> tuple[int, int]:
        return len(shown[case] & left), -steps_of(case)

    while left:
        chosen.append(max(shown, key=tells))
        left -= shown[chosen[-1]]
    return chosen


def crossed(names: str, *values: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize with every combination; in the default run with so few that each value of each name comes.

    `names` are separated by commas. A value that is a tuple stands for as many names as it has items.
    """
    lists = [list(each) for each in values]
    longest = max(map(len, lists))
    turns = [tuple(each[turn % len(each)] for each in lists) for turn in range(longest)]
    return pytest.mark.parametrize(names, list(map(_flat, product(*lists) if ONE_IN == 1 else turns)))


def _flat(combination: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(value if isinstance(value, tuple) else (value,) for value in combination))


# What a case may show.


def forms_of_plans(case: Case) -> set[Any]:
    """For each operation its class, and the kinds and locks of its steps, in both halves."""
    return {
        (type(one.operation), tuple(map(_form, one.expand)), tuple(map(_form, one.contract))) for one in planned(case)
    }


def forms_of_steps(case: Case) -> set[Any]:
    """For each class of operations the kinds and locks of its steps, in either half: one by one, in no order.

    And the classes of two that make something of one name in turn: the second may find what is the first's.
    """
    steps = {
        (type(one.operation), half, _form(step))
        for one in planned(case)
        for half, plan in (("expand", one.expand), ("contract", one.contract))
        for step in plan
    }
    return steps | {
        (type(first.operation), type(second.operation), number, other)
        for first, second in pairwise(planned(case))
        for number, plan in enumerate((first.expand, first.contract))
        for other, after in enumerate((second.expand, second.contract))
        if _taken(plan) & _taken(after)
    }


def classes_and_kinds(case: Case) -> set[Any]:
    """Classes of operations that expand something, and the kinds of their steps."""
    expanding = [one for one in planned(case) if one.expand]
    return {type(one.operation) for one in expanding} | {type(step) for one in expanding for step in one.expand}


def builds_of_indexes(case: Case) -> set[Any]:
    """Classes of operations with what builds or drops an index, which PostgreSQL does in several transactions."""
    return {
        (type(one.operation), type(step))
        for one in planned(case)
        for step in (*one.expand, *one.contract)
        if isinstance(step, BuildIndex | DropIndex) or _copies_an_index(step)
    }


def classes_of_operations(case: Case) -> set[Any]:
    return {type(one.operation) for one in planned(case)}


def is_stock_when_alone(case: Case) -> bool:
    """Where nothing was migrated before, each operation does what the stock operation does, by calling that."""
    operations = [one.operation for one in planned(case)]
    return all(operation.stock_when_alone for operation in operations if isinstance(operation, Change))


# How that is found out: operations plan without a statement.


@cache
def planned(case: Case) -> tuple[Planned, ...]:
    state = rendered_base().clone()
    with_server = _to_the_server()
    return tuple(
        _planned(operation, migration, with_server, state)
        for migration in ours(case)
        for operation in migration.operations
    )


def _planned(operation: Operation, migration: Migration, server: BaseDatabaseWrapper, state: ProjectState) -> Planned:
    """What the operation plans; `state` becomes the one after it."""
    before = state.clone()
    operation.state_forwards(LABEL, state)
    if not isinstance(operation, Change):
        return Planned(operation)
    editor = server.schema_editor(collect_sql=True, atomic=False)
    editor.deferred_sql = []
    at = Situation(LABEL, editor, before=before, after=state.clone(), migration=migration)
    return Planned(operation, operation.expand(at), operation.contract(at))


@cache
def _to_the_server() -> BaseDatabaseWrapper:
    """A connection to no test's database: values are quoted by the server's rules."""
    server = connection.copy()
    server.settings_dict["NAME"] = conninfo_to_dict(os.environ["SAFEMIGRATIONS_TEST_DSN"])["dbname"]
    return server


def steps_of(case: Case) -> int:
    return sum(len(one.expand) + len(one.contract) for one in planned(case))


def _taken(plan: Plan) -> set[Claim]:
    return {claim for step in plan for claim in step.takes}


def _form(step: Step) -> tuple[Any, ...]:
    return type(step), *sorted(str(lock) for lock in getattr(step, "locks", {}).values())


def _copies_an_index(step: Step) -> bool:
    """Has a column that this step asks about an index, by the models of the release before?"""
    match step:
        case CopyIndexes():
            columns = {step.column}
        case BuildCounterparts():
            columns = {column for column, _ in step.twins}
        case _:
            return False
    models = [model for model in rendered_base().apps.get_models() if model._meta.db_table == Name(step.table).raw]
    return any(columns & _indexed(model) for model in models)


def _indexed(model: type[Model]) -> set[str]:
    """Columns that have an index."""
    meta = model._meta
    fields: list[Any] = [*meta.local_concrete_fields]
    together = {name for names in meta.unique_together for name in names}
    listed = {name for index in meta.indexes for name in index.fields}
    unique = {name for one in meta.constraints for name in getattr(one, "fields", ())}
    named = together | listed | unique
    return {field.column for field in fields if field.unique or field.db_index or field.name in named}
