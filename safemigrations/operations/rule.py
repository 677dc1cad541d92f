"""Rules: each recognises a harmful stock operation in its place, and says what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import DeleteModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from ..data import Data
from ..typed import model_state
from .home import home_of

# error: requests fail or wait. warning: they may. note: the harm is real and small.
Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


class Context(Data):
    """What a rule knows: the states around the operation, and the other changes of the release."""

    app_label: str
    before: ProjectState
    after: ProjectState
    release: Sequence[tuple[str, Operation]] = ()  # (app label, operation), this one included
    start: ProjectState | None = None  # before the first operation of the release

    def model_before(self, model_name: str) -> ModelState:
        return model_state(self.before, self.app_label, model_name)

    def model_after(self, model_name: str) -> ModelState:
        return model_state(self.after, self.app_label, model_name)

    def connection_of(self, model_name: str) -> BaseDatabaseWrapper:
        """A connection that spells types as the model's database does; "default" if no other takes the model."""
        return home_of(self.model_before(model_name)) or connections[DEFAULT_DB_ALIAS]

    def deletes(self, model_name: str) -> bool:
        """Does the same release delete the model?"""
        return any(
            isinstance(other, DeleteModel) and (label, other.name_lower) == (self.app_label, model_name.lower())
            for label, other in self.release
        )


class Option(Data):
    """An answer that a person may choose for a refused change, and the operations that then make the change."""

    model_name: str
    field_name: str
    name: str  # of what is written into models.py; empty for nothing
    value: str
    operations: tuple[Operation, ...]
    question: str
    field: str = ""  # as a whole, where models.py doesn't have it: Django makes the key of a child by itself

    @property
    def text(self) -> str:
        return f'{self.name}="{self.value}"'

    def __str__(self) -> str:
        return f"{self.text} of {self.model_name}.{self.field_name}"


class Finding(Data):
    """An operation that would hurt: who is hurt, how, and what to write instead."""

    message: str
    replacement: tuple[Operation, ...] = ()  # empty: refused
    way_by_hand: str = ""  # for what is refused
    notice: str = ""  # what the person who gets the replacement written has to know
    level: Level = "error"
    options: tuple[Option, ...] = ()  # one of which makes it possible


class Rule(Data):
    """Recognises one kind of unsafe stock operation. The autodetector and the checks both ask it.

    `find` is asked about operations of just the type that it `handles`, or about the parts of an AlterField.
    """

    id: str
    handles: type | tuple[type, ...]
    find: Callable[[Any, Context], Finding | None]

    def is_for(self, kind: type) -> bool:
        return kind in self._kinds

    @property
    def stock(self) -> set[str]:
        """The names of the stock operations that the rule may find unsafe."""
        return {getattr(kind, "stands_for", kind).__name__ for kind in self._kinds}

    @property
    def _kinds(self) -> tuple[type, ...]:
        return self.handles if isinstance(self.handles, tuple) else (self.handles,)
