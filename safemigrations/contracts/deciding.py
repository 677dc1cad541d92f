"""What people decide about rows of the contract queue: to postpone, skip, resume, adopt or trust them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from django.core.management.base import CommandError
from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from ..errors import to_type
from ..running.events import vocabulary as happened
from ..running.events.event import Event
from ..running.events.listeners import tell_when_kept
from . import acts, queue
from .on_disk import Key
from .releases import names_known, newer_that_knows
from .table import HOLDING, Contract, Status

CHANGED = ("status", "until", "reason", "app_label", "migration", "signature")  # by a decision: never the plan


def postpone(
    connection: BaseDatabaseWrapper, numbers: Sequence[int], *, until: datetime | None, reason: str, user: str = ""
) -> list[Contract]:
    """Keep rows from running until a moment; None: until somebody resumes them. `user`: who asked for it on a page."""

    def change(row: Contract) -> None:
        row.status, row.until, row.reason = Status.POSTPONED, until, reason

    when = until.isoformat() if until else None
    details = {"until": when} if when else {}
    rows = _each(connection, numbers, change, "postpone", reason, **acts.by(user), **details)
    _tell(connection, (happened.ContractPostponed(**row.told, reason=reason, user=user, until=when) for row in rows))
    return rows


def skip(connection: BaseDatabaseWrapper, numbers: Sequence[int], *, reason: str, user: str = "") -> list[Contract]:
    """Never run these rows, until somebody resumes them. What they would remove stays."""

    def change(row: Contract) -> None:
        row.status, row.until, row.reason = Status.SKIPPED, None, reason

    rows = _each(connection, numbers, change, "skip", reason, **acts.by(user))
    _tell(connection, (happened.ContractSkipped(**row.told, reason=reason, user=user) for row in rows))
    return rows


def resume(connection: BaseDatabaseWrapper, numbers: Sequence[int], *, reason: str, user: str = "") -> list[Contract]:
    """Take back that they were postponed or skipped."""

    def change(row: Contract) -> None:
        if row.status not in (Status.POSTPONED, Status.SKIPPED):
            raise CommandError(f"Row {row.pk} is neither postponed nor skipped: {row}. {_look(connection)}")
        row.status, row.until, row.reason = Status.FAILED if row.is_begun else Status.PENDING, None, ""

    rows = _each(connection, numbers, change, "resume", reason, **acts.by(user))
    _tell(connection, (happened.ContractResumed(**row.told, reason=reason, user=user) for row in rows))
    return rows


def adopt(connection: BaseDatabaseWrapper, numbers: Sequence[int], *, migration: str, reason: str) -> list[Contract]:
    """Give rows whose migration is gone from the code to one that this code has, and that is applied."""
    known = names_known()
    label, name = _applied_here(connection, migration, known)
    before: dict[int, str] = {}

    def change(row: Contract) -> None:
        _refuse_what_is_not_lost(connection, row, known)
        before[row.pk] = f"{row.app_label}.{row.migration}"
        row.app_label, row.migration = label, name

    rows = _each(connection, numbers, change, "adopt", reason, migration=migration)
    _tell(
        connection,
        (happened.ContractAdopted(**row.told, reason=reason, user="", before=before[row.pk]) for row in rows),
    )
    return rows


def trust(connection: BaseDatabaseWrapper, numbers: Sequence[int], *, reason: str) -> list[Contract]:
    """Sign rows whose plan a person has checked."""
    rows = _each(connection, numbers, Contract.sign, "trust", reason)
    _tell(connection, (happened.ContractTrusted(**row.told, reason=reason, user="") for row in rows))
    return rows


def _tell(connection: BaseDatabaseWrapper, events: Iterable[Event]) -> None:
    for event in events:
        tell_when_kept(connection, event)


def _each(
    connection: BaseDatabaseWrapper,
    numbers: Iterable[int],
    change: Callable[[Contract], None],
    act: str,
    reason: str,
    **details: str,
) -> list[Contract]:
    """Apply `change` to all of these rows or to none; a row that is running is waited for."""
    with transaction.atomic(using=connection.alias):
        rows = [_row(connection, number) for number in numbers]
        for row in rows:
            acts.keep(connection, row, act, reason=reason, **details)  # under the name that it had
            change(row)
            _save(connection, row)
    return rows


def _row(connection: BaseDatabaseWrapper, number: int) -> Contract:
    row = queue.rows(connection, pk=number, status__in=HOLDING).select_for_update().first()
    if row is None:
        raise CommandError(
            f"No row {number} is left for the contract in database {connection.alias}. {_look(connection)}"
        )
    return row


def _look(connection: BaseDatabaseWrapper) -> str:
    return f"Look with: {to_type('safemigrations status', connection.alias)}"


def _save(connection: BaseDatabaseWrapper, row: Contract) -> None:
    try:
        row.save(using=connection.alias, update_fields=CHANGED)
    except IntegrityError as error:
        raise CommandError(
            f"{row.app_label}.{row.migration} has left the same for the contract itself: {row.label}. "
            f"Skip row {row.pk} instead, if both do the same. {_look(connection)}"
        ) from error


def _applied_here(connection: BaseDatabaseWrapper, migration: str, known: frozenset[Key]) -> Key:
    label, _, name = migration.partition(".")
    if (label, name) not in known:
        raise CommandError(
            f"This code has no migration {migration}. Write it as showmigrations does: shop.0012_squash."
        )
    if (label, name) not in MigrationRecorder(connection).applied_migrations():
        raise CommandError(f"{migration} isn't applied in database {connection.alias}. Run migrate first.")
    return label, name


def _refuse_what_is_not_lost(connection: BaseDatabaseWrapper, row: Contract, known: frozenset[Key]) -> None:
    """Only a row whose migration is gone from the code may be adopted, not one that a newer release has."""
    if (row.app_label, row.migration) in known:
        raise CommandError(f"This code has {row.app_label}.{row.migration}, so row {row.pk} needs nobody to adopt it.")
    newer = newer_that_knows(connection, row.app_label, row.migration)
    if newer:
        raise CommandError(
            f"{row.app_label}.{row.migration} belongs to {newer}, which is newer than this code. "
            "Run migrate --contract with that release, or a later one."
        )
