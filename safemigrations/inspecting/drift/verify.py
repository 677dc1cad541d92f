"""Is the database what the migrations say? Each source yields lines; explained and ignored ones are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from django.db import DatabaseError

from ... import conf
from ...contracts import queue
from ...data import Data
from ...durations import shown_age
from ...errors import StepFailed, to_type
from ...postgres.names import Name
from ...running.clock import server_time
from ...running.lost import raise_lost
from ...running.settings import settled
from ..edited import edited
from . import repairs
from .anywhere import invalid_indexes, not_valid_constraints
from .explained import Explained, MigrationTexts, explained
from .inspection import Inspection
from .left_over import left_overs
from .line import Line
from .tables import of_tables
from .without_row import with_their_migrations


class Drift(Data):
    """What an inspection found."""

    lines: list[tuple[Line, list[str]]]  # each with the statements that repair it
    notes: list[str]  # what could not be looked at
    compared: int  # tables


def find(inspection: Inspection, ignore: Sequence[str] = ()) -> Drift:
    patterns = [*conf.verify_ignore(), *ignore]
    with settled(inspection.connection):
        known = _known(inspection)
        found = (line for source in SOURCES for line in source(inspection, known))
        unexplained = (line for line in found if line.is_gone or not known.is_held(line))
        lines = [known.as_needed(line) for line in unexplained if not line.is_ignored(patterns)]
        said = MigrationTexts(inspection.applied() if lines else ())
        left = [line for line in lines if not said.names(line)]
        shown = [(line, repairs.statements(inspection.session, line.repair)) for line in left]
    return Drift(shown, inspection.notes, inspection.compared)


def _known(inspection: Inspection) -> Explained:
    try:
        known = explained(inspection.connection)
        return replace(known, lost=inspection.lost()) if inspection.tables is None else known
    except (DatabaseError, StepFailed) as error:
        raise_lost(error)
        inspection.note(
            f"What is left for the contract, and may explain a line, could not be read: {_first_line(error)}"
        )
        return Explained(set(), set(), set(), [], is_complete=False)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


# The sources.


def of_ways_back(inspection: Inspection, known: Explained) -> Iterator[Line]:
    for one in known.half_way_back if inspection.tables is None else ():
        yield Line("half_way_back", Name.of(str(one)), "", one.explanation)


def of_lost_columns(inspection: Inspection, known: Explained) -> Iterator[Line]:
    """Those that only the old release needs; `of_tables` finds the others."""
    for one in known.lost:
        if not one.stops and inspection.is_about(one.table):
            yield Line("column_missing", one.table, one.column, one.text)


def of_anything(inspection: Inspection, known: Explained) -> Iterator[Line]:
    """Differences in any table, with or without a model.

    A constraint that is NOT VALID may be meant so by whoever added it.
    """
    if inspection.labels:
        return
    found = [invalid_indexes(inspection.session)]
    if inspection.is_whole:
        found.append(not_valid_constraints(inspection.session))
    if known.is_complete:  # else what is needed would look as if it were left over
        found.append(with_their_migrations(inspection, left_overs(inspection.session, known)))
    yield from (line for lines in found for line in lines if inspection.is_about(line.table))


def of_contracts(inspection: Inspection, known: Explained) -> Iterator[Line]:
    """Contracts that nobody runs, postpones or skips."""
    if inspection.older_than is None or not known.is_complete:
        return
    at = server_time(inspection.connection)
    for row in queue.open_rows(inspection.connection):
        waited = at - row.created_at
        if waited > inspection.older_than and not (row.until and row.until > at):
            command = to_type(f"migrate {row.app_label} {row.migration} --contract --only", inspection.connection.alias)
            text = f"has waited for the contract for {shown_age(waited)}: {row.label}"
            yield Line("contract_old", Name.of(f"{row.app_label}.{row.migration}"), "", text, command=command)


def of_files(inspection: Inspection, known: Explained) -> Iterator[Line]:
    """Applied migrations whose file was edited, or is gone."""
    try:
        found = list(edited(inspection.connection)) if inspection.is_whole else []
    except (DatabaseError, StepFailed) as error:
        raise_lost(error)
        inspection.note(f"Whether files of applied migrations were edited could not be read: {_first_line(error)}")
        return
    for one in found:
        yield Line("edited", Name.of(f"{one.app_label}.{one.name}"), "", one.found, command=one.do)


SOURCES: list[Callable[[Inspection, Explained], Iterator[Line]]] = [
    of_ways_back,
    of_tables,
    of_lost_columns,
    of_anything,
    of_contracts,
    of_files,
]
