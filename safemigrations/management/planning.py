"""migrate --plan and `safemigrations plan`: what is printed, and whether the risk is too high."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from textwrap import indent
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.contracts import queue
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.inspecting.plan import as_markdown, as_text
from safemigrations.inspecting.plan.facts import PlanFacts, Risk
from safemigrations.inspecting.plan.planning import Planning, Targets
from safemigrations.inspecting.plan.risk import risk_of
from safemigrations.management.targets import targets
from safemigrations.management.undecided import say_undecided

FORMATS = ("text", "json", "markdown")


def planned(connection: BaseDatabaseWrapper, wanted: Targets) -> PlanFacts:
    """What `migrate` is going to do; on a backend that isn't PostgreSQL nothing is known."""
    if connection.vendor != "postgresql":
        return PlanFacts(connection.alias, (), notes=("Only PostgreSQL tells what a plan comes to.",))
    return Planning(connection).migrations(wanted)


def with_contracts(connection: BaseDatabaseWrapper, plan: PlanFacts) -> PlanFacts:
    """The plan, together with what is left for the contract."""
    rows = queue.open_rows(connection) if connection.vendor == "postgresql" else []
    found = [*plan.migrations, *Planning(connection).contracts(rows)]
    return PlanFacts(plan.database, found, plan.notes, plan.refused)


def shown(plan: PlanFacts, form: str) -> str:
    if form == "json":
        return json.dumps(as_markdown.as_dict(plan), indent=2)
    return as_markdown.markdown(plan) if form == "markdown" else as_text.text(plan)


Describe = Callable[[Any, bool], tuple[str, bool]]


def describing(describe: Describe, plan: PlanFacts) -> Describe:
    """Django's line for an operation, and below it what the operation comes to here."""
    below = _below(plan)

    def described(operation: Any, backwards: bool) -> tuple[str, bool]:
        line, is_error = describe(operation, backwards)
        facts = next(below, "")
        return f"{line}\n{facts}" if facts else line, is_error

    return described


def _below(plan: PlanFacts) -> Iterator[str]:
    """The lines below each operation, in the order in which Django lists the operations."""
    for migration in plan.migrations:
        for operation in migration.operations:
            last = operation is migration.operations[-1]
            yield "\n".join(
                as_text.of_operation(operation) + (as_text.after(migration, below_django=True) if last else [])
            )


def print_contracts(command: BaseCommand, connection: BaseDatabaseWrapper, plan: PlanFacts) -> None:
    """What the planned migrations would leave, after what is left already."""
    lines = [str(row) for row in queue.open_rows(connection)]
    lines += [f"{migration.name}  {label}" for migration in plan.migrations for label in migration.later]
    if lines:
        command.stdout.write("Left for the contract:", command.style.MIGRATE_LABEL)
    for line in lines:
        command.stdout.write(f"  {line}")


def print_refusals(
    command: BaseCommand, connection: BaseDatabaseWrapper, options: dict[str, Any], plan: PlanFacts
) -> None:
    """What would be said of the planned migrations, and what would stop them, before their first step."""
    executor = MigrationExecutor(connection)
    if connection.vendor != "postgresql" or executor.is_fresh():
        return
    going = executor.migration_plan(targets(executor, options))
    say_undecided(command, connection, [migration for migration, back in going if not back])
    if plan.refused:
        command.stdout.write("Would be refused:", command.style.MIGRATE_LABEL)
    for refusal in plan.refused:
        command.stdout.write(indent(refusal, "  "))


def refuse_risk(plan: PlanFacts, level: str | None) -> None:
    """Raise CommandError where a migration has that risk, or where the plan would be refused."""
    if level is None:
        return
    risky = [f"{one.name} ({risk_of(one)})" for one in plan.migrations if risk_of(one) >= Risk[level.upper()]]
    risky += ["the plan would be refused"] if plan.refused else []
    if risky:
        raise CommandError(f"Risk {level} or above: {', '.join(risky)}.")
