"""Which releases were there a moment ago: with GATE_QUIET, a process notes its mark when it connects.

pg_stat_activity shows who is connected now. Behind PgBouncer, or without persistent connections, a release that is up
has no session between two requests.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from .. import conf
from ..postgres.names import Name
from ..typed import public_schema, schema_of
from .marks import own_mark

TABLE = "safemigrations_seen"
EVERY = 60.0  # seconds between two notes of a process about a database
NOTE = (
    "INSERT INTO {table} AS noted (mark, seen_at) VALUES (%s, now()) ON CONFLICT (mark) DO UPDATE SET seen_at = now()"
    " WHERE noted.seen_at < now() - interval '1 second'"
)

_noted: dict[str, float] = {}  # alias -> time.monotonic()


def note(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Note that this release is running. On a standby, or without the right to write there, nothing is noted."""
    due = time.monotonic() - _noted.get(connection.alias, -EVERY) >= EVERY
    if connection.vendor != "postgresql" or not due or not _is_wanted():
        return
    _noted[connection.alias] = time.monotonic()
    with suppress(Error), connection.cursor() as cursor:
        cursor.execute(NOTE.format(table=_table(connection)), [own_mark()])


def _table(connection: BaseDatabaseWrapper) -> str:
    """The table; with django-tenants the public schema's: a process serves every tenant, and connects in one schema."""
    return Name.of(TABLE, "" if schema_of(connection) is None else public_schema())


def _is_wanted() -> bool:
    try:
        return conf.marks() and conf.gate_quiet() > 0
    except ImproperlyConfigured:
        return False  # a check says so; no request fails for it


def remembered(connection: BaseDatabaseWrapper) -> dict[str, datetime]:
    """The time of each release's latest connection, as far as it was noted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [_table(connection)])
        if not cursor.fetchone()[0]:
            return {}
        cursor.execute(f"SELECT mark, seen_at FROM {_table(connection)}")
        return dict(cursor.fetchall())


def ensure(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {_table(connection)}"
            " (mark varchar(8) PRIMARY KEY, seen_at timestamptz NOT NULL)"
        )


def install() -> None:
    connection_created.connect(note, dispatch_uid="safemigrations.quiet")
