"""The kinds of work that steps do: with the size of the table they decide how long a step takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from ..postgres.lock import Lock
from ..postgres.names import Name
from .indexes import AddUnique, BuildIndex, DropIndex
from .steps import Backfill, Online, Proof, Statement, Step, Together

READ_BY = r'\bFROM ("(?:[^"]|"")+"(?:\."(?:[^"]|"")+")?)'  # plans quote every name but those of catalogs


class Work(StrEnum):
    INSTANT = "instant"
    SAMPLES = "reads a sample"
    READS = "reads the table"
    COMPARES = "reads the table and its parents"
    FILLS = "writes every row"
    COMPUTES = "writes every row in Python"
    BUILDS = "builds an index"
    REWRITES = "rewrites the table"
    UNKNOWN = "not known"

    @property
    def grows(self) -> bool:
        """Does it take longer the larger the table is?"""
        return self not in (Work.INSTANT, Work.SAMPLES, Work.UNKNOWN)


def work_of(step: Step) -> Work:
    match step:
        case Backfill():
            return Work.COMPUTES if step.function else Work.FILLS
        case BuildIndex():
            return Work.BUILDS
        case Proof():
            return Work.READS if table_of(step) else Work.INSTANT
        case Online():
            return _of_online(step)
    return Work.INSTANT


def _of_online(step: Online) -> Work:
    if step.sql.startswith("ANALYZE"):
        return Work.SAMPLES
    # Only a foreign key has violators that lack something elsewhere: a check can't look into another table.
    return Work.COMPARES if "NOT EXISTS" in step.violators else Work.READS


def table_of(step: Step) -> str:
    """The table whose size decides the time, quoted; empty if the step works on none."""
    match step:
        case Backfill() | BuildIndex() | AddUnique() | DropIndex():
            return step.table
        case Proof():
            found = re.search(READ_BY, step.query)
            return step.pages_of or (found[1] if found else "")
        case Statement() | Together() | Online():
            return next(iter([*step.locks][-1:]), "")  # parents come first
    return ""


def in_words(step: Step) -> str:
    """The kind of work and the locks, as far as the step alone tells them."""
    locks = ", ".join(f"{lock} on {Name(table).raw}" for table, lock in locks_of(step).items())
    return f"{work_of(step)}, {locks or 'no lock'}"


def locks_of(step: Step) -> Mapping[str, Lock]:
    """The locks of the step without ACCESS SHARE, which conflicts only with ACCESS EXCLUSIVE; tables are quoted."""
    match step:
        case Statement() | Together() | Online():
            return step.locks
        case AddUnique():
            return {step.table: Lock.ACCESS_EXCLUSIVE}
        case BuildIndex():
            return {step.table: Lock.SHARE_UPDATE_EXCLUSIVE}
        case DropIndex():
            return {step.table: Lock.SHARE_UPDATE_EXCLUSIVE if step.concurrently else Lock.ACCESS_EXCLUSIVE}
        case Backfill():
            return {step.table: Lock.ROW_EXCLUSIVE}
    return {}
