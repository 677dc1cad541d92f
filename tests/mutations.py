"""Faults that are put into our own operations, to see whether a rehearsal finds them.

An app of the project that is rehearsed: when the environment names a mutation, it changes the plans of one operation in
every process of the project.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from django.apps import AppConfig

VARIABLE = "SAFEMIGRATIONS_TEST_MUTATION"
SECOND = "SELECT pg_sleep(1)"

Mutate = Callable[[Any], Any]  # of a plan


class Mutation(NamedTuple):
    """`models` are what the new release changes: text of the old release -> text of the new one."""

    models: dict[str, str]
    operation: str
    plans: dict[str, Mutate]
    answers: str = ""  # to the questions of makemigrations


class Mutated(AppConfig):
    name = "tests.mutations"

    def ready(self) -> None:
        if chosen := os.environ.get(VARIABLE):
            mutate(MUTATIONS[chosen])


def mutate(mutation: Mutation) -> None:
    from safemigrations import operations

    operation = getattr(operations, mutation.operation)
    for method, change in mutation.plans.items():
        setattr(operation, method, changed(getattr(operation, method), change))


def changed(method: Callable[..., Any], change: Mutate) -> Callable[..., Any]:
    return lambda *args: change(method(*args))


# What a fault does to a plan.


def nothing(plan: Any) -> Any:
    return ()


def without(pattern: str) -> Mutate:
    """Without statements in which the pattern is found, and steps that consist of them."""
    return lambda plan: tuple(left for step in plan if (left := _without(step, pattern)))


def _without(step: Any, pattern: str) -> Any:
    """The step, or None."""
    if not isinstance(getattr(step, "sql", None), tuple):
        return None if any(re.search(pattern, text) for text in step.statements) else step
    left = tuple(text for text in step.sql if not re.search(pattern, text))
    return _with_sql(step, left) if left else None


def rewritten(pattern: str, replacement: str) -> Mutate:
    def change(step: Any) -> Any:
        sql = getattr(step, "sql", None)
        if isinstance(sql, tuple):
            return _with_sql(step, tuple(re.sub(pattern, replacement, text) for text in sql))
        return dataclasses.replace(step, sql=re.sub(pattern, replacement, sql)) if sql else step

    return lambda plan: tuple(map(change, plan))


def _with_sql(step: Any, sql: tuple[str, ...]) -> Any:
    """Nobody puts a trigger back that isn't as it should be."""
    from safemigrations.postgres.probe import NEVER

    return dataclasses.replace(step, sql=sql, lost=NEVER)


def without_kinds(*names: str) -> Mutate:
    return lambda plan: tuple(step for step in plan if type(step).__name__ not in names)


def trigger_last(plan: Any) -> Any:
    """Everything without its trigger; a second in which others write; the trigger."""
    from safemigrations.plans.steps import Statement

    pattern = r"TRIGGER|CREATE OR REPLACE FUNCTION"
    rest = without_kinds("Proof")(without(pattern)(plan))
    triggers = [
        _with_sql(step, tuple(text for text in step.sql if re.search(pattern, text)))
        for step in plan
        if isinstance(getattr(step, "sql", None), tuple) and any(re.search(pattern, text) for text in step.sql)
    ]
    from safemigrations.postgres.probe import NEVER

    late = [dataclasses.replace(step, done=NEVER, undo=()) for step in triggers]
    return (*rest, Statement(why="wait", sql=SECOND, locks={}), *late)


# The mutations.

RENAMED = {"pages = ": "sheets = "}
FILLED = {"note = models.TextField(null=True)": 'note = models.TextField(default="")'}
STATE = {"total = ": 'state = models.CharField(default="new", max_length=9)\n    total = '}
NO_REMARK = {"    remark = models.CharField(max_length=9)\n": ""}
BUYER = {"total = ": 'buyer = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="+")\n    total = '}
INDEXED = {"total = models.IntegerField(default=1)": "total = models.IntegerField(default=1, db_index=True)"}
UNIQUE = {"number = models.CharField(max_length=20)": "number = models.CharField(max_length=20, unique=True)"}
CLIENT = {"Customer": "Client"}
NO_TAG = {"class Tag(models.Model):\n    name = models.CharField(max_length=9)\n": ""}
BIGGER = {"total = models.IntegerField": "total = models.BigIntegerField"}

MUTATIONS = {
    # The sync trigger of a rename.
    "no sync trigger": Mutation(RENAMED, "ExpandRename", {"expand": without("TRIGGER")}, "y\n"),
    "sync one way only": Mutation(
        RENAMED, "ExpandRename", {"expand": rewritten(r'NEW\."pages" := NEW\."sheets"', "NULL")}, "y\n"
    ),
    "sync of inserts only": Mutation(
        RENAMED, "ExpandRename", {"expand": rewritten("BEFORE INSERT OR UPDATE", "BEFORE INSERT")}, "y\n"
    ),
    "trigger stays after the contract": Mutation(
        RENAMED, "ExpandRename", {"contract": without(r"DROP (TRIGGER|FUNCTION)")}, "y\n"
    ),
    # Backfills.
    "rows are not copied": Mutation(
        RENAMED,
        "ExpandRename",
        {"expand": without_kinds("Backfill", "Proof"), "contract": without_kinds("Proof")},
        "y\n",
    ),
    "backfill before trigger": Mutation(RENAMED, "ExpandRename", {"expand": trigger_last}, "y\n"),
    "type: backfill before trigger": Mutation(BIGGER, "ExpandAlterField", {"expand": trigger_last}),
    "nulls are not filled": Mutation(
        FILLED, "SetNotNullLater", {"expand": nothing, "contract": without_kinds("Backfill")}, "1\n"
    ),
    # The contract at the expand.
    "NOT NULL at the expand": Mutation(FILLED, "SetNotNullLater", {"leaves": nothing}, "1\n"),
    "default dropped at the expand": Mutation(STATE, "AddFieldWithDefault", {"leaves": nothing}),
    "column dropped at the expand": Mutation(NO_REMARK, "RemoveFieldLater", {"leaves": nothing}),
    "table dropped at the expand": Mutation(NO_TAG, "DeleteModelLater", {"leaves": nothing}),
    "renamed at the expand": Mutation(RENAMED, "ExpandRename", {"leaves": nothing}, "y\n"),
    # What is missing while two releases run.
    "a removed column stays required": Mutation(NO_REMARK, "RemoveFieldLater", {"expand": without("SET DEFAULT")}),
    "no view under the old name": Mutation(CLIENT, "ExpandRenameModel", {"expand": without("VIEW")}, "y\n"),
    "parents can't be deleted": Mutation(
        BUYER, "AddFieldConcurrently", {"expand": rewritten(r" ON DELETE (SET NULL|CASCADE)", "")}
    ),
    # What is missing at the end.
    "index not built": Mutation(INDEXED, "AlterFieldConcurrently", {"expand": nothing}),
    "unique not enforced": Mutation(UNIQUE, "AlterFieldConcurrently", {"expand": without("UNIQUE")}),
    "foreign key of the expand stays": Mutation(BUYER, "AddFieldConcurrently", {"contract": nothing}),
    "foreign key never validated": Mutation(BUYER, "AddFieldConcurrently", {"contract": without("VALIDATE")}),
    "view stays after the contract": Mutation(CLIENT, "ExpandRenameModel", {"contract": without("DROP VIEW")}, "y\n"),
    # The way back.
    "way back leaves the column": Mutation(STATE, "AddFieldWithDefault", {"way_back": nothing}),
    "way back leaves the trigger": Mutation(FILLED, "SetNotNullLater", {"way_back": nothing}, "1\n"),
}
