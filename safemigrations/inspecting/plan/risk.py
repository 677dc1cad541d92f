"""The risk of a migration: docs/plan.md has the same table in words."""

from __future__ import annotations

from ...plans.work import Work
from .facts import MigrationFacts, Risk, StepFacts, Waits

MOMENT = 1.0  # seconds that requests may wait without anybody noticing
LONG = 60.0  # seconds; what takes longer is looked at


def risk_of(migration: MigrationFacts) -> Risk:
    if migration.refused:
        return Risk.HIGH
    found = [_of_step(step) for step in migration.steps if not step.is_done]
    if any(operation.note for operation in migration.operations) or migration.no_way_back:
        found.append(Risk.MEDIUM)
    if migration.goes and migration.direction != "forwards":
        found.append(Risk.MEDIUM)
    return max(found, default=Risk.NONE)


def _of_step(step: StepFacts) -> Risk:
    most = step.time.high if step.time else None
    if step.breaks:
        return Risk.HIGH
    if step.waits in (Waits.WRITERS, Waits.EVERYBODY):
        return Risk.LOW if most is not None and most <= MOMENT else Risk.HIGH
    if step.note or step.work is Work.UNKNOWN:
        return Risk.MEDIUM
    if step.work.grows and (most is None or most > LONG):
        return Risk.MEDIUM
    return Risk.LOW if step.locks or step.work.grows else Risk.NONE
