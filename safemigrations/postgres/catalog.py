# ruff: noqa: F403
"""The probes, queries and names of this room under one name."""

from __future__ import annotations

from . import indexes
from .blocks import *
from .columns import *
from .constraints import *
from .dependents import *
from .indexes import *
from .names import *
from .names import Name
from .tables import *
from .triggers import *
from .values import *


def raw(name: str) -> str:
    return Name.from_django(name).raw


def schema_of(table: str) -> str:
    """The schema, without quotes, that a quoted table name gives; empty where it gives none."""
    return table.rpartition('"."')[0].removeprefix('"')


def bare(table: str) -> str:
    return Name(table).raw


def beside(table: str, name: str) -> str:
    return Name(table).beside(name)


def valid_index_exists(table: str, name: str) -> str:
    return indexes.index_exists(table, name, valid=True)
