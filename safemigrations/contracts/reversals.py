"""Migrations whose way back began and hasn't ended: they count as applied, and aren't any more.

Whoever goes back again goes on. Whoever migrates forwards applies such a migration once more, which brings back what
was expanded. The contract waits until one of the two has happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

from django.apps.registry import Apps
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timezone import now

from ..errors import NOTHING_WAS_CHANGED, StepFailed, to_type
from ..plans.temporary import Object, removal
from ..postgres.names import Name
from ..postgres.temporary import temporary_objects
from ..running.backfill import progress as backfills
from ..running.of_tenant import is_here
from ..running.readable import Readable
from ..running.run import Report
from ..running.runner import Runner
from ..running.session import Session
from ..running.storage import Own, ensure_table, has_table
from .held import names_of
from .on_disk import Key


class Reversal(Readable):
    """A migration whose way back has begun and not ended."""

    app_label = models.CharField(max_length=255)
    migration = models.CharField(max_length=255)
    record = models.BigIntegerField()  # its row in django_migrations: one that is applied anew has another
    temporary = models.JSONField(default=list)  # the objects of ours that were there before
    expanded = models.JSONField(null=True)  # the operations of which nothing is contracted any more
    is_expanding = models.BooleanField(default=False, db_default=False)  # is one on its way from contracted to there?
    back_to = models.CharField(max_length=255)  # what `migrate` is given to go on
    began_at = models.DateTimeField(default=now)

    forms: ClassVar[Mapping[str, type]] = {"temporary": list, "expanded": list}

    class Meta(Own):
        apps = Apps()
        db_table = "safemigrations_reversal"

    def __str__(self) -> str:
        return f"{self.app_label}.{self.migration}"

    @property
    def how_to_go_on(self) -> str:
        return to_type(f"migrate {self.app_label} {self.back_to}", self._state.db)

    @property
    def explanation(self) -> str:
        return (
            f"The way back of {self} began and was stopped half way. To go on: {self.how_to_go_on}. To bring back what "
            f"was expanded: {to_type('migrate', self._state.db)}"
        )


def begun(connection: BaseDatabaseWrapper) -> list[Reversal]:
    """The reversals of migrations that still count as applied."""
    if connection.vendor != "postgresql" or not has_table(connection, Reversal):
        return []
    found = list(Reversal._base_manager.using(connection.alias).order_by("id"))
    applied = MigrationRecorder(connection).applied_migrations() if found else {}
    records = {key: record.pk for key, record in applied.items()}
    return [one for one in found if records.get((one.app_label, one.migration)) == one.record]


def keys(connection: BaseDatabaseWrapper) -> set[Key]:
    return {(one.app_label, one.migration) for one in begun(connection)}


def begin(connection: BaseDatabaseWrapper, migration: Migration, *, back_to: str) -> None:
    key = migration.app_label, migration.name
    if (record := MigrationRecorder(connection).applied_migrations().get(key)) is None:
        return  # only what it replaces is recorded
    ensure_table(connection, Reversal)
    if not _of(connection, *key):
        values = {"record": record.pk, "back_to": back_to, "temporary": _temporary(connection), "expanded": []}
        values["is_expanding"] = False
        Reversal._base_manager.using(connection.alias).update_or_create(
            app_label=key[0], migration=key[1], defaults=values
        )


def expanded(connection: BaseDatabaseWrapper, app_label: str, migration: str) -> list[str]:
    """The operations that have come back from contracted to expanded, or further."""
    return [each for one in _of(connection, app_label, migration) for each in one.expanded or ()]


def begin_to_expand(connection: BaseDatabaseWrapper, app_label: str, migration: str) -> None:
    for one in _of(connection, app_label, migration):
        one.is_expanding = True
        one.save(using=connection.alias, update_fields=["is_expanding"])


def note_expanded(connection: BaseDatabaseWrapper, app_label: str, migration: str, operation: str) -> None:
    for one in _of(connection, app_label, migration):
        one.expanded, one.is_expanding = [*(one.expanded or ()), operation], False
        one.temporary = _temporary(connection)  # they belong to what is expanded
        one.save(using=connection.alias, update_fields=["expanded", "is_expanding", "temporary"])


def _of(connection: BaseDatabaseWrapper, app_label: str, migration: str) -> list[Reversal]:
    """The reversal of this migration, if its way back has begun and not ended."""
    return [one for one in begun(connection) if (one.app_label, one.migration) == (app_label, migration)]


def refused(connection: BaseDatabaseWrapper, half_way: Collection[Key]) -> Iterator[str]:
    """Where nothing tells rows that are taken back from the others, nobody can bring back what was expanded."""
    for one in begun(connection) if half_way else ():
        for backfill in backfills.rows(connection, app_label=one.app_label, is_taken_back=True):
            if (one.app_label, one.migration) in half_way and not backfill.backfill.clears:
                yield (
                    f"The way back of {one} began to take back the rows of a backfill ({backfill}), and nothing tells "
                    f"these rows from the others. {NOTHING_WAS_CHANGED} Go on first: {one.how_to_go_on}. Then run the "
                    "same command again."
                )


def end(connection: BaseDatabaseWrapper, migration: Migration) -> None:
    found = Reversal._base_manager.using(connection.alias)
    found.filter(app_label=migration.app_label, migration=migration.name).delete()


def remove_what_it_made(connection: BaseDatabaseWrapper, migration: Migration, report: Report) -> None:
    """Remove what the way back made for itself: one of its checks would reject what the new release may write.

    On the way from contracted to expanded it makes what is needed there.
    """
    for reversal in _of(connection, migration.app_label, migration.name):
        if not reversal.is_expanding:
            made = [each for each in _temporary(connection) if list(each) not in reversal.temporary]
            Runner(connection, report).run(removal(made))


def turn_round(connection: BaseDatabaseWrapper, migration: Migration) -> None:
    """Turn a half reversed migration, of which nothing is contracted any more, into a half applied one."""
    recorder = MigrationRecorder(connection)
    with transaction.atomic(using=connection.alias):
        for name in names_of(migration):
            recorder.record_unapplied(migration.app_label, name)
            backfills.unrecord(connection, migration.app_label, name)
        end(connection, migration)


def _temporary(connection: BaseDatabaseWrapper) -> list[Object]:
    found = (tuple(row) for row in Session(connection).rows(temporary_objects()))
    return [(kind, table, *more) for kind, table, *more in found if is_here(connection, Name(table))]


def refuse_contract(connection: BaseDatabaseWrapper) -> None:
    if found := begun(connection):
        explanations = ". ".join(one.explanation for one in found)
        raise StepFailed(f"{explanations}. Nothing was changed. Then run the contract again.")
