"""Finds the shapes to which the migrations lead, by asking Django and PostgreSQL.

Django's schema editor makes the tables anew, as temporary ones, in a transaction that is rolled back, and the catalog
says what came of it. So there is no second opinion here on what Django makes of a field, and both shapes are spelled by
the same server.

A transaction makes a few tables only: each takes a dozen places in the table of locks, which all sessions share.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Model

from ...data import Data
from ...plans.column import table_of
from ...postgres import shapes
from ...postgres.names import Name
from ...running.lost import raise_lost
from ...running.session import Session
from ...typed import set_on
from .read import read
from .shape import Constraint, Table
from .wanted import Wanted, parents

AT_ONCE = 80  # tables
SETTINGS = ("LOCAL lock_timeout = '2s'", "LOCAL statement_timeout = '60s'", "LOCAL temp_tablespaces = ''")


class Expected(Data):
    """The expected shapes by table, and the reasons why some tables have none."""

    shapes: dict[Name, Table]
    unknown: dict[Name, str]


class Place(str):
    """A db_table that stands in statements as a temporary table; Django derives names from the text itself."""

    __slots__ = ("temporary",)

    temporary: Name


def expected(session: Session, wanted: Wanted, found: Mapping[Name, int]) -> Expected:
    """`found` gives the oids of tables that are there: foreign keys are compared by them."""
    made = Expected({}, {})
    names = list(wanted)
    for start in range(0, len(names), AT_ONCE):
        _make(session, wanted, names[start : start + AT_ONCE], found, made)
    return made


def _make(session: Session, wanted: Wanted, names: Sequence[Name], found: Mapping[Name, int], made: Expected) -> None:
    """Create the tables; if one can't be created, create the others without it."""
    try:
        made.shapes.update(_made(session, wanted, names, found))
    except Exception as error:  # also what a field of somebody else raises, or a state that names what isn't there
        raise_lost(error)
        if len(names) == 1:
            made.unknown[names[0]] = str(error).strip().partition("\n")[0]
            return
        middle = len(names) // 2
        _make(session, wanted, names[:middle], found, made)
        _make(session, wanted, names[middle:], found, made)


def _made(session: Session, wanted: Wanted, names: Sequence[Name], found: Mapping[Name, int]) -> dict[Name, Table]:
    models = [wanted[name] for name in names]
    around = _without(models, itertools.chain.from_iterable(map(parents, models)))
    with _placed([*models, *around]) as places, transaction.atomic(using=session.connection.alias):
        for setting in SETTINGS:
            session.set(setting)
        session.send(";".join(_statements(session, models, around)))
        oids = {name: oid for name, oid, *_ in session.rows(shapes.oids(place.temporary for place in places.values()))}
        real = {oids[place.temporary]: found.get(name, 0) for name, place in places.items()}
        tables = read(session, [oids[places[name].temporary] for name in names])
        transaction.set_rollback(True, using=session.connection.alias)
    for table in tables.values():
        table.constraints[:] = [_of_real(one, real) for one in table.constraints]
    return dict(zip(names, tables.values(), strict=True))


def _of_real(constraint: Constraint, real: Mapping[int, int]) -> Constraint:
    return Constraint(**{**vars(constraint), "parent": real.get(constraint.parent, 0)})


def _without(models: Sequence[type[Model]], others: Iterable[type[Model]]) -> list[type[Model]]:
    return list(dict.fromkeys(one for one in others if one not in models))


@contextmanager
def _placed(models: Sequence[type[Model]]) -> Iterator[dict[Name, Place]]:
    """Let these models use temporary tables for a while."""
    before = {model: model._meta.db_table for model in models}
    places = dict[Name, Place]()
    for model, db_table in before.items():
        places[table_of(model)] = _place(db_table, {place.temporary for place in places.values()})
    try:
        for model in models:
            set_on(model._meta, db_table=places[table_of(model)])
        yield places
    finally:
        for model, db_table in before.items():
            set_on(model._meta, db_table=db_table)


def _place(db_table: str, taken: set[Name]) -> Place:
    """The temporary table. It has the name of the real one, so PostgreSQL derives the same names from it."""
    place, raw = Place(db_table), Name.from_django(db_table).raw
    names = (Name.of(f"{raw}{number or ''}", "pg_temp") for number in itertools.count())
    place.temporary = next(name for name in names if name not in taken)
    return place


def _statements(session: Session, models: Sequence[type[Model]], around: Sequence[type[Model]]) -> list[str]:
    """Whole tables for the models, and for those around them what a foreign key can point at."""
    with _editor(session.connection) as editor:
        for model in around:
            editor.execute(*_bare(editor, model))
        for model in models:
            editor.create_model(model)
    return [sql.rstrip().rstrip(";") for sql in editor.collected_sql]


def _bare(editor: Any, model: type[Model]) -> tuple[str, Any]:
    waiting = list(editor.deferred_sql)
    sql, params = editor.table_sql(model)
    editor.deferred_sql[:] = waiting
    return sql, params or None


def _editor(connection: Any) -> Any:
    """Django's schema editor for this database, or that of its backend, which quotes a place as a temporary table."""
    base: type[BaseDatabaseSchemaEditor] = connection.SchemaEditorClass

    def quote_name(self: Any, name: str) -> str:
        return name.temporary if isinstance(name, Place) else base.quote_name(self, name)

    def create_model(self: Any, model: Any) -> None:
        """A many-to-many table is made for its own sake; an index that RenameIndex has left twice in a state, once."""
        options = model._meta
        fields, indexes = options.local_many_to_many, options.indexes
        options.local_many_to_many, options.indexes = [], list({one.name: one for one in indexes}.values())
        try:
            base.create_model(self, model)
        finally:
            options.local_many_to_many, options.indexes = fields, indexes

    editor = type("Editor", (base,), {"quote_name": quote_name, "create_model": create_model})
    return editor(connection, collect_sql=True, atomic=False)
