"""A second connection to a database, beside the one that does the work."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..typed import follow


def another_connection(connection: BaseDatabaseWrapper, options: dict[str, Any] | None = None) -> BaseDatabaseWrapper:
    """A connection that opens on first use; the caller closes it.

    It comes from no pool: a pool may be empty, and would hand the connection on. The project's own `options` win over
    these.
    """
    other = connection.copy()
    follow(other, connection)
    kept = {name: value for name, value in other.settings_dict["OPTIONS"].items() if name != "pool"}
    other.settings_dict.update(OPTIONS={**(options or {}), **kept}, CONN_HEALTH_CHECKS=False)
    return other
