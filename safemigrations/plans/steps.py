"""A step is the smallest unit of database work: data, not code.

It knows its SQL, what it locks, why it is needed, how to tell that it already took effect, and how it is
undone. Operations build plans (tuples of steps) without touching the database; only the runner executes them.
Where a step depends on what the database holds, it says so when it is asked: discover(). Nothing is sent before that.
A step survives as JSON in the contract queue, so a field may be added here (with a default), never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, replace
from typing import Any, ClassVar, Protocol

from ..data import Data
from ..postgres.columns import column_missing
from ..postgres.lock import Lock
from ..postgres.names import Name
from ..postgres.probe import NEVER, Probe
from ..postgres.triggers import fired_by_update
from .claims import Claim, Claims, Kind

FOR_PEOPLE = frozenset({"why", "failure"})  # fields of steps that are sentences


class Database(Protocol):
    """What a plan may ask; a session answers, or a test."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The result of the query."""

    def rows_after(self, statements: Sequence[str], query: str) -> list[tuple[Any, ...]]:
        """The result of the query after the statements, which are rolled back."""


class Step(Data):
    """What every kind of step has. `why` is one sentence that a tired operator understands at night."""

    _: KW_ONLY
    why: str
    done: Probe = NEVER  # that the step already took effect
    undo: tuple[Step, ...] = ()  # what takes the step back; each of them can be run twice
    takes: Claims = ()  # what it creates
    frees: Claims = ()  # what it removes
    works_on: Claims = ()  # what it changes: a column, a constraint and its columns, a view
    only_where: Probe | None = None  # elsewhere there is nothing to do, and nothing to tell

    transactional: ClassVar[bool] = True  # may it run inside a transaction?
    told: ClassVar[bool] = True  # is the step itself reported, or only the steps that it became?

    @property
    def statements(self) -> tuple[str, ...]:
        """The SQL as sqlmigrate prints it."""
        raise NotImplementedError

    @property
    def reads(self) -> str:
        """The SQL by which the step finds rows.

        Empty if it finds none, or if PostgreSQL finds them whatever policies say.
        """
        return ""

    @property
    def label(self) -> str:
        """What the sentence is about: `why` begins with the table, or with the columns, and a colon."""
        return self.why.partition(": ")[0]

    @property
    def altered_column(self) -> Claim | None:
        """The one column that the step alters, if any. A constraint may have several columns, and alters none."""
        first = self.works_on[0] if self.works_on else None
        return first if first and first.kind is Kind.COLUMN else None

    def is_needed(self, database: Database) -> bool:
        """Does this server need the step?"""
        return self.only_where is None or bool(database.rows(self.only_where))

    def discover(self, database: Database) -> Step | Plan:
        """What the step becomes on this server: a step that is sent as it is, or the steps that replace it."""
        return self


Plan = tuple[Step, ...]


class Statement(Step):
    """One statement in a short transaction of its own, behind explicit locks."""

    sql: str
    locks: Mapping[str, Lock]  # quoted table -> mode, in the order in which they are taken: parents first
    instead: Instead | None = None

    @property
    def statements(self) -> tuple[str, ...]:
        return (self.sql,)

    def discover(self, database: Database) -> Statement:
        return replace(self, sql=_chosen(self, database), instead=None)


class Together(Step):
    """Several statements that must take effect at the same moment, in one short transaction.

    `for_newer_snapshots`: whoever still reads the rows as they were before would read wrong values, so it comes later.
    `remains`: what is left to do where the column that it works on is dropped anyhow, with its table.
    """

    sql: tuple[str, ...]
    locks: Mapping[str, Lock]
    lost: Probe = NEVER  # that a trigger which it made isn't there any more, or not as it was made
    for_newer_snapshots: bool = False
    remains: tuple[Step, ...] = ()

    @property
    def statements(self) -> tuple[str, ...]:
        return self.sql


class Online(Step):
    """A statement that may take long and blocks neither reads nor writes, outside a transaction.

    When the statement finds rows that contradict it, `violators` is the query that names them, and `on_failure` is
    run, so that nothing stays behind which rejects a write that succeeded before.
    """

    sql: str
    locks: Mapping[str, Lock]
    on_failure: tuple[Step, ...] = ()
    violators: str = ""
    instead: Instead | None = None

    transactional: ClassVar[bool] = False

    @property
    def reads(self) -> str:
        return self.violators

    @property
    def statements(self) -> tuple[str, ...]:
        return (self.sql,)

    def discover(self, database: Database) -> Online:
        return replace(self, sql=_chosen(self, database), instead=None)


def _chosen(step: Statement | Online, database: Database) -> str:
    """The one of the step's two statements for this server."""
    return step.instead.sql if step.instead and database.rows(step.instead.when) else step.sql


class Proof(Step):
    """A query that must return no row; `failure` explains those that it does return, which {rows} names and counts.

    With `pages_of` (a quoted table, whose rows the query reads and whose condition comes last) it is asked for some
    pages at a time, so that no snapshot is held for long. That is a proof where no row can become one meanwhile.
    `on_failure` takes back what was only made to ask the question. Who asks before that is made sends `given` first,
    and rolls it back.
    """

    query: str
    failure: str
    pages_of: str = ""
    on_failure: tuple[Step, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def reads(self) -> str:
        return self.query

    @property
    def statements(self) -> tuple[str, ...]:
        return (self.query,)


class Trial(Step):
    """Statements that PostgreSQL has to accept; each trial is rolled back.

    `trials` are pairs of what is tried and its statements. `failure` explains what PostgreSQL refuses: {what} is what
    was tried and {error} PostgreSQL's words.
    """

    trials: tuple[tuple[str, tuple[str, ...]], ...]
    failure: str

    @property
    def statements(self) -> tuple[str, ...]:
        return tuple(sql for _, trial in self.trials for sql in ("BEGIN", *trial, "ROLLBACK"))


class Nothing(Step):
    """What a step becomes if there is nothing to do, with the reason."""

    because: str

    @property
    def statements(self) -> tuple[str, ...]:
        return ()


class Question(Step):
    """A step that only the catalog can turn into statements; it has none before it is asked."""

    transactional: ClassVar[bool] = False

    @property
    def statements(self) -> tuple[str, ...]:
        return ()

    def is_too_early(self, database: Database) -> bool:
        """Is the object of the question missing so far?"""
        raise NotImplementedError


class Backfill(Step):
    """Existing rows filled in batches, each in a transaction of its own.

    A row is filled when `guard` holds, so a batch that runs twice changes nothing the second time. The values
    come from `assign` (SQL, as in UPDATE ... SET) or, where PostgreSQL can't compute them, from `function`.
    """

    table: str
    key: tuple[str, ...]  # quoted columns of the primary key
    guard: str
    assign: str = ""
    function: RowFunction | None = None
    sets: tuple[str, ...] = ()  # quoted columns that change; empty: the one that `works_on` or `assign` names
    clears: bool = True  # does a row that was filled stop matching the guard?
    can_wait: bool = False  # both releases can live with unfilled rows, so `migrate` may leave a large table for later
    known_by: str = ""  # the guard in the words of an earlier version, by which one that is running is found

    transactional: ClassVar[bool] = False

    @property
    def reads(self) -> str:
        return f"UPDATE {self.table} SET {self.assign} WHERE {self.guard}"

    @property
    def statements(self) -> tuple[str, ...]:
        """One UPDATE that has the same effect; a run fills in batches over the key."""
        if self.function:
            name = self.function.path or f"the default of {self.function.field}"
            column = f"{self.function.column} = " if self.function.column else ""
            return (f"-- UPDATE {self.table} SET {column}{name} WHERE {self.guard}",)
        return (f"UPDATE {self.table} SET {self.assign} WHERE {self.guard}",)

    def discover(self, database: Database) -> Step:
        """The same step, telling which triggers of the project fire."""
        fires = self.fires(database)
        return replace(self, why=f"{self.why}; {fires}") if fires else self

    def fires(self, database: Database) -> str:
        """The triggers of the project that fire: whatever they set, such as the time of a change, is set, too."""
        set_here = (*self.sets, *((self.function.column,) if self.function and self.function.column else ()))
        about = [self.altered_column.name] if self.altered_column else []
        found = database.rows(fired_by_update(self.table, [*(Name(column).raw for column in set_here), *about]))
        names = " and ".join(name for (name,) in found)
        fire = f"your trigger {names} fires" if len(found) == 1 else f"your triggers {names} fire"
        return f"{fire} for each" if found else ""


class Instead(Data):
    """Another statement for servers where `when` says yes and the usual one doesn't work."""

    when: Probe
    sql: str


class RowFunction(Data):
    """A Python function that computes a column's value; the model is the one of this migration's state."""

    path: str  # module:qualified.name; empty: the field's own default is called
    takes_row: bool
    app_label: str
    migration: str
    model: str
    field: str
    column: str
    also: str = ""  # more assignments for the same row, as in ', "marker" = NULL'
    many: bool = False  # it gives a dictionary of values by field; `field` and `column` are empty


def reverse(plan: Plan) -> Plan:
    """The steps that take a plan back, last step first.

    A step that is done again after a crash may find that a later step has dropped or renamed its column.
    """
    return tuple(_unless_gone(step) for done in reversed(plan) for step in done.undo)


def _unless_gone(step: Step) -> Step:
    column = step.altered_column
    tables = [table for table in tables_read(step) if column and Name(table).raw == column.table]
    if not column or not tables:
        return step
    gone = column_missing(tables[0], column.name)
    return replace(step, done=step.done.or_(gone))


def tables_of(step: Step) -> list[str]:
    """Every table that the step's statements name, quoted, including parents of foreign keys."""
    return [*getattr(step, "locks", ()), *filter(None, [getattr(step, "table", "")])]


def tables_read(step: Step) -> list[str]:
    """Every table that the step names, including the one that a proof reads some pages at a time."""
    return [*tables_of(step), *filter(None, [getattr(step, "pages_of", "")])]


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a step or a plan that PostgreSQL is sent, or that names something: no sentences for people."""
    match value:
        case str():
            yield value
        case Mapping():
            for part in value.items():
                yield from texts_of(part)
        case tuple() | list():
            for part in value:
                yield from texts_of(part)
        case Data():
            for name in value.field_names():
                if name not in FOR_PEOPLE:
                    yield from texts_of(getattr(value, name))


def nested(plan: Iterable[Step]) -> Iterator[Step]:
    """Every step of a plan, including those that undo or clean up."""
    for step in plan:
        yield step
        yield from nested(step.undo)
        if isinstance(step, Online | Proof):
            yield from nested(step.on_failure)
