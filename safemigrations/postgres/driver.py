"""Which of its two drivers Django uses: psycopg 3 wherever that can be imported, psycopg2 elsewhere."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections


def driver() -> str:
    """psycopg or psycopg2; empty where no database is a PostgreSQL, or neither is there."""
    try:
        found: list[Any] = [one for one in connections.all() if one.vendor == "postgresql"]
    except ImproperlyConfigured:
        return ""
    return str(found[0].Database.__name__) if found else ""


def has_psycopg2() -> bool:
    """Is it installed? It isn't imported for that."""
    return find_spec("psycopg2") is not None
