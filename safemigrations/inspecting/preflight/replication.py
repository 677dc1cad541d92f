"""Replicas and slots that lag behind, and subscribers that need a column first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ... import conf
from ...postgres.names import Name
from ...postgres.surroundings import (
    publications,
    replicas_behind,
    slots_behind,
    slots_without_reader,
    subscriptions,
)
from ...running.foreseeing.ahead import Ahead, AllowsMore
from ...running.session import Session
from .remark import Remark, Severity

KEEPS = "It retains the WAL that a migration writes, until the disk is full."


def lag(session: Session) -> Iterator[Remark]:
    """Replicas beyond the limits at which backfills wait; and slots that nobody reads, whatever they retain."""
    seconds, gigabytes = conf.backfill_replica_lag(), conf.backfill_retained_wal()
    for replica, behind in session.rows(replicas_behind(seconds)) if seconds else ():
        yield Remark(
            "replica",
            Severity.WARN,
            f"The replica {replica} is {behind:.1f} s behind. Backfills wait for it (BACKFILL_REPLICA_LAG).",
            "Look what holds it up: SELECT * FROM pg_stat_replication;",
        )
    for slot, retained in session.rows(slots_behind(round(gigabytes * 2**30))) if gigabytes else ():
        yield Remark(
            "replication_slot",
            Severity.WARN,
            f"The replication slot {slot} retains {retained} of WAL. Backfills wait for it (BACKFILL_RETAINED_WAL).",
            "Look who reads it: SELECT * FROM pg_replication_slots;",
        )
    for slot, quoted, retained in session.rows(slots_without_reader()):
        yield Remark(
            "replication_slot",
            Severity.WARN,
            f"Nobody reads the replication slot {slot}, which retains {retained} of WAL by now. {KEEPS}",
            f"Start its reader, or where it is left over, type: SELECT pg_drop_replication_slot({quoted});",
        )


def subscribers(session: Session, ahead: Ahead) -> Iterator[Remark]:
    """Replication stops where a subscriber's table lacks a column that is published, or refuses a null.

    https://www.postgresql.org/docs/current/logical-replication-subscription.html
    """
    if not ahead.tables:
        return
    published = dict(session.rows(publications(sorted(ahead.tables))))
    for table, names in published.items():
        name, by = _raw(table), ", ".join(names)
        if first := [one for one in ahead.allowing if one.table == table]:
            yield Remark(
                "publication",
                Severity.WARN,
                f"{name} is published by {by}, and gets {_what(first)}",
                f"Type on each subscriber, first: {' '.join(map(str, first))}",
            )
        else:
            yield Remark(
                "publication",
                Severity.NOTE,
                f"{name} is published by {by}. What changes here changes at no subscriber by itself.",
                "Give each subscriber what allows more (a table, a column) first, and what allows less afterwards.",
            )
    for table, names in session.rows(subscriptions(sorted(ahead.tables))):
        yield Remark(
            "subscription",
            Severity.WARN,
            f"The subscription {', '.join(names)} fills {_raw(table)}: rows that a new constraint rejects stop it, and "
            "triggers don't see them.",
            "Migrate here before the publisher gets a column, and after it has dropped one.",
        )


def _what(first: Sequence[AllowsMore]) -> str:
    columns = any(one.is_of_column for one in first)
    nulls = not all(one.is_of_column for one in first)
    gets = [*(["columns"] if columns else []), *(["nulls where none were"] if nulls else [])]
    refuses = [*(["lacks"] if columns else []), *(["forbids"] if nulls else [])]
    return f"{' and '.join(gets)}. A subscriber that {' or '.join(refuses)} them stops."


def _raw(table: str) -> str:
    """The name of the table, for people."""
    name = Name(table)
    return ".".join(filter(None, [name.schema, name.raw]))
