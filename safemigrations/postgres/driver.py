"""The driver that Django uses: psycopg 3 if it can be imported, else psycopg2."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

ONLY_PSYCOPG2 = (
    "Django uses psycopg2 here, as psycopg 3 can't be imported, and safemigrations works with psycopg 3 alone."
)
INSTALL_PSYCOPG = 'Type: pip install "psycopg[binary]"'


def driver_of(connection: Any) -> str:
    """psycopg or psycopg2; empty where it isn't a PostgreSQL."""
    return str(connection.Database.__name__) if connection.vendor == "postgresql" else ""


def driver() -> str:
    """The driver of any database; empty if none is PostgreSQL, or if none can be loaded."""
    try:
        return next(filter(None, map(driver_of, connections.all())), "")
    except ImproperlyConfigured:
        return ""


def has_psycopg2() -> bool:
    """Is it installed? It isn't imported for that."""
    return find_spec("psycopg2") is not None
