"""What every event has, and where things happen: the run, the database, the migration."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper

from ...data import Data
from ...typed import schema_of
from ..locking.blockers import Blocker


class Place(Data):
    """Where something happens; what isn't known, or is nothing, is empty."""

    run: str = ""  # the id of the command, or of the task
    database: str = ""  # its alias
    migration: str = ""  # "shop.0007_total"
    direction: str = ""  # forwards, backwards, contract, backfill
    row: int | None = None  # of the contract queue
    backfill: int | None = None  # its number
    schema: str = ""  # with django-tenants, where the run is at work
    parent: str = ""  # the id of the run that has started this one, as one of its workers


_place: ContextVar[Place | None] = ContextVar("safemigrations_place", default=None)


def place() -> Place:
    return _place.get() or Place()


@contextlib.contextmanager
def at(**known: Any) -> Iterator[None]:
    """What happens meanwhile happens there."""
    token = _place.set(replace(place(), **known))
    try:
        yield
    finally:
        _place.reset(token)


def on(connection: BaseDatabaseWrapper, **known: Any) -> AbstractContextManager[None]:
    """What happens meanwhile happens on this database, in the schema that is chosen there."""
    return at(database=connection.alias, schema=schema_of(connection) or "", **known)


class Event(Data):
    """Something that has happened. Its details are plain data with names that stay."""

    level: ClassVar[int] = logging.INFO

    @classmethod
    def name(cls) -> str:
        """The name of its signal: step_done for StepDone."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def carries(cls) -> tuple[str, ...]:
        """The names of its details."""
        return tuple(cls.field_names())

    def details(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in vars(self).items()}

    def text(self) -> str:
        """The line of a log. No statement of another session stands in it."""
        raise NotImplementedError


def _plain(value: Any) -> Any:
    if isinstance(value, Blocker):
        return value.as_dict()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
