"""The transaction of a batch: short, and with settings of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ... import conf
from ...typed import server_version
from ..locking import locks
from .table import fetch

NONE: Mapping[str, str] = {}
METHODS = "'lz4', 'zstd'"  # of compressing WAL, the best first


@contextlib.contextmanager
def short_transaction(
    connection: BaseDatabaseWrapper, patience: float, settings: Mapping[str, str] = NONE, *, first: str = "SELECT 1"
) -> Iterator[list[tuple[Any, ...]]]:
    """A transaction with timeouts of its own: those of the role and of the pooler are meant for requests.

    It gives the rows of the query `first`, which costs no round trip of its own. Nothing waits for its commit to reach
    the disk: a crash of the server takes the rows together with the position. Each statement checks deferred
    constraints: at the commit nobody could say any more which row they reject.
    """
    with transaction.atomic(using=connection.alias):
        settings = {
            **settings,
            "lock_timeout": f"{locks.milliseconds(patience)}",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "synchronous_commit": "off",
            "jit": "off",  # it would compile anew for each batch
        }
        if server_version(connection) >= 170000:
            settings["transaction_timeout"] = "0"
        with connection.cursor() as cursor:
            set_all = "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())
            begin = f"SET TRANSACTION ISOLATION LEVEL READ COMMITTED; {set_all}; SET CONSTRAINTS ALL IMMEDIATE"
            cursor.execute(f"{begin}; {first}")
            while cursor.nextset():
                pass
            found = list(cursor.fetchall())
        yield found


def compression_of(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    """The setting that compresses WAL, half of which are images of pages, where nobody decided otherwise.

    lz4 and zstd cost no time; PostgreSQL's own method costs more than it saves.
    """
    if server_version(connection) < 150000:
        return NONE
    found = fetch(
        connection,
        f"SELECT method FROM pg_settings, unnest(ARRAY[{METHODS}]) WITH ORDINALITY AS methods (method, number)"
        " WHERE name = 'wal_compression' AND setting = 'off' AND source = 'default' AND method = ANY (enumvals)"
        " AND has_parameter_privilege(name, 'SET') ORDER BY number LIMIT 1",
    )
    return {"wal_compression": found[0][0]} if found else NONE


def patience_of(connection: BaseDatabaseWrapper) -> float:
    """Seconds that a batch waits for a row: few enough that it loses a deadlock with a request."""
    return min(conf.lock_timeout(), locks.deadlock_timeout(connection) / 2)
