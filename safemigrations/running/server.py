"""What a server has to be before a run begins: found before anything is touched, and said in a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import StepFailed
from .settings import READABLE, settled


@contextlib.contextmanager
def writable(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """A session that can write, and whose answers can be read. Raises StepFailed for one that can't write."""
    if connection.vendor != "postgresql":
        yield
        return
    with settled(connection, READABLE):
        _refuse_read_only(connection)
        yield


def _refuse_read_only(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool")
        is_standby, is_read_only = cursor.fetchone()
    if is_standby:
        raise StepFailed(
            f"The server of database {connection.alias!r} is a standby, which takes no writes. Nothing was changed. "
            "Migrate the primary."
        )
    if is_read_only:
        raise StepFailed(
            f"Sessions of database {connection.alias!r} are read-only (default_transaction_read_only is on). Nothing "
            "was changed. Somebody may have frozen it for a move to another server. If nobody has, type: ALTER "
            "DATABASE ... RESET default_transaction_read_only; or set it to off for the role that migrates."
        )
