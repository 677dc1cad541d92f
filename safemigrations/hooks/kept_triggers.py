"""The triggers on which open contracts count: whether they and their columns are there, and do what they were made for.

A restore may leave them out, a loader disables them, a person may drop one. Then the two releases drift apart without a
word. What was written meanwhile nobody can fix: the contract names such rows. A column that is gone has values that
only a person can bring back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from ..contracts import loaded
from ..data import Data
from ..errors import NOTHING_WAS_CHANGED, to_type
from ..operations.base import Change
from ..operations.of_migration import situations
from ..plans.column import Column
from ..plans.triggers import Kept, put_back
from ..postgres.columns import column_missing
from ..postgres.names import Name
from ..postgres.tables import table_exists
from ..running.run import Report
from .states import name_before

if TYPE_CHECKING:  # at run time only after the apps are loaded
    from ..contracts.table import Contract

Key = tuple[str, str]  # app label and name of a migration


class CountedOn(NamedTuple):
    """A trigger on which an open contract counts."""

    row: Contract
    back_to: str  # the migration before the one that left the row
    kept: Kept


class Lost(Data):
    """A column that such a trigger is about, and that isn't there any more."""

    number: int  # of the row
    table: Name
    column: str  # raw
    text: str  # in a sentence, and what to do
    stops: bool  # does the new release need it?
    is_added: bool  # by the migration, so that applying it once more adds it

    @property
    def place(self) -> tuple[str, str]:
        return self.table.raw, self.column


def counted_on(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> list[CountedOn]:
    """Those of all open contracts; the triggers of a way back that began are going anyhow."""
    rows = loaded().queue.open_rows(connection)
    half_way = loaded().reversals.keys(connection) if rows else set()
    waiting = [row for row in rows if (row.app_label, row.migration) not in half_way]
    return [one for row in waiting for one in _of_row(row, connection, loader)]


def put_triggers_back(connection: BaseDatabaseWrapper, found: Iterable[CountedOn], report: Report) -> None:
    """Make those anew that aren't as they were made."""
    runner = loaded().Runner(connection, report)
    for row, _, kept in found:
        if not any(_is_missing(connection, column) for column in _columns(kept)):
            runner.run((put_back(kept.trigger, may_be_over=row.attempts > 0),))


def lost(connection: BaseDatabaseWrapper, found: Iterable[CountedOn]) -> list[Lost]:
    """The columns that are gone, though the contract hasn't begun: once for each."""
    gone: dict[tuple[str, str], Lost] = {}
    for one in found:
        for column in _columns(one.kept) if not one.row.attempts else ():
            if _is_missing(connection, column):
                gone.setdefault((column.table, column.name), _lost(connection.alias, one, column))
    return list(gone.values())


def refuse_lost(found: Iterable[Lost]) -> Iterator[str]:
    """A sentence for each that the new release needs."""
    return (one.text for one in found if one.stops)


def _columns(kept: Kept) -> list[Column]:
    return [kept.column, *([kept.former] if kept.former else [])]


def _is_missing(connection: BaseDatabaseWrapper, column: Column) -> bool:
    """Where the table itself is gone, or has another name, others say so."""
    missing = column_missing(column.table, column.name).and_(table_exists(column.table))
    return bool(loaded().Session(connection).rows(missing))


def _lost(alias: str, one: CountedOn, column: Column) -> Lost:
    is_former = column is one.kept.former
    return Lost(
        number=one.row.pk,
        table=column.table,
        column=column.name,
        text=f"{column.label} has no column {column.name} any more, {_what_then(alias, one, is_former=is_former)}",
        stops=not is_former,
        is_added=one.kept.adds and not is_former,
    )


def _what_then(alias: str, one: CountedOn, *, is_former: bool) -> str:
    """What follows, and what to do."""
    row, column, former = one.row, one.kept.column, one.kept.former
    migration = f"{row.app_label}.{row.migration}"
    if is_former:
        contract = to_type(f"migrate {row.app_label} {row.migration} --contract --only", alias)
        return (
            f"which the contract of {migration} would drop: {column.name} has the values that are left. When no server "
            f"runs the old release any more, type: {contract}"
        )
    if one.kept.adds:
        back, again = to_type(f"migrate {row.app_label} {one.back_to}", alias), to_type("migrate", alias)
        return (
            f"which the contract of {migration} needs. {NOTHING_WAS_CHANGED} Take the migration back and apply it "
            f"again, which adds the column and fills it. Type: {back} and then: {again}"
        )
    has_the_values = f"so {former.name} has the only values" if former else f"which the contract of {migration} needs"
    return (
        f"{has_the_values}. {NOTHING_WAS_CHANGED} Put {column.name} back (safemigrations verify --sql prints the "
        f"statement), fill it from {former.name if former else 'a backup'}, and run the same command again."
    )


def _of_row(row: Contract, connection: BaseDatabaseWrapper, loader: MigrationLoader) -> Iterator[CountedOn]:
    """Those of the operation that left the row; none where its migration was pruned."""
    migration = _migration_of((row.app_label, row.migration), loader)
    if migration is None or not any(map(_keeps_triggers, migration.operations)):
        return
    back_to = name_before(loader, migration)
    state = loader.project_state((migration.app_label, migration.name), at_end=False)
    for operation, at in situations(migration, state, connection):
        if isinstance(operation, Change) and _keeps_triggers(operation) and operation.identity == row.operation:
            yield from (CountedOn(row, back_to, kept) for kept in operation.kept(at))


def _migration_of(key: Key, loader: MigrationLoader) -> Migration | None:
    """The one that left it, or what that was squashed into; None where it was pruned."""
    known = (loader.graph.nodes[node] for node in loader.graph.nodes if node[0] == key[0])
    return next((one for one in known if (one.app_label, one.name) == key or key in one.replaces), None)


def _keeps_triggers(operation: object) -> bool:
    return isinstance(operation, Change) and type(operation).kept is not Change.kept
