"""All questions of preflight, in the order in which a person reads the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from ...running.foreseeing.ahead import Ahead
from ...running.session import Session
from . import disk, others, replication, session
from .remark import Remark, Severity


def of_server(connection: BaseDatabaseWrapper) -> list[Remark]:
    """What keeps every run from beginning, whatever it is going to do."""
    return list(session.refused(connection))


def of_plan(connection: BaseDatabaseWrapper, ahead: Ahead, refusals: Iterable[str] = ()) -> list[Remark]:
    """What refuses this plan, and what surrounds it; asked before the command takes its lock."""
    found = [Remark.of_refusal("plan", text) for text in refusals]
    asked = Session(connection)
    found += [*_around(asked, ahead, holds_lock=False), *session.pooler(asked)]
    found += [*others.hidden(asked), *others.triggers(asked)]
    return sorted(found, key=lambda remark: list(Severity).index(remark.severity))


def warnings(connection: BaseDatabaseWrapper, ahead: Ahead) -> list[Remark]:
    """The warnings before the first step of a run that has its lock; notes are left out."""
    around = _around(Session(connection), ahead, holds_lock=True)
    return [remark for remark in around if remark.severity is Severity.WARN]


def _around(asked: Session, ahead: Ahead, *, holds_lock: bool) -> Iterator[Remark]:
    yield from session.writers(asked)
    yield from session.free(asked, ahead, holds_lock=holds_lock)
    yield from session.ended_by_timeouts(asked, ahead)
    yield from others.transactions(asked)
    yield from others.prepared(asked)
    yield from replication.lag(asked)
    yield from replication.subscribers(asked, ahead)
    yield from disk.room(asked, ahead)
