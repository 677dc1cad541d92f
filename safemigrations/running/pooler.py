"""Finds out whether a pooler stands between this process and the server.

In transaction mode each transaction may run in another session of the server: a lock of the session stays behind on one
that the pooler hands to somebody else, and settings of a session become another one's. A server gives its client a key
at the start, by which the client cancels statements, and the key holds the pid of the session. A pooler gives keys of
its own, so that pid is another one than the session itself says: measured with PgBouncer 1.18.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from ..errors import StepFailed


def refuse_pooler(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed behind a pooler, unless POOLER says that its sessions are kept."""
    if conf.pooler() == "session" or not is_pooled(connection):
        return
    raise StepFailed(
        f"Database {connection.alias!r} is reached through a pooler. Nothing was changed. A migrate holds locks and "
        "settings in its session, and a pooler in transaction mode gives that session to others. Use the host and port "
        "of the server itself for migrations, such as in another entry of DATABASES. Where the pooler keeps a session "
        'for as long as its client is connected, write SAFEMIGRATIONS = {"POOLER": "session"}.'
    )


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return bool(pid != connection.connection.info.backend_pid)
