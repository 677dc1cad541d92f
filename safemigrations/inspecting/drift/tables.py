"""The tables of all models, compared with what the migrations say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...plans.column import table_of
from ...postgres import shapes
from ...postgres.names import Name
from . import repairs, roughly
from .compared import compared
from .expected import expected
from .explained import Explained
from .inspection import Inspection
from .line import Line
from .read import read
from .sequences import Numbered
from .shape import Table
from .wanted import Wanted, parents, wanted


def of_tables(inspection: Inspection, known: Explained) -> Iterator[Line]:
    """The tables of all models, in the order of their names."""
    models = wanted(inspection.connection.alias, inspection.state, inspection.apps)
    if inspection.tables is not None:
        models = {name: models[name] for name in inspection.tables if name in models}
    oids, kinds = dict[Name, int](), dict[Name, str]()
    around = {table_of(parent) for model in models.values() for parent in parents(model)}  # perhaps of another app
    for name, oid, kind, _ in inspection.session.rows(shapes.oids(dict.fromkeys([*models, *sorted(around)]))):
        if oid:
            oids[Name(name)], kinds[Name(name)] = oid, kind
    yield from _missing(inspection, {name: model for name, model in models.items() if name not in oids})
    there = {name: models[name] for name in sorted(models) if kinds.get(name) in ("r", "p")}
    yield from _compared(inspection, there, oids)


def _missing(inspection: Inspection, models: Wanted) -> Iterator[Line]:
    for name, model in models.items():
        repair = repairs.create_table(inspection.connection, model)
        yield Line("table_missing", name, "", f"the table of model {model._meta.label} is missing", repair)


def _compared(inspection: Inspection, models: Wanted, oids: dict[Name, int]) -> Iterator[Line]:
    session = inspection.session
    shapes_found = read(session, [oids[name] for name in models])
    found = {name: shapes_found[oids[name]] for name in models}
    inspection.compared = len(models)
    if reason := roughly.reason(session):
        inspection.note(
            f"{reason}: compared are the names and NOT NULL of columns, not types, defaults, indexes and constraints."
        )
        yield from roughly.lines(inspection.connection, models, found)
    else:
        yield from _wholly(inspection, models, found, oids)
    numbered = Numbered(session, found)
    yield from numbered.lines()
    if numbered.unseen:
        inspection.note(
            f"This role may not read {_counted(numbered.unseen)}, or not the sequence: not looked there whether "
            "sequences are behind the largest key."
        )


def _wholly(inspection: Inspection, models: Wanted, found: dict[Name, Table], oids: dict[Name, int]) -> Iterator[Line]:
    should = expected(inspection.session, models, oids)
    names = {oid: name for name, oid in oids.items()}
    for name, shape in should.shapes.items():
        yield from compared(inspection.connection, models[name], name, shape, found[name], names)
    for name, reason in should.unknown.items():
        inspection.note(f"{name} could not be made to compare with: {reason}")


def _counted(tables: Sequence[Name]) -> str:
    return str(tables[0]) if len(tables) == 1 else f"{len(tables)} tables"
