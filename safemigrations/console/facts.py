"""The facts beyond the columns of a row that the pages show: why it waits, how far it is, who works on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from ..contracts import queue
from ..contracts.answers import answers
from ..contracts.going import losses
from ..contracts.marks import own_mark
from ..contracts.releases import Release, recorded
from ..contracts.sessions import look
from ..contracts.table import HOLDING, Contract
from ..data import Data
from ..durations import shown_age, shown_seconds
from ..inspecting.history import step_line
from ..running import preview
from ..running.backfill import standing
from ..running.backfill.pace import seconds_closed
from ..running.backfill.progress import AbstractProgress, Section, Status
from ..running.ledger import AbstractEntry, Noted, steps
from ..running.storage import is_up_to_date

REJECTED_SHOWN = 100  # rejected rows of one backfill


# The contract queue.


def answers_of_the_gate(connection: BaseDatabaseWrapper) -> dict[int, str]:
    """The reasons why rows may not run at this moment, by row number; rows that may run are left out. Looks once."""
    found = answers(connection, _rows(connection, status__in=HOLDING))
    return {number: answer.reason for number, answer in found.items()}


def _rows(connection: BaseDatabaseWrapper, **filters: Any) -> list[Contract]:
    """The rows as they are; unlike queue.rows(), it never adds a column to the table."""
    return list(queue.rows(connection, **filters)) if is_up_to_date(connection, Contract) else []


def lost_with(connection: BaseDatabaseWrapper, number: int) -> list[str]:
    """What is lost for good when this row runs, with its rows and sizes."""
    plans = [row.steps for row in _rows(connection, pk=number) if row.is_signed]
    return [str(loss) for loss in losses(connection, plans)]


def lines_of(connection: BaseDatabaseWrapper, number: int) -> str:
    """The statements of this row and their reasons, as its plan has them; the database is asked nothing."""
    rows = (row for row in _rows(connection, pk=number) if row.is_signed)
    return "\n".join(line for row in rows for line in preview.lines_of(row.steps))


# Backfills.


class Speed(Data):
    """How far a backfill is and how fast; a share is None where nobody knows how many rows there are."""

    share: float | None
    filled: int
    rows_a_second: float
    seconds_left: float | None


def speed(row: AbstractProgress, visited: int, filled: int) -> Speed:
    """The average since the backfill began."""
    seconds = ((row.finished_at or now()) - row.started_at).total_seconds() if row.started_at else 0
    share = min(1.0, visited / row.estimate) if row.estimate else None
    is_over = row.status == Status.DONE
    left = (row.estimate - visited) * seconds / visited if seconds and visited and not is_over else None
    return Speed(1.0 if is_over else share, filled, filled / seconds if seconds else 0.0, left and max(left, 0.0))


class Working(Data):
    """A backfill as it is now."""

    status: str
    speed: Speed
    workers: int
    why: str  # it waits; empty where it doesn't


def working(connection: BaseDatabaseWrapper, rows: Sequence[AbstractProgress]) -> dict[int, Working]:
    """The facts of each backfill, by its number; three queries for all of them."""
    sums = _sums(connection, rows)
    owners = _owners(connection, rows)
    found = {}
    for row in rows:
        visited, filled = sums.get(row.pk, (0, 0))
        workers = owners[row.pk]
        status = standing.STOPPED if row.status == Status.RUNNING and not workers else row.status
        told = speed(row, max(row.visited + visited, row.filled + filled), row.filled + filled)
        found[row.pk] = Working(status, told, workers, _why(row, status))
    return found


def _sums(connection: BaseDatabaseWrapper, rows: Sequence[AbstractProgress]) -> Mapping[int, tuple[int, int]]:
    if not is_up_to_date(connection, Section):
        return {}
    numbers = tuple(row.pk for row in rows)
    sections = Section._base_manager.using(connection.alias).filter(progress__in=numbers)
    sums = Counter[tuple[int, str]]()
    for progress, visited, filled in sections.values_list("progress", "visited", "filled"):
        sums[progress, "visited"] += int(visited)
        sums[progress, "filled"] += filled
    return {number: (sums[number, "visited"], sums[number, "filled"]) for number in numbers}


def _owners(connection: BaseDatabaseWrapper, rows: Sequence[AbstractProgress]) -> Counter[int]:
    """The number of sections of each backfill whose owner's session is still connected."""
    running = [row.pk for row in rows if row.status == Status.RUNNING]
    if not running or not is_up_to_date(connection, Section):
        return Counter()
    there = {session.pid for session in look(connection)}
    sections = Section._base_manager.using(connection.alias).filter(progress__in=running)
    pairs = set(sections.values_list("progress", "owner"))
    return Counter(progress for progress, owner in pairs if owner in there)


def _why(row: AbstractProgress, status: str) -> str:
    closed = seconds_closed()
    match status:
        case Status.RUNNING | standing.STOPPED | Status.PENDING if closed:
            return f"the time window opens in {shown_seconds(closed)} (BACKFILL_WINDOW)"
        case standing.STOPPED:
            return "nobody works on it now"
        case Status.PENDING:
            return "nobody has begun it"
        case Status.PAUSED:
            return "somebody has paused it"
        case Status.FAILED:
            return row.last_error
    return ""


def rejected(row: AbstractProgress) -> list[tuple[Any, str]]:
    """The first keys that the backfill will try again, and why the database rejected each."""
    return [(key, error or "locked by somebody") for _, key, error in row.left[:REJECTED_SHOWN]]


def sections_of(connection: BaseDatabaseWrapper, row: AbstractProgress) -> list[Section]:
    if not is_up_to_date(connection, Section):
        return []
    return list(Section._base_manager.using(connection.alias).filter(progress=row.pk).order_by("pk"))


# Releases.


def connected(connection: BaseDatabaseWrapper) -> Counter[str]:
    """The number of sessions of each mark at this moment, the asking session included."""
    return Counter([own_mark(), *(session.mark for session in look(connection) if session.mark)])


def unknown_marks(connection: BaseDatabaseWrapper) -> list[str]:
    """The marks of sessions whose release never migrated this database."""
    return sorted(set(connected(connection)) - set(_recorded(connection)))


def _recorded(connection: BaseDatabaseWrapper) -> Iterable[str]:
    return recorded(connection) if is_up_to_date(connection, Release) else ()


# The history.


def waited(connection: BaseDatabaseWrapper, rows: Sequence[AbstractEntry]) -> dict[Any, float]:
    """The seconds that the steps of each run waited for locks, by the key of the run."""
    sums = dict.fromkeys((row.pk for row in rows), 0.0)
    for step in _steps(connection, rows):
        sums[step.entry] += step.waited
    return sums


def steps_told(connection: BaseDatabaseWrapper, row: AbstractEntry) -> list[str]:
    return [step_line(step) for step in _steps(connection, [row])]


def _steps(connection: BaseDatabaseWrapper, rows: Sequence[AbstractEntry]) -> Iterable[Noted]:
    return steps(connection, entry__in=[row.pk for row in rows]) if is_up_to_date(connection, Noted) else ()


def how_long_ago(moment: datetime) -> str:
    return shown_age(now() - moment)
