"""What other sessions do in this database: old transactions, prepared transactions, event triggers."""

from __future__ import annotations

from collections.abc import Iterator

from ...postgres.names import Name
from ...postgres.surroundings import event_triggers, hidden_sessions, old_transactions, prepared_transactions
from ...running.locking.blockers import Blocker
from ...running.one_at_a_time import OWN, holders_of
from ...running.session import Session
from .remark import Remark, Severity

OLD = 60.0  # seconds
NAMED = 5
WAITS = "Building an index waits for it, and so does each step on a table that it has used."


def transactions(session: Session, older_than: float = OLD) -> Iterator[Remark]:
    """Transactions older than this many seconds.

    Nothing waits for the transaction that holds the lock of a migrate, so it is left out.
    """
    found = [Blocker(*row) for row in session.rows(old_transactions(older_than, holders_of(OWN)))]
    for blocker in found[:NAMED]:
        yield Remark(
            "old_transaction",
            Severity.WARN,
            f"A transaction is {blocker.age:.0f} s old: {blocker}. {WAITS}",
            f"Wait until it has ended, or type: SELECT pg_terminate_backend({blocker.pid});",
        )
    if len(found) > NAMED:
        yield Remark(
            "old_transaction",
            Severity.WARN,
            f"{len(found) - NAMED} more transactions are older than {older_than:.0f} s.",
        )


def hidden(session: Session) -> Iterator[Remark]:
    ((many, role),) = session.rows(f"SELECT ({hidden_sessions()}), current_user::text")
    if many:
        yield Remark(
            "old_transaction",
            Severity.NOTE,
            f"The role {role} can't see what {many} sessions of other roles are at, nor since when.",
            f"GRANT pg_read_all_stats TO {Name.of(role)};",
        )


def prepared(session: Session) -> Iterator[Remark]:
    for gid, age in session.rows(prepared_transactions()):
        yield Remark(
            "prepared_transaction",
            Severity.WARN,
            f"The transaction {gid} was prepared {age:.0f} s ago, and hasn't ended. {WAITS}",
            f"Let whoever prepared it end it, or type: ROLLBACK PREPARED {gid};",
        )


def triggers(session: Session) -> Iterator[Remark]:
    for name, event, function in session.rows(event_triggers()):
        yield Remark(
            "event_trigger",
            Severity.NOTE,
            f"The event trigger {name} runs {function}() at {event}, in the transaction of each step that alters "
            "something. What it refuses fails, and what it does takes time under the step's locks.",
            f"Look what it does: \\sf {function}",
        )
