"""A plan as Markdown, for a comment on a pull request; and as JSON."""

from __future__ import annotations

from typing import Any

from . import as_text
from .facts import MigrationFacts, PlanFacts, StepFacts
from .risk import risk_of


def as_dict(plan: PlanFacts) -> dict[str, Any]:
    return {
        "database": plan.database,
        "notes": list(plan.notes),
        "refused": list(plan.refused),
        "migrations": [_migration_as_dict(migration) for migration in plan.migrations],
    }


def _migration_as_dict(migration: MigrationFacts) -> dict[str, Any]:
    return {
        "migration": migration.name,
        "direction": migration.direction,
        "risk": str(risk_of(migration)),
        "operations": [operation.as_dict() for operation in migration.operations],
        "disk_bytes": migration.disk,
        "left_for_the_contract": list(migration.later),
        "goes_for_good": list(migration.goes),
        "way_back_loses": list(migration.back),
        "no_way_back": list(migration.no_way_back),
        "in_the_way": list(migration.blockers),
    }


def markdown(plan: PlanFacts) -> str:
    parts = [*plan.notes, *map(_migration, plan.migrations), *(f"**Would be refused:** {one}" for one in plan.refused)]
    return "\n\n".join(parts) or "Nothing is planned."


def _migration(migration: MigrationFacts) -> str:
    way = "" if migration.direction == "forwards" else f", {migration.direction}"
    lines = [f"### {migration.name}{way}: risk {risk_of(migration)}", ""]
    rows = [_row(step) for step in migration.steps if not step.is_asked]
    if rows:
        lines += ["| statement | what it comes to |", "|---|---|", *rows, ""]
    lines += [f"- {line}" for line in as_text.about(migration)]
    lines += [f"- Left for the contract: {each}" for each in migration.later]
    return "\n".join(lines).rstrip()


def _row(step: StepFacts) -> str:
    statements = "<br>".join(f"`{_cell(sql)}`" for sql in step.statements) or _cell(step.why)
    return f"| {statements} | {_cell(as_text.said(step))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
