"""Where a backfill stands, in two tables of ours: so a run that was killed goes on, and many workers share the work.

`safemigrations_backfill` has a row for each backfill. Workers take sections of some thousand rows, each of which is a
row of `safemigrations_backfill_section`. A batch locks the row of its section, fills, and moves the position of the
section, all in one transaction. So no two workers ever do the same batch, and one that was killed has done it or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.apps.registry import Apps
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from ...plans.steps import Backfill
from ...plans.stored import from_json, to_json
from ...postgres.names import regclass
from ...postgres.values import literals
from ..storage import ensure_table, has_table
from .table import Part, columns_set, fetch, parts_of

own_apps = Apps()


class Status(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"


UNFINISHED = (Status.PENDING, Status.RUNNING, Status.PAUSED, Status.FAILED)


class Progress(models.Model):
    """A backfill and how far it is."""

    digest = models.CharField(max_length=64, unique=True)  # of what is filled, and how
    incarnation = models.TextField()  # of the table and its columns: if somebody makes them anew, they are filled anew
    label = models.TextField()  # for people
    app_label = models.CharField(max_length=255, blank=True)
    migration = models.CharField(max_length=255, blank=True)
    step = models.JSONField()
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    parts = models.JSONField(default=list)
    part = models.IntegerField(default=0)  # the number of the part from which the next section is taken
    after = models.JSONField(default=list)  # the key, or page, with which the last section ended
    ending = models.BooleanField(default=False)  # nothing is left but rows that were moved, locked or rejected
    estimate = models.BigIntegerField(default=0)  # rows in all parts
    visited = models.BigIntegerField(default=0)  # rows looked at, in sections that are done
    filled = models.BigIntegerField(default=0)  # rows changed, in sections that are done
    left = models.JSONField(default=list)  # [part, key, error] of rows to come back to; no error: it was locked
    pace = models.JSONField(default=dict)  # what somebody set while it ran
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    recorded = models.BooleanField(default=False)  # was its migration recorded after the backfill was done?

    class Meta:
        apps = own_apps
        app_label = "safemigrations"
        db_table = "safemigrations_backfill"

    def __str__(self) -> str:
        return self.label

    def copied(self) -> Progress:
        """The same row for another thread, which refreshes its own."""
        values = {field.attname: getattr(self, field.attname) for field in self._meta.concrete_fields}
        return Progress.from_db(self._state.db, list(values), list(values.values()))

    @property
    def backfill(self) -> Backfill:
        (step,) = from_json([self.step])
        assert isinstance(step, Backfill)
        return step

    @property
    def all_parts(self) -> list[Part]:
        return [Part(**part) for part in self.parts]


class Section(models.Model):
    """A stretch of a part, filled in one or several passes, each in batches between two fences."""

    progress = models.BigIntegerField(db_index=True)
    worker = models.BigIntegerField()  # a number that it drew: behind a pooler a backend serves several workers
    owner = models.IntegerField()  # the backend that the worker had when it took this section
    touched_at = models.DateTimeField(default=now)
    part = models.IntegerField()
    ending = models.BooleanField(default=False)
    fences = models.JSONField(default=list)  # keys, or pages, that divide it; the first lies before it
    rows = models.IntegerField(default=0)  # about how many are between two fences
    passes = models.IntegerField(default=1)
    number = models.IntegerField(default=0)  # of the pass
    at = models.IntegerField(default=0)  # the fence at which the next batch begins
    size = models.FloatField(default=0)  # of the next batch, in rows
    visited = models.FloatField(default=0)
    filled = models.BigIntegerField(default=0)

    class Meta:
        apps = own_apps
        app_label = "safemigrations"
        db_table = "safemigrations_backfill_section"

    def __str__(self) -> str:
        return f"pass {self.number + 1} of {self.passes}, {self.at} of {len(self.fences)}"

    @property
    def is_done(self) -> bool:
        return self.number >= self.passes


# What tells a backfill from another. A name that is added here, or taken away, makes every running backfill unknown.
HOW = ("table", "key", "assign", "sets", "clears", "can_wait")
HOW_FUNCTION = ("path", "takes_row", "app_label", "migration", "model", "field", "column", "also", "many")


def digest(step: Backfill) -> str:
    """What a backfill is found by: what it does and how, not what is said about it.

    Two releases that work on the same backfill have to find it by the same digest, so the text that is hashed is the
    one that the first release hashed.
    """
    data: dict[str, Any] = {"kind": "Backfill", "uses": [], **{name: getattr(step, name) for name in HOW}}
    data["guard"] = step.known_by or step.guard
    function = {name: getattr(step.function, name) for name in HOW_FUNCTION} if step.function else None
    data["function"] = function and {"kind": "RowFunction", **function}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _digests(step: Backfill, migrations: Iterable[str]) -> set[str]:
    """The digests of a step, also as a step of these other migrations."""
    function = step.function
    others = [replace(step, function=replace(function, migration=name)) for name in migrations] if function else []
    return {digest(one) for one in (step, *others)}


def _incarnation(connection: BaseDatabaseWrapper, step: Backfill) -> str:
    names = literals(columns_set(step)) or "NULL"
    ((text,),) = fetch(
        connection,
        "SELECT concat_ws(' ', c.oid, (SELECT string_agg(attnum::text, ',' ORDER BY attnum) FROM pg_attribute"
        f" WHERE attrelid = c.oid AND attname IN ({names}))) FROM pg_class c"
        f" WHERE oid = {regclass(step.table)}",
    )
    return str(text)


def is_there(connection: BaseDatabaseWrapper, row: Progress) -> bool:
    """Are the table and the columns still those for which the backfill was begun?"""
    return _incarnation(connection, row.backfill) == row.incarnation


def rows(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Progress]:
    """The backfills of this database that match, oldest first; none where the table was never made."""
    found = Progress._base_manager.using(connection.alias).order_by("id")
    if connection.vendor != "postgresql" or not has_table(connection, Progress):
        return found.none()
    return found.filter(**filters)


def row(connection: BaseDatabaseWrapper, progress: Progress) -> models.QuerySet[Progress]:
    """The row of a backfill that was begun."""
    return Progress._base_manager.using(connection.alias).filter(pk=progress.pk)


def sections(connection: BaseDatabaseWrapper, progress: Progress) -> models.QuerySet[Section]:
    return Section._base_manager.using(connection.alias).filter(progress=progress.pk)


def totals(connection: BaseDatabaseWrapper, progress: Progress) -> tuple[int, int]:
    """How many rows were looked at and how many were filled."""
    sums = sections(connection, progress).aggregate(models.Sum("visited"), models.Sum("filled"))
    return progress.visited + int(sums["visited__sum"] or 0), progress.filled + (sums["filled__sum"] or 0)


def begin(
    connection: BaseDatabaseWrapper, step: Backfill, *, app_label: str, migration: str, status: Status
) -> Progress:
    """The row of a backfill: the one that there is where it was begun, else a new one."""
    ensure_table(connection, Progress)
    ensure_table(connection, Section)
    incarnation = _incarnation(connection, step)
    with transaction.atomic(using=connection.alias):
        known = rows(connection, digest=digest(step)).select_for_update().first()
        if known and known.incarnation == incarnation and known.status in (*UNFINISHED, Status.CANCELLED):
            return _begun_again(connection, known, status)
        if known:
            forget(connection, step)
        return _new(connection, step, app_label=app_label, migration=migration, incarnation=incarnation, status=status)


def _begun_again(connection: BaseDatabaseWrapper, known: Progress, status: Status) -> Progress:
    if known.status == Status.CANCELLED or (known.status != Status.RUNNING and status == Status.RUNNING):
        row(connection, known).update(status=status, last_error="", started_at=now())
        known.refresh_from_db(using=connection.alias)
    return known


def _new(connection: BaseDatabaseWrapper, step: Backfill, *, status: Status, **values: str) -> Progress:
    parts = parts_of(connection, step)
    return Progress._base_manager.using(connection.alias).create(
        **values,
        digest=digest(step),
        label=step.why,
        step=to_json((step,))[0],
        status=status,
        parts=[part.as_json() for part in parts],
        estimate=sum(part.rows for part in parts),
        started_at=now() if status == Status.RUNNING else None,
    )


def is_through(connection: BaseDatabaseWrapper, step: Backfill, *, app_label: str, migration: str) -> bool:
    """Was this migration killed after it did the backfill, and before it was recorded?

    It does the backfill again all the same where the guard tells a row that is filled from one that isn't.
    """
    filters = {"app_label": app_label, "migration": migration, "status": Status.DONE, "recorded": False}
    known = None if step.clears else rows(connection, digest=digest(step), **filters).first()
    return known is not None and is_there(connection, known)


def record(connection: BaseDatabaseWrapper, app_label: str, migration: str) -> None:
    """Remember that a migration is recorded: when it is applied once more, it fills once more."""
    rows(connection, app_label=app_label, migration=migration, status=Status.DONE).update(recorded=True)


def forget(connection: BaseDatabaseWrapper, step: Backfill, *, replaces: Iterable[str] = ()) -> None:
    """Fill from the start the next time; `replaces` are the names of the migrations that were squashed into this."""
    for known in rows(connection, digest__in=_digests(step, replaces)):
        sections(connection, known).delete()
        known.delete()
