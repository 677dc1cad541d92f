"""What stands around each migration that the executor applies: its events, the ledger, and what errors say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from .. import conf
from ..contracts import loaded
from ..errors import NOTHING_WAS_CHANGED, StepFailed, said_of
from ..operations.of_migration import fits_a_transaction
from ..running.events import vocabulary as happened
from ..running.events.event import on
from ..running.run import Run, current_run, hint_of_drift
from ..typed import set_on
from .digest import digest

STAYS = "What this run did before stays, and is skipped the next time."


@contextlib.contextmanager
def told(connection: BaseDatabaseWrapper, migration: Migration, direction: str, *, fake: bool) -> Iterator[None]:
    report, began = current_run().report, time.monotonic()
    with on(connection, migration=str(migration), direction=direction):
        report.tell(happened.MigrationExpanding(fake))
        try:
            yield
        except BaseException as error:
            report.tell(happened.MigrationFailed(said_of(error), time.monotonic() - began))
            raise
        report.tell(happened.MigrationExpanded(time.monotonic() - began, fake))


def in_one_ledger(connection: BaseDatabaseWrapper, run: Run) -> contextlib.AbstractContextManager[None]:
    return loaded().ledger.together(connection) if run.fresh else contextlib.nullcontext()


@contextlib.contextmanager
def in_the_ledger(connection: BaseDatabaseWrapper, migration: Migration, direction: str = "forwards") -> Iterator[None]:
    with loaded().ledger.entered(connection, _about(migration, direction), as_a_whole=current_run().fresh):
        yield


def note_faked(connection: BaseDatabaseWrapper, migration: Migration, direction: str = "forwards") -> None:
    loaded().ledger.faked(connection, _about(migration, direction))


def _about(migration: Migration, direction: str) -> Any:
    ledger = loaded().ledger
    said = digest(migration) if direction == "forwards" and current_run().keeps_digests else ""
    return ledger.About(migration.app_label, migration.name, ledger.Direction(direction), digest=said)


def max_wait(migration: Migration) -> float | None:
    """Seconds that requests may wait for the migration; None if a person decided so, with a reason."""
    if getattr(migration, "max_wait", 0) is not None:
        return conf.max_wait()
    if not getattr(migration, "max_wait_reason", "").strip():
        raise StepFailed(
            f"{migration}: max_wait = None lets requests wait for as long as it takes. Write the reason beside it: "
            'max_wait_reason = "nobody uses this table at night".'
        )
    return None


@contextlib.contextmanager
def in_one_transaction_if_possible(migration: Migration, run: Run) -> Iterator[None]:
    """Run the migration in one transaction if only this run knows its tables: it can't be left half done then."""
    atomic = migration.atomic
    set_on(migration, atomic=atomic or fits_a_transaction(migration, run))
    try:
        yield
    finally:
        set_on(migration, atomic=atomic)


@contextlib.contextmanager
def saying_what_was_changed(run: Run) -> Iterator[None]:
    """Correct the message of a refused step: the step has changed nothing, but steps before it may have."""
    try:
        yield
    except StepFailed as error:
        if run.changed:
            error.args = (str(error).replace(NOTHING_WAS_CHANGED, STAYS),)
        raise


@contextlib.contextmanager
def suggesting_verify(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Add the command that finds drift to errors of Django's and of people's statements."""
    try:
        yield
    except DatabaseError as error:
        if hint := hint_of_drift(connection, error):
            error.add_note(hint)
        raise
