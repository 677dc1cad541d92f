"""The facts about a plan before it runs, as data: steps, operations, migrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any

from ...data import Data
from ...plans.work import Work
from ...postgres.lock import Lock
from ...postgres.names import Name

LATER = "looked up when it is run"


class Waits(StrEnum):
    """Who waits while a step is done."""

    NOBODY = "nobody waits"
    A_MOMENT = "for a moment"
    WRITERS = "writers wait"
    EVERYBODY = "everybody waits"
    UNKNOWN = "not known"


class Risk(IntEnum):
    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3

    def __str__(self) -> str:
        return self.name.lower()


class Source(StrEnum):
    """The basis of an expected time."""

    SAME = "from earlier steps on this table"
    OTHERS = "from earlier steps on other tables"
    SAMPLE = "from a sample read now"
    READING = "from how fast it is read, as nothing was written here yet"


class Expected(Data):
    """A time in seconds within which a step is expected to end."""

    low: float
    high: float
    source: Source


class Size(Data):
    """The approximate size of a table."""

    rows: int
    bytes: int


class StepFacts(Data):
    """One step, or one statement of an operation of Django or of a person."""

    why: str
    statements: Sequence[str]
    locks: Mapping[str, Lock]  # quoted table -> mode
    work: Work
    table: str = ""  # quoted; the table whose size matters
    size: Size | None = None  # None: the table is missing so far, or its size doesn't matter
    built: int | None = None  # bytes of the index
    disk: int | None = None  # bytes that are needed at most, some of them only meanwhile
    time: Expected | None = None
    held: Mapping[str, Lock] | None = None  # locks that its transaction holds already
    breaks: str = ""  # what the running release uses and this takes away
    note: str = ""  # why something isn't known
    is_done: bool = False  # did a run that was stopped do it?
    kind: str = ""  # the class of a step of ours
    is_asked: bool = False  # it changes nothing, and asks the catalog alone
    for_newer_snapshots: bool = False  # does it wait until each transaction has ended that reads rows as they were?

    @property
    def waits(self) -> Waits:
        if self.work is Work.UNKNOWN:
            return Waits.UNKNOWN
        strongest = max((lock.strength for lock in (*self.locks.values(), *(self.held or {}).values())), default=0)
        if strongest < Lock.SHARE.strength:
            return Waits.NOBODY
        if not self.work.grows:
            return Waits.A_MOMENT
        return Waits.EVERYBODY if strongest == Lock.ACCESS_EXCLUSIVE.strength else Waits.WRITERS

    def as_dict(self) -> dict[str, Any]:
        return {
            "step": self.kind,
            "why": self.why,
            "statements": list(self.statements),
            "locks": {Name(table).raw: str(lock) for table, lock in self.locks.items()},
            "work": str(self.work),
            "waits": str(self.waits),
            "table": Name(self.table).raw if self.table else None,
            "rows": self.size.rows if self.size else None,
            "bytes": self.size.bytes if self.size else None,
            "built_bytes": self.built,
            "disk_bytes": self.disk,
            "seconds": [round(self.time.low, 3), round(self.time.high, 3)] if self.time else None,
            "seconds_from": str(self.time.source) if self.time else None,
            "breaks": self.breaks,
            "note": self.note,
            "done": self.is_done,
        }


class OperationFacts(Data):
    """One operation, as Django describes it, or one row of the contract."""

    described: str
    steps: Sequence[StepFacts]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"operation": self.described, "note": self.note, "steps": [step.as_dict() for step in self.steps]}


class MigrationFacts(Data):
    """One migration, or what it left for the contract."""

    name: str  # app.migration
    direction: str  # forwards, backwards or contract
    operations: Sequence[OperationFacts]
    later: Sequence[str] = ()  # what it leaves for the contract
    goes: Sequence[str] = ()  # what is lost for good, now or with that contract
    back: Sequence[str] = ()  # what its way back loses
    no_way_back: Sequence[str] = ()  # operations that have none
    blockers: Sequence[str] = ()  # who is in the way now
    refused: Sequence[str] = ()  # why it won't run

    @property
    def steps(self) -> list[StepFacts]:
        return [step for operation in self.operations for step in operation.steps]

    @property
    def disk(self) -> int:
        """Bytes that its steps need at most, all together."""
        return sum(step.disk or 0 for step in self.steps)


class PlanFacts(Data):
    """The whole plan."""

    database: str
    migrations: Sequence[MigrationFacts]
    notes: Sequence[str] = ()
    refused: Sequence[str] = ()
