"""A plan for people: each step in two lines, its statement and what that comes to."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

from ...plans.work import Work
from ...postgres.names import Name
from .. import amounts
from .facts import LATER, Expected, MigrationFacts, OperationFacts, PlanFacts, StepFacts, Waits
from .risk import risk_of

LEAST, MOST = 60, 120  # columns


def text(plan: PlanFacts) -> str:
    """The whole plan, for a command of its own."""
    lines = [*plan.notes]
    for migration in plan.migrations:
        contract = "  contract" if migration.direction == "contract" else ""
        back = "  backwards" if migration.direction == "backwards" else ""
        lines.append(f"{migration.name}{contract}{back}  risk {risk_of(migration)}")
        for operation in migration.operations:
            lines += [f"    {operation.described}", *of_operation(operation)]
        lines += after(migration)
    lines += [f"Would be refused: {refusal}" for refusal in plan.refused]
    return "\n".join(lines) or "Nothing is planned."


def of_operation(operation: OperationFacts) -> list[str]:
    """Its steps, below the line that describes it."""
    asked = sum(step.is_asked for step in operation.steps)
    shown = [line for step in operation.steps if not step.is_asked for line in _of_step(step)]
    questions = f"asks the catalog {asked} question{'s' if asked > 1 else ''} first" if asked else ""
    return [*_wrapped(questions, 6), *shown, *_wrapped(operation.note, 6)]


def after(migration: MigrationFacts, *, below_django: bool = False) -> list[str]:
    """What is about the migration as a whole.

    Below Django's lines the risk isn't said yet, and `migrate --plan` ends with what all of it leaves for the contract.
    """
    lines = [f"Risk: {risk_of(migration)}"] if below_django else []
    lines += about(migration)
    if migration.later and not below_django:
        lines.append(f"Left for the contract: {'; '.join(migration.later)}")
    return [wrapped for line in lines for wrapped in _wrapped(line, 4)]


def in_full(migration: MigrationFacts) -> list[str]:
    """Each step with its reason, effect and full SQL; what is lost for good is told elsewhere."""
    lines = [line for step in migration.steps for line in _in_full(step)]
    lines += [f"  -- {line}" for line in about(migration) if not line.startswith("Goes")]
    return [*lines, f"  -- Risk: {risk_of(migration)}"]


def _in_full(step: StepFacts) -> Iterator[str]:
    why = " ".join(step.why.splitlines())  # a value that it quotes may have several lines
    if step.kind == "Proof" or not step.statements:
        yield f"  -- {why} ({LATER})"
        return
    yield f"  -- {why}"
    yield f"  --   {said(step)}"
    yield from (f"  {line}" for sql in step.statements for line in f"{sql};".splitlines())


def about(migration: MigrationFacts) -> Iterator[str]:
    if sources := dict.fromkeys(str(step.time.source) for step in migration.steps if step.time):
        yield f"Times: {', '.join(sources)}"
    if migration.disk:
        yield f"Disk: up to {amounts.size(migration.disk)}"
    if migration.goes:
        yield f"{'Goes' if migration.direction == 'contract' else 'Will go'} for good: {'; '.join(migration.goes)}"
    if migration.no_way_back:
        yield f"No way back: {'; '.join(migration.no_way_back)}"
    if migration.back:
        yield f"The way back loses: {'; '.join(migration.back)}"
    for blocker in migration.blockers:
        yield f"In the way now: {blocker}"


def _of_step(step: StepFacts) -> list[str]:
    statement, facts = _statement(step), said(step)
    if not statement:
        return _wrapped(facts if facts == step.why else f"{step.why}: {facts}", 6)
    return [f"      {statement}", *_wrapped(facts, 8)]


def said(step: StepFacts) -> str:
    """A step's effect, in one line."""
    if step.is_done:
        return "done already"
    if step.work is Work.UNKNOWN and not step.locks:
        return step.note
    note = f" ({step.note})" if step.note else ""
    breaks = f"; {step.breaks}" if step.breaks else ""
    return f"{_work(step)}{_time(step.time)}, {_waits(step)}{note}{breaks}"


def _work(step: StepFacts) -> str:
    size = f" (about {amounts.rows(step.size.rows)}, {amounts.size(step.size.bytes)})" if step.size else ""
    if step.work is Work.BUILDS and step.built is not None:
        return f"{step.work} of {amounts.size(step.built)}{size}"
    return f"{step.work}{size}"


def _time(time: Expected | None) -> str:
    return f": {amounts.span(time.low, time.high)}" if time else ""


def _waits(step: StepFacts) -> str:
    locks = ", ".join(f"{lock} on {Name(table).raw}" for table, lock in step.locks.items())
    if not locks:
        return "no lock" if step.waits is Waits.NOBODY else str(step.waits)
    return f"{locks} for a moment" if step.waits is Waits.A_MOMENT else f"{step.waits} ({locks})"


def _statement(step: StepFacts) -> str:
    more = f" … and {len(step.statements) - 1} more" if len(step.statements) > 1 else ""
    first = " ".join(step.statements[0].split()) if step.statements else ""
    room = _columns() - 6 - len(more)
    return f"{first if len(first) <= room else f'{first[: room - 1]}…'}{more}"


def _wrapped(line: str, indent: int) -> list[str]:
    return textwrap.wrap(
        line,
        _columns(),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _columns() -> int:
    return max(LEAST, min(MOST, shutil.get_terminal_size().columns))
