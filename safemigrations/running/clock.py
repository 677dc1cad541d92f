"""The server's clock. Moments that machines compare with each other's are read from it: their own clocks may differ."""

from __future__ import annotations

import time
from datetime import datetime
from typing import cast

from django.db.backends.base.base import BaseDatabaseWrapper


def server_time(connection: BaseDatabaseWrapper) -> datetime:
    """The server's time, without a time zone where the project uses none, as values of a DateTimeField."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (found,) = cursor.fetchone()
    return cast(datetime, found)


def ago(moment: float) -> str:
    """A moment of time.monotonic(), as an expression for a statement that is sent at once."""
    return f"now() - interval '{time.monotonic() - moment:.6f} s'"
