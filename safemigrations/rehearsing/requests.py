"""Counts requests, measures their statements, and notes failures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError

from .rows import label
from .values import NoValue

BUCKET = 0.1  # seconds
QUOTED = re.compile(r'"[^"]*"')
VALUES = re.compile(r"'(?:[^']|'')*'|\(.*\)|\d+", re.DOTALL)
RAISED = "P0001"  # by a function of the project, which may put its values between double quotes, as pgtrigger does
SQLSTATE = re.compile("[0-9A-Z]{5}")
LOST = "lost"  # the kind of a failure that is a value
REFUSED = "refused"  # and of one that a rule of the project's makes


@dataclass
class Failure:
    """A failed request, or a value that differs from what was written; equal failures are counted."""

    release: str
    model: str  # label of the model
    action: str
    kind: str  # SQLSTATE, or the class of the exception; LOST for a value, REFUSED for a rule of the project's
    message: str
    table: str = ""
    column: str = ""
    constraint: str = ""
    count: int = 1
    at: dict[str, int] = field(default_factory=dict)  # tenth of a second since the requests began -> how often
    began: float = 0  # when they began, in seconds of the rehearsal

    @property
    def reason(self) -> tuple[str, ...]:
        """What two of the same reason have in common, whichever request met it and whatever its values were.

        Generated values may be such that a constraint refuses them, and a model may keep something else than it was
        given, whatever is done with them.
        """
        if self.constraint:
            return self.kind, self.constraint
        return self.kind, self.table, self.column, "" if self.kind == LOST else self.shape

    @property
    def is_of_server(self) -> bool:
        """Did PostgreSQL refuse it? If not, the project's code did, or nobody can tell."""
        return bool(SQLSTATE.fullmatch(self.kind))

    @property
    def shape(self) -> str:
        """The message without its values."""
        shape = VALUES.sub("", self.message.partition("\n")[0])
        return QUOTED.sub("", shape) if self.kind == RAISED else shape


class Requests:
    """The requests of one process since they were last collected."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.current = ("", "")
        self.begin(time.time())

    def begin(self, at: float) -> None:
        self.began = at
        self.longest: tuple[float, str, str] = (0, "", "")  # seconds of a statement, model, action
        self.failures: dict[tuple[str, ...], Failure] = {}  # equal ones of one request once
        self.buckets: dict[int, list[float]] = {}  # tenth of a second -> requests, longest statement

    def answer(self) -> dict[str, Any]:
        return {
            "failures": [vars(failure) for failure in self.failures.values()],
            "buckets": {str(number): bucket for number, bucket in self.buckets.items()},
            "longest": self.longest,
            "release": self.release,
        }

    @contextmanager
    def request(self, model: Any, action: str) -> Iterator[None]:
        """A request of this model, None for one of the project's own; what goes wrong is noted, not raised."""
        self._bucket()[0] += 1
        self.current = (label(model) if model else "", action)
        try:
            yield
        except NoValue:
            pass  # the rehearsal couldn't make up a row, and the release did nothing
        except Exception as error:
            self.note(self.failure_of(model, action, error))

    def note(self, failure: Failure) -> None:
        known = self.failures.setdefault((failure.model, failure.action, *failure.reason), failure)
        known.count += known is not failure
        known.at[str(self._now())] = known.at.get(str(self._now()), 0) + 1

    def lose(self, model: Any, field: Any, message: str) -> None:
        _, column = field.get_attname_column()
        table = model._meta.db_table
        self.note(Failure(self.release, label(model), "read what was written", LOST, message, table, column))

    def failure_of(self, model: Any, action: str, error: Exception) -> Failure:
        said = getattr(error.__cause__ or error, "diag", None)
        return Failure(
            self.release,
            label(model) if model else "",
            action,
            getattr(said, "sqlstate", None) or _kind(error),
            (said and said.message_primary) or f"{type(error).__name__}: {str(error).strip()}",
            (said and said.table_name) or (model._meta.db_table if model else ""),
            (said and said.column_name) or "",
            (said and said.constraint_name) or "",
        )

    def timed(self, execute: Callable[..., Any], *args: Any) -> Any:
        """Goes around every statement."""
        begun = time.monotonic()
        try:
            return execute(*args)
        finally:
            bucket, seconds = self._bucket(), time.monotonic() - begun
            bucket[1] = max(bucket[1], seconds)
            self.longest = max(self.longest, (seconds, *self.current))

    def _bucket(self) -> list[float]:
        return self.buckets.setdefault(self._now(), [0, 0.0])

    def _now(self) -> int:
        return int((time.time() - self.began) / BUCKET)


def _kind(error: Exception) -> str:
    return REFUSED if isinstance(error, ValidationError | PermissionDenied) else type(error).__name__
