"""Where a backfill stands, in two tables of ours: so a run that was killed goes on, and many workers share the work.

`safemigrations_backfill` has a row for each backfill. Workers take sections of some thousand rows, each of which is a
row of `safemigrations_backfill_section`. A batch locks the row of its section, fills, and moves the position of the
section, all in one transaction. So no two workers ever do the same batch, and one that was killed has done it or not.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from django.apps.registry import Apps
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from ...errors import StepFailed, to_type
from ...plans.steps import Backfill
from ...plans.stored import from_json, readable, to_json
from ...postgres.names import regclass
from ...postgres.values import literals
from ..readable import Readable, matching
from ..signed import Signed, refuse_unsigned
from ..storage import Own, ensure_table, has_table
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


class AbstractProgress(Signed):
    """A backfill and how far it is."""

    digest = models.CharField(max_length=64, unique=True)  # of what is filled, and how
    incarnation = models.TextField()  # of the table and its columns: says whether somebody made them anew
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
    is_taken_back = models.BooleanField(default=False, db_default=False)  # has its way back begun?
    recorded = models.BooleanField(default=False)  # was its migration recorded after the backfill was done?

    signed = ("step", "parts")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.label

    @property
    def backfill(self) -> Backfill:
        """Raises StepFailed for a step that isn't one of this version or an earlier one."""
        with readable(f"The backfill {self.pk} ({self})"):
            (step,) = from_json([self.step])
            if not isinstance(step, Backfill):
                raise TypeError(f"it is a {type(step).__name__}")
            return step

    @property
    def all_parts(self) -> list[Part]:
        names = Part.field_names()
        with readable(f"What the backfill {self.pk} ({self}) keeps of its table"):
            return [Part(**{name: part[name] for name in names}) for part in self.parts]


class Progress(Readable, AbstractProgress):
    forms: ClassVar[Mapping[str, type]] = {"step": dict, "parts": list, "after": list, "left": list, "pace": dict}

    class Meta(Own):
        apps = own_apps
        db_table = "safemigrations_backfill"

    def copied(self) -> Progress:
        """A copy of the row for another thread, which refreshes its own."""
        values = {field.attname: getattr(self, field.attname) for field in self._meta.concrete_fields}
        return Progress.from_db(self._state.db, list(values), list(values.values()))


class Section(Readable):
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

    forms: ClassVar[Mapping[str, type]] = {"fences": list}

    class Meta(Own):
        apps = own_apps
        db_table = "safemigrations_backfill_section"

    def __str__(self) -> str:
        return f"pass {self.number + 1} of {self.passes}, {self.at} of {len(self.fences)}"

    @property
    def is_done(self) -> bool:
        return self.number >= self.passes


# What a digest is made of. A name that is added here, or taken away, makes every running backfill hard to find.
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


def does(step: Backfill) -> tuple[object, ...]:
    """What tells a backfill from another where the digests of two versions of this package differ."""
    return step.table, step.key, step.known_by or step.guard, step.assign, step.function


def _find(known: models.QuerySet[Progress], step: Backfill) -> Progress | None:
    """The row of a backfill: the one with its digest, else one that does the same."""
    wanted = does(step)
    return known.filter(digest=digest(step)).first() or next(
        (one for one in known if does(one.backfill) == wanted), None
    )


# Are its positions those of this table? The number that PostgreSQL gives to a table says so, unless all tables have
# other numbers after a restore: then the positions were restored together with the rows. That the table of the
# positions has another number, too, tells the two apart. It is stored beside the fields of the step, which every
# version of this package reads without it.
HOME = "home"


def _home(connection: BaseDatabaseWrapper) -> str:
    ((text,),) = fetch(connection, f"SELECT to_regclass('{Progress._meta.db_table}')::oid::text")
    return str(text)


def _is_trusted(connection: BaseDatabaseWrapper, row: Progress, incarnation: str) -> bool:
    home = row.step.get(HOME)
    return row.incarnation == incarnation or (home is not None and home != _home(connection))


def _incarnation(connection: BaseDatabaseWrapper, step: Backfill) -> str:
    names = literals(columns_set(step)) or "NULL"
    ((text,),) = fetch(
        connection,
        "SELECT concat_ws(' ', c.oid, (SELECT string_agg(attnum::text, ',' ORDER BY attnum) FROM pg_attribute"
        f" WHERE attrelid = c.oid AND attname IN ({names}))) FROM pg_class c"
        f" WHERE oid = {regclass(step.table)}",
    )
    return str(text)


def rows(connection: BaseDatabaseWrapper, **filters: Any) -> models.QuerySet[Progress]:
    """The backfills of this database that match, oldest first; none where the table was never made."""
    found = Progress._base_manager.using(connection.alias).order_by("id")
    if connection.vendor != "postgresql" or not has_table(connection, Progress):
        return found.none()
    if not has_table(connection, Section):
        raise StepFailed(_WITHOUT_SECTIONS)
    return matching(found, filters)


_WITHOUT_SECTIONS = (
    "The table safemigrations_backfill is here, and safemigrations_backfill_section, which says how far backfills are, "
    "isn't. Nothing was changed. Restore both together."
)


def row(connection: BaseDatabaseWrapper, progress: Progress) -> models.QuerySet[Progress]:
    """The row of a backfill that was begun."""
    return Progress._base_manager.using(connection.alias).filter(pk=progress.pk)


def sections(connection: BaseDatabaseWrapper, progress: Progress) -> models.QuerySet[Section]:
    return Section._base_manager.using(connection.alias).filter(progress=progress.pk)


def sections_of(connection: BaseDatabaseWrapper, rows: Sequence[Progress]) -> Mapping[int, list[Section]]:
    """The sections of each backfill, by its number, without their fences."""
    found = defaultdict[int, list[Section]](list)
    numbers = [row.pk for row in rows]
    for section in Section._base_manager.using(connection.alias).filter(progress__in=numbers).defer("fences"):
        found[section.progress].append(section)
    return found


def totals(connection: BaseDatabaseWrapper, progress: Progress) -> tuple[int, int]:
    """How many rows were looked at, an estimate, and how many were filled: these are among them."""
    sums = sections(connection, progress).aggregate(models.Sum("visited"), models.Sum("filled"))
    return _totals(progress, sums["visited__sum"] or 0, sums["filled__sum"] or 0)


def totals_with(progress: Progress, there: Sequence[Section]) -> tuple[int, int]:
    """The totals() of a backfill, from sections that were read already."""
    return _totals(progress, sum(section.visited for section in there), sum(section.filled for section in there))


def _totals(progress: Progress, visited: float, filled: int) -> tuple[int, int]:
    return max(progress.filled + filled, progress.visited + int(visited)), progress.filled + filled


def begin(
    connection: BaseDatabaseWrapper, step: Backfill, *, app_label: str, migration: str, status: Status
) -> Progress:
    """The row of a backfill: the one that there is where it was begun, else a new one.

    Raises StepFailed where rows might be filled twice.
    """
    ensure_table(connection, Section)
    ensure_table(connection, Progress)  # last: whoever finds it looks for the sections
    incarnation = _incarnation(connection, step)
    with transaction.atomic(using=connection.alias):
        known = _find(rows(connection).select_for_update(), step)
        goes_on = known and known.status in (*UNFINISHED, Status.CANCELLED) and known.is_signed
        if known and goes_on and _is_trusted(connection, known, incarnation):
            return _begun_again(connection, known, status)
        _refuse_to_guess(step, known, _begun_otherwise(connection, step, app_label, migration))
        if known:
            _delete(connection, known)
        return _new(connection, step, app_label=app_label, migration=migration, incarnation=incarnation, status=status)


def _begun_otherwise(
    connection: BaseDatabaseWrapper, step: Backfill, app_label: str, migration: str
) -> Progress | None:
    """What the migration began to fill into the same columns: somebody has edited the file since."""
    of = {"app_label": app_label, "migration": migration, "started_at__isnull": False}
    begun = rows(connection, status__in=UNFINISHED, **of) if migration else ()
    return next((row for row in begun if _fills_the_same(row.backfill, step)), None)


def _fills_the_same(one: Backfill, other: Backfill) -> bool:
    columns, others = columns_set(one), columns_set(other)
    return one.table == other.table and (columns == others or not set(columns).isdisjoint(others))


def _refuse_to_guess(step: Backfill, known: Progress | None, edited: Progress | None) -> None:
    """Where no condition tells which rows are filled, only a person can say whether to begin anew."""
    if known and known.status in UNFINISHED and not step.clears:
        raise StepFailed(
            f"{step.why}: this backfill (number {known.pk}) was begun on a table or a column that somebody has made "
            f"anew since. {_CANT_TELL} If the rows that it has filled are filled in this table, too, go on: "
            f"{to_type('safemigrations backfill run', known._state.db)}. {_anew(known)}"
        )
    if edited and not known and not (step.clears and edited.backfill.clears):
        raise StepFailed(
            f"{step.why}: this migration began to fill the same column in another way (number {edited.pk}, {edited}). "
            f"{_CANT_TELL} Bring its file back to what it was, and run the same command again. {_anew(edited)}"
        )


_CANT_TELL = "Nothing tells the rows that are filled from the others, so nothing was filled now."


def _anew(known: Progress) -> str:
    cancel = to_type(f"safemigrations backfill cancel {known.pk}", known._state.db)
    return f"Or fill every row from the start, also those that are filled: {cancel}, and run the same command again."


def _begun_again(connection: BaseDatabaseWrapper, known: Progress, status: Status) -> Progress:
    if known.status == Status.CANCELLED or (known.status != Status.RUNNING and status == Status.RUNNING):
        row(connection, known).update(status=status, last_error="", started_at=now(), is_taken_back=False)
        known.refresh_from_db(using=connection.alias)
    return known


def _new(connection: BaseDatabaseWrapper, step: Backfill, *, status: Status, **values: str) -> Progress:
    parts = parts_of(connection, step)
    return Progress._base_manager.using(connection.alias).create(
        **values,
        digest=digest(step),
        label=step.why,
        step={**to_json((step,))[0], HOME: _home(connection)},
        status=status,
        parts=[part.as_json() for part in parts],
        estimate=sum(part.rows for part in parts),
        started_at=now() if status == Status.RUNNING else None,
    )


def refuse_forged(known: Progress) -> None:
    """Its parts are names that stand in statements, and its step may name a function that is imported."""
    cancel = to_type(f"safemigrations backfill cancel {known.pk}", known._state.db)
    anew = f"Else: {cancel}, and migrate begins it anew."
    refuse_unsigned(known, cure=anew)


def unfinished(connection: BaseDatabaseWrapper, step: Backfill) -> Progress | None:
    return _find(rows(connection, status__in=UNFINISHED), step)


def is_through(connection: BaseDatabaseWrapper, step: Backfill, *, app_label: str, migration: str) -> bool:
    """Was this migration killed after it did the backfill, and before it was recorded?

    It does the backfill again all the same where the guard tells a row that is filled from one that isn't.
    """
    filters = {"app_label": app_label, "migration": migration, "status": Status.DONE, "recorded": False}
    return not step.clears and _find(rows(connection, **filters), step) is not None


def record(connection: BaseDatabaseWrapper, app_label: str, migration: str) -> None:
    """Remember that a migration is recorded: when it is applied once more, it fills once more."""
    rows(connection, app_label=app_label, migration=migration, status=Status.DONE).update(recorded=True)


def unrecord(connection: BaseDatabaseWrapper, app_label: str, migration: str) -> None:
    """The migration is to be applied again, and what it has filled stays filled."""
    rows(connection, app_label=app_label, migration=migration).update(recorded=False)


def begin_to_take_back(connection: BaseDatabaseWrapper, step: Backfill, *, replaces: Iterable[str] = ()) -> None:
    """Whoever still fills has to stop. Where nothing is set on the way back, the rows stay filled."""
    if step.undo:
        found = rows(connection, digest__in=_digests(step, replaces))
        found.filter(status__in=UNFINISHED).update(status=Status.CANCELLED, is_taken_back=True)
        found.update(is_taken_back=True)
        for known in found:  # waits for the batches under way: they would fill rows that were set back
            sections(connection, known).update(worker=0, owner=0)


def forget(connection: BaseDatabaseWrapper, step: Backfill, *, replaces: Iterable[str] = ()) -> None:
    """Fill from the start the next time; `replaces` are the names of the migrations that were squashed into this."""
    for known in rows(connection, digest__in=_digests(step, replaces)):
        _delete(connection, known)


def _delete(connection: BaseDatabaseWrapper, known: Progress) -> None:
    sections(connection, known).delete()
    known.delete()
