"""The sessions that use the database now, and the release of each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..data import Data
from .marks import mark_in, without_mark

POLL = 0.25  # seconds between two looks
BREAK = 1.0  # seconds without a look after which what was seen before doesn't count
TOOLS = ("psql", "pg_dump", "pg_dumpall", "pg_restore")  # PostgreSQL's own clients: they need no shape of a table


class Seen(Data):
    """A session in this database at one moment."""

    pid: int
    application_name: str
    role: str
    address: str
    state: str  # empty where this role may not see it
    connected: float | None  # seconds since it connected
    changed: float | None  # seconds in its present state

    @property
    def mark(self) -> str | None:
        return mark_in(self.application_name)

    @property
    def name(self) -> str:
        """The application_name without the mark."""
        return without_mark(self.application_name)

    @property
    def is_a_tool(self) -> bool:
        return self.application_name in TOOLS

    def as_dict(self) -> dict[str, Any]:
        """Plain data for listeners."""
        return {
            "pid": self.pid,
            "application": self.name,
            "role": self.role,
            "address": self.address,
            "release": self.mark or "",
            "state": self.state,
            "connected_seconds": self.connected,
        }


# A role without pg_read_all_stats sees neither backend_type nor the times of others, but their names.
LOOK = """
    SELECT pid, application_name, coalesce(usename, ''), coalesce(host(client_addr), ''), coalesce(state, ''),
        extract(epoch FROM clock_timestamp() - backend_start)::float,
        extract(epoch FROM clock_timestamp() - state_change)::float
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL
        AND coalesce(backend_type, 'client backend') = 'client backend'
    ORDER BY pid
"""


def look(connection: BaseDatabaseWrapper) -> list[Seen]:
    """Every session but this one, as it is at this moment."""
    with connection.cursor() as cursor:
        cursor.execute(LOOK)
        return [Seen(*row) for row in cursor.fetchall()]


def watch(connection: BaseDatabaseWrapper, seconds: float, is_enough: Callable[[Sequence[Seen]], bool]) -> list[Seen]:
    """Every session seen within these seconds, as it was seen last.

    Watching ends early when what was seen is enough. A release that connects for each request, or through a pooler,
    isn't visible at every look.
    """
    looks = _remembered.get() or Looks()
    while True:
        looks.add(look(connection), keep=seconds)
        left = seconds - looks.span
        if left <= 0 or is_enough(looks.seen):
            return looks.seen
        time.sleep(min(POLL, left))


class Looks:
    """The results of looks that follow each other without a break."""

    def __init__(self) -> None:
        self.looks = list[tuple[float, list[Seen]]]()  # with time.monotonic()

    def add(self, seen: list[Seen], *, keep: float) -> None:
        """Add the result of a look; `keep` is how many seconds earlier results count."""
        moment = time.monotonic()
        if self.looks and moment - self.looks[-1][0] > BREAK:
            self.looks.clear()
        while len(self.looks) > 1 and self.looks[1][0] <= moment - keep:
            del self.looks[0]
        self.looks.append((moment, seen))

    @property
    def span(self) -> float:
        """Seconds from the first look to the last."""
        return self.looks[-1][0] - self.looks[0][0]

    @property
    def seen(self) -> list[Seen]:
        """Each session as it was seen last; behind a pooler one session serves several releases in turn."""
        return [*{(session.pid, session.mark): session for _, seen in self.looks for session in seen}.values()]


_remembered: ContextVar[Looks | None] = ContextVar("safemigrations_looks", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Let contracts that run one after the other, in several schemas, share their looks at the sessions."""
    token = _remembered.set(Looks())
    try:
        yield
    finally:
        _remembered.reset(token)
