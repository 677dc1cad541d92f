"""The ledger: the runs of a database, and how long each of their steps took on tables of which size.

People read it (`safemigrations history`), and the plan takes its rates from it. It never costs a migration: what can't
be written, because the role has no right to or somebody holds the table, isn't. A row is written when a migration
begins, one after each step, and the outcome at the end. So a run that was killed is there without its last step. The
first run of a database applies hundreds of migrations, each in a few milliseconds, and writes what ended every second.
"""

from __future__ import annotations

import contextlib
import functools
import time
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.apps.registry import Apps
from django.core.management.base import CommandError
from django.db import Error, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from ..data import Data
from ..plans.indexes import BuildIndex
from ..plans.steps import Backfill, Step
from ..plans.work import Work, table_of, work_of
from ..postgres.names import Name, regclass
from ..postgres.sizes import size_of
from ..postgres.statements import shortened
from ..postgres.values import literal
from .clock import ago
from .noting import Notes, current
from .run import sending
from .storage import PATIENCE, Own, ensure_table, has_table

own_apps = Apps()
LONGEST = 500  # characters of an error that are kept
# A pooler or the operator may have changed it; then the row has no mark.
MARK = "coalesce(substring(current_setting('application_name') from 'safemig:([0-9a-f]{8})'), '')"


class Direction(models.TextChoices):
    FORWARDS = "forwards"
    BACKWARDS = "backwards"
    CONTRACT = "contract"
    BACKFILL = "backfill"  # by `backfill run`, apart from its migration


class Outcome(models.TextChoices):
    RUNNING = "running"  # or killed
    DONE = "done"
    FAILED = "failed"
    FAKED = "faked"


class AbstractEntry(models.Model):
    """One migration that was applied, taken back or contracted, or one backfill that was worked on."""

    key = models.UUIDField(primary_key=True)
    app_label = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    direction = models.CharField(max_length=10, choices=Direction)
    label = models.TextField(default="", db_default="", blank=True)  # of the row of the contract
    outcome = models.CharField(max_length=10, choices=Outcome)
    error = models.TextField(default="", db_default="", blank=True)
    started_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField(null=True)
    mark = models.CharField(max_length=8)  # of the release that ran it; empty where that is unknown
    role = models.TextField()
    digest = models.CharField(max_length=64, default="", db_default="", blank=True)  # of the migration's operations

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.app_label}.{self.name}"


class Entry(AbstractEntry):
    class Meta(Own):
        apps = own_apps
        db_table = "safemigrations_history"


class Noted(models.Model):
    """A step that was done, with the size of its table when it ended."""

    id = models.BigAutoField(primary_key=True)
    entry = models.UUIDField(db_index=True)
    step = models.CharField(max_length=40)  # its class
    work = models.CharField(max_length=40)  # a Work
    label = models.TextField()
    statement = models.TextField()
    table = models.TextField(db_column="table_name")  # raw; empty where it works on none
    rows = models.BigIntegerField(null=True, db_column="row_count")
    bytes = models.BigIntegerField(null=True, db_column="byte_count")
    built = models.BigIntegerField(null=True)  # bytes of the index
    filled = models.BigIntegerField(null=True)  # of the rows, that a backfill changed
    seconds = models.FloatField()
    waited = models.FloatField()  # of these, for locks
    ended_at = models.DateTimeField()

    class Meta(Own):
        apps = own_apps
        db_table = "safemigrations_history_step"

    def __str__(self) -> str:
        return self.label


class About(Data):
    """The subject of an entry."""

    app_label: str
    name: str
    direction: Direction
    label: str = ""
    digest: str = ""


class Sender:
    """Writes to the ledger. After the first failure it leaves the rest out."""

    def __init__(self, connection: BaseDatabaseWrapper, *, gave_up: bool = False) -> None:
        self.connection, self.gave_up = connection, gave_up
        self.why = ""  # it gave up

    def trying(self, write: Callable[[], None]) -> None:
        """Within a transaction nothing is written: what fails there would end it."""
        if self.gave_up or self.connection.in_atomic_block or not self.connection.get_autocommit():
            return
        try:
            with sending():
                write()
        except (Error, CommandError) as error:
            self.gave_up, self.why = True, str(error).strip()

    def insert_entries(self, *entries: dict[str, str]) -> None:
        ensure_table(self.connection, Entry)
        ensure_table(self.connection, Noted)
        self.insert(Entry, *entries)

    def insert(self, model: type[models.Model], *rows: dict[str, str]) -> None:
        names, values = ", ".join(map(Name.of, rows[0])), ", ".join(f"({', '.join(row.values())})" for row in rows)
        self.send(f"INSERT INTO {model._meta.db_table} ({names}) VALUES {values}")

    def send(self, sql: str) -> None:
        with self.connection.cursor() as cursor:  # both in one implicit transaction
            cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'; {sql}")


class Together(Sender):
    """Writes entries that have ended with one statement for each second."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection, gave_up=not is_migrated(connection))
        self.waiting, self.written_at = list[Callable[[], dict[str, str]]](), time.monotonic()

    def add(self, entry: Callable[[], dict[str, str]]) -> None:
        self.waiting.append(entry)
        if time.monotonic() > self.written_at + 1:
            self.write()

    def write(self) -> None:
        entries, self.waiting, self.written_at = self.waiting, [], time.monotonic()
        if entries:
            self.trying(lambda: self.insert_entries(*(entry() for entry in entries)))


_together: ContextVar[Together | None] = ContextVar("safemigrations_ledger_together", default=None)


@contextlib.contextmanager
def together(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Write together what is entered as a whole meanwhile."""
    entries = Together(connection)
    token = _together.set(entries)
    try:
        yield
    finally:
        _together.reset(token)
        entries.write()


class Writer(Notes, Sender):
    """Writes one entry and its steps."""

    def __init__(self, connection: BaseDatabaseWrapper, about: About, others: Together | None = None) -> None:
        super().__init__(connection, gave_up=others.gave_up if others else not is_migrated(connection))
        self.about, self.others = about, others
        self.key, self.began = uuid.uuid4(), time.monotonic()
        self.begun = False

    def begin(self) -> None:
        self.trying(lambda: self._begin(Outcome.RUNNING))

    def _begin(self, outcome: Outcome, error: str = "") -> None:
        self.insert_entries(self._entry(outcome, error, ended=time.monotonic()))
        self.begun = True

    def _entry(self, outcome: Outcome, error: str, *, ended: float) -> dict[str, str]:
        return {
            "key": literal(str(self.key)),
            "app_label": literal(self.about.app_label),
            "name": literal(self.about.name),
            "direction": literal(self.about.direction),
            "label": literal(self.about.label),
            "outcome": literal(outcome),
            "error": literal(error[:LONGEST]),
            "started_at": ago(self.began),
            "ended_at": "NULL" if outcome == Outcome.RUNNING else ago(ended),
            "mark": MARK,
            "role": "current_user",
            "digest": literal(self.about.digest),
        }

    def end(self, outcome: Outcome, error: str = "") -> None:
        """Write the outcome; an entry that was never begun is written as a whole."""
        if self.begun:
            self.trying(lambda: self._end(outcome, error))
        elif self.others is None:
            self.trying(lambda: self._begin(outcome, error))
        elif not self.gave_up:
            self.others.add(functools.partial(self._entry, outcome, error, ended=time.monotonic()))

    def _end(self, outcome: Outcome, error: str) -> None:
        self.send(
            f"UPDATE {Entry._meta.db_table} SET outcome = {literal(outcome)}, ended_at = clock_timestamp(),"
            f" error = {literal(error[:LONGEST])} WHERE key = {literal(str(self.key))}"
        )

    def note(self, step: Step, seconds: float) -> None:
        """A step has been done."""
        work = Work.INSTANT if isinstance(step, Backfill) and self.visited is None else work_of(step)
        values = self._values(step, work, seconds)
        self.waited, self.visited, self.filled = 0.0, None, 0
        if self.begun:
            self.trying(lambda: self.insert(Noted, values))

    def _values(self, step: Step, work: Work, seconds: float) -> dict[str, str]:
        table = table_of(step)
        built = regclass(Name(table).beside(step.name)) if isinstance(step, BuildIndex) else ""
        rows, size = size_of(table) if table and work.grows else ("NULL", "NULL")
        return {
            "entry": literal(str(self.key)),
            "step": literal(type(step).__name__),
            "work": literal(work),
            "label": literal(step.why),
            "statement": literal(statement_of(step)),
            "table_name": literal(Name(table).raw if table else ""),
            "row_count": rows if self.visited is None else str(self.visited),
            "byte_count": size,
            "built": f"pg_relation_size({built})" if built else "NULL",
            "filled": "NULL" if self.visited is None else str(self.filled),
            "seconds": f"{seconds:.6f}",
            "waited": f"{self.waited:.6f}",
            "ended_at": "clock_timestamp()",
        }


def statement_of(step: Step) -> str:
    """The statements of the step as they stand in the ledger."""
    return shortened("; ".join(step.statements))


def is_migrated(connection: BaseDatabaseWrapper) -> bool:
    """Does the project have any table in this database? If it has none, the ledger is not created either."""
    used = apps.get_models(include_auto_created=True)
    return any(router.allow_migrate_model(connection.alias, model) for model in used)


@contextlib.contextmanager
def entered(connection: BaseDatabaseWrapper, about: About, *, as_a_whole: bool = False) -> Iterator[None]:
    """Write an entry about the block; `as_a_whole` writes it at the end, with others, and without steps."""
    writer = Writer(connection, about, _together.get() if as_a_whole else None)
    if not as_a_whole:
        writer.begin()
    token = current.set(writer)
    try:
        yield
    except BaseException as error:
        writer.end(Outcome.FAILED, str(error) or type(error).__name__)
        raise
    else:
        writer.end(Outcome.DONE)
    finally:
        current.reset(token)


def faked(connection: BaseDatabaseWrapper, about: About) -> Writer:
    """Returns the writer, which may have given up."""
    writer = Writer(connection, about)
    writer.end(Outcome.FAKED)
    return writer


def entries(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Entry]:
    """Those of this database that match, oldest first; none where the table was never made."""
    found = Entry._base_manager.using(connection.alias).order_by("started_at")
    if connection.vendor != "postgresql" or not has_table(connection, Entry):
        return found.none()
    return found.filter(**filters)


def steps(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Noted]:
    """The steps that match, oldest first."""
    found = Noted._base_manager.using(connection.alias).order_by("id")
    if connection.vendor != "postgresql" or not has_table(connection, Noted):
        return found.none()
    return found.filter(**filters)
