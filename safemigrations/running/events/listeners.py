"""Who hears every event, in whatever way the work was begun: receivers of the signals, the logs, what was added."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal

from ... import signals
from . import logs, spans
from .event import Event, on, place

IN_TRANSACTION = 2  # of libpq's PQtransactionStatus: neither failed nor lost


def told(event: Event) -> dict[str, Any]:
    """The plain data of an event: when and where it happened, then its details."""
    return {"event": event.name(), "at": datetime.now(UTC).isoformat(), **vars(place()), **event.details()}


def tell(event: Event) -> None:
    """A listener that fails is logged, and breaks nothing."""
    data = told(event)
    for hear in (logs.write, spans.trace, _send):
        try:
            hear(event, data)
        except Exception:
            logs.ROOT.exception("A listener failed for %s", data["event"])


def _send(event: Event, data: dict[str, Any]) -> None:
    signal: Signal = getattr(signals, event.name())
    if signal.has_listeners():
        _send_robustly(signal, data)


def _send_robustly(signal: Signal, data: dict[str, Any]) -> None:
    """A receiver that raises is logged by Django; within a transaction nothing stays of what it sent."""
    connection = transaction.get_connection(data["database"] or None)
    if not _can_have_a_savepoint(connection):
        signal.send_robust(sender=None, **data)
        return
    with transaction.atomic(using=connection.alias):
        answers = signal.send_robust(sender=None, **data)
        if any(isinstance(answer, Exception) for _, answer in answers):
            transaction.set_rollback(True, using=connection.alias)


def _can_have_a_savepoint(connection: BaseDatabaseWrapper) -> bool:
    """Is it in a transaction in which nothing has failed yet?"""
    if not connection.in_atomic_block or connection.needs_rollback or connection.vendor != "postgresql":
        return False
    return bool(connection.connection.info.transaction_status == IN_TRANSACTION)


def tell_when_kept(connection: BaseDatabaseWrapper, event: Event) -> None:
    """Tell what a person decided, once it is committed."""

    def tell_now() -> None:
        with on(connection):
            tell(event)

    transaction.on_commit(tell_now, using=connection.alias)
