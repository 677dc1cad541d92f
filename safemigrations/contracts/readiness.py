"""Can this release serve requests on these databases? Made for probes: raises nothing and reveals no secret."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, Error, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.utils.connection import ConnectionDoesNotExist

from ..data import Data
from ..typed import is_configured, schema_of
from .marks import own_mark
from .on_disk import Key, on_disk
from .releases import names_known
from .table import Contract

MOMENT = 1.0  # seconds that an answer holds: a probe that asks more often costs the database nothing
PATIENCE = 2.0  # seconds to wait for another thread's answer


class Readiness(Data):
    """The reasons why this release can't use a database; empty if there are none."""

    database: str
    unapplied: tuple[str, ...] = ()  # migrations of this release
    contracted: tuple[str, ...] = ()  # rows whose migration this release doesn't know, and that have begun to run
    trouble: str = ""  # why nothing could be found out
    migrated: bool = True  # was any migration ever applied here?

    @property
    def is_ready(self) -> bool:
        return not (self.unapplied or self.contracted or self.trouble)

    def __str__(self) -> str:
        reasons = [
            *(f"{name} isn't applied" for name in self.unapplied),
            *(f"the contract of a migration that this release doesn't know has run: {row}" for row in self.contracted),
            *filter(None, [self.trouble]),
        ]
        return f"{self.database}: {'; '.join(reasons) or 'ready'}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "ready": self.is_ready,
            "unapplied": self.unapplied,
            "contracted": self.contracted,
            "trouble": self.trouble,
        }


def readiness(aliases: Collection[str] = ()) -> list[Readiness]:
    """The answer for each database; where none is named, for "default" and for every other one ever migrated.

    Not for a "default" without an engine, or in which the routers let no model live.
    """
    answers = [_recent(alias) for alias in aliases or connections if is_configured(connections[alias])]
    return [answer for answer in answers if aliases or answer.migrated or _is_used_default(answer.database)]


def _is_used_default(alias: str) -> bool:
    return alias == DEFAULT_DB_ALIAS and any(router.allow_migrate_model(alias, one) for one in apps.get_models())


_answers: dict[tuple[str, str], tuple[float, Readiness]] = {}
_asking = defaultdict[str, threading.Lock](threading.Lock)


def _schema(alias: str) -> str:
    """The schema that django-tenants has chosen: each has its own migrations and queue."""
    return schema_of(connections[alias]) or "" if alias in connections else ""


def _recent(alias: str) -> Readiness:
    """The latest answer.

    One thread asks; the others wait for its answer, so they don't pile up behind a database that hangs.
    """
    if not _asking[alias].acquire(timeout=PATIENCE):
        return Readiness(alias, trouble=f"it hasn't answered for {PATIENCE:g} s")
    try:
        place = alias, _schema(alias)
        if place not in _answers or time.monotonic() - _answers[place][0] >= MOMENT:
            _answers[place] = time.monotonic(), ask(alias)
        return _answers[place][1]
    finally:
        _asking[alias].release()


def ask(alias: str) -> Readiness:
    """The answer of this moment."""
    try:
        return _found(connections[alias])
    except ConnectionDoesNotExist:
        return Readiness(alias, trouble="the settings have no such database")
    except Error as error:  # its text may hold the host, the role, the name of the database
        return Readiness(alias, trouble=f"it could not be asked ({type(error.__cause__ or error).__name__})")


def _found(connection: BaseDatabaseWrapper) -> Readiness:
    migrations, queue = _tables(connection)
    if not migrations:
        return Readiness(connection.alias, trouble="no migration was ever applied here", migrated=False)
    applied, begun = _rows(connection, with_queue=queue)
    wanted = on_disk().names
    foreign = {key for key, _ in begun} - wanted
    if foreign:
        foreign -= _squashed_before(connection)
    return Readiness(
        connection.alias,
        unapplied=tuple(f"{label}.{name}" for label, name in sorted(wanted - applied)),
        contracted=tuple(sorted(row for key, row in begun if key in foreign)),
    )


MIGRATIONS = MigrationRecorder.Migration._meta.db_table
QUEUE = Contract._meta.db_table
NOTED = (
    "SELECT app, name FROM safemigrations_release, jsonb_each(migrations) AS known (app, names),"
    " jsonb_array_elements_text(names) AS name WHERE mark = %s"
)


def _squashed_before(connection: BaseDatabaseWrapper) -> frozenset[Key]:
    """What this release knows besides its files: `migrate` noted which migrations its squashes replaced."""
    with connection.temporary_connection() as cursor:
        cursor.execute("SELECT to_regclass('safemigrations_release') IS NOT NULL")
        if cursor.fetchone()[0]:
            cursor.execute(NOTED, [own_mark()])
            return names_known() | set(cursor.fetchall())
    return names_known()


Tables = tuple[bool, bool]  # is MIGRATIONS there, is QUEUE?
APPLIED = f"SELECT app, name, NULL FROM {MIGRATIONS}"
BEGUN = f"SELECT app_label, migration, label FROM {QUEUE} WHERE attempts > 0"


def _rows(connection: BaseDatabaseWrapper, *, with_queue: bool) -> tuple[set[Key], list[tuple[Key, str]]]:
    """The migrations that are applied, and the rows of the queue that have begun to run, in one query."""
    with connection.temporary_connection() as cursor:
        cursor.execute(f"{APPLIED} UNION ALL {BEGUN}" if with_queue else APPLIED)
        rows = cursor.fetchall()
    applied = {(label, name) for label, name, text in rows if text is None}
    return applied, [((label, name), f"{label}.{name}  {text}") for label, name, text in rows if text is not None]


_there: dict[tuple[str, str, str], Tables] = {}
FIND = (
    f"SELECT m.oid IS NOT NULL, q.oid IS NOT NULL FROM to_regclass('{MIGRATIONS}') AS found"
    " LEFT JOIN pg_class m ON m.oid = found"
    f" LEFT JOIN pg_class q ON q.relname = '{QUEUE}' AND q.relnamespace = m.relnamespace"
)


def _tables(connection: BaseDatabaseWrapper) -> Tables:
    """Which of the two tables exist; asked until both do, as neither is ever dropped."""
    key = connection.alias, _schema(connection.alias), str(connection.settings_dict["NAME"])
    if key in _there:
        return _there[key]
    with connection.temporary_connection() as cursor:
        if connection.vendor != "postgresql":
            return MIGRATIONS in connection.introspection.table_names(cursor), False
        cursor.execute(FIND)
        found: Tables = cursor.fetchone()
    if all(found):
        _there[key] = found
    return found
