"""PostgreSQL's own grammar, where pglast is installed: what reads SQL."""

from __future__ import annotations

import importlib.util
from types import ModuleType

NO_GRAMMAR = "SQL is read only where pglast is installed: pip install 'safemigrations[lint]'"
HAS_GRAMMAR = importlib.util.find_spec("pglast") is not None


def loaded() -> ModuleType:
    """The module `sql.reader`, where HAS_GRAMMAR says that there is one.

    With pglast it takes 27 ms of the 330 of `manage.py check`, and few commands meet SQL that people wrote.
    """
    from .sql import reader

    return reader
