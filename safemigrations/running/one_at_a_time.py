"""Two runs at once: the second waits until the first has ended.

A run holds two advisory locks. One is on a connection of its own, which no migration can close, and on which nothing
happens but a look, before each migration and each step, at whether it is still there. The other is on the connection
that does the work: when the process is killed, that one stays until the server has ended the statement that it was at.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from hashlib import sha256
from typing import Any

from django.db import DatabaseError, Error, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import StepFailed
from ..typed import server_version, tenant_of
from .another import another_connection
from .locking.blockers import Blocker, session_of
from .lost import lost_in_words, reason
from .of_tenant import refuse_lost_schema
from .pooler import refuse_pooler

WORK = 7_283_946_510_022  # of the advisory lock on the connection that does the work; nobody else uses the constant
OWN = WORK + 1  # of the one on a connection of its own
OF_TENANTS = {WORK: 0x5AFE_0001, OWN: 0x5AFE_0002}  # the upper half of the key where each tenant has a lock of its own
LOWER = 0xFFFF_FFFF
POLL = 0.2  # seconds
ASK_AFTER = 0.1  # seconds; a new database applies ten migrations in that time
SOON = 2.0  # seconds in which the server ends a session that was closed
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10}  # seconds; firewalls forget connections that are silent
PID = "SELECT pg_backend_pid()"

Tell = Callable[[Blocker | None], Any]  # who is in the way; None: nobody any more


class _Own:
    """The connection of the lock."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection, self.answered = connection, time.monotonic()

    def look(self) -> None:
        """Raise DatabaseError if it is gone. Whoever ends it tells its socket, also between two questions."""
        if time.monotonic() - self.answered < ASK_AFTER and _is_silent(self.connection):
            return
        _value(self.connection, "SELECT 1")
        self.answered = time.monotonic()


_own: ContextVar[dict[str, _Own]] = ContextVar("safemigrations_own")  # by the alias of the database


@contextlib.contextmanager
def one_at_a_time(connection: BaseDatabaseWrapper, waiting: Tell) -> Iterator[None]:
    """Let one run work on this database; `waiting` is told who the other is, once.

    This asks again and again. A session that waits for an advisory lock holds a snapshot, and a CREATE INDEX
    CONCURRENTLY of the run that holds the lock would wait for that snapshot.
    """
    if connection.vendor != "postgresql" or connection.alias in _own.get({}):  # a migration that calls migrate
        yield
        return
    refuse_pooler(connection)
    pid: int = _value(connection, PID)
    tell = _once(waiting)
    with _own_lock(connection, tell) as own, _work_lock(connection, tell):
        refuse_lost_session(connection, pid, own)
        token = _own.set({**_own.get({}), connection.alias: _Own(own)})
        try:
            with lost_in_words():
                yield
        finally:
            _own.reset(token)


def _once(waiting: Tell) -> Tell:
    told: list[Blocker | None] = []

    def tell(who: Blocker | None) -> None:
        if not told:
            told.append(who)
            waiting(who)

    return tell


# On a connection of its own.


@contextlib.contextmanager
def _own_lock(connection: BaseDatabaseWrapper, tell: Tell) -> Iterator[BaseDatabaseWrapper]:
    with second_connection(connection) as own:
        while not _value(own, f"SELECT pg_try_advisory_xact_lock({key_of(OWN, connection)})"):
            own.rollback()
            tell(_holder(connection))
            time.sleep(POLL)
            _begin(own)
        yield own


@contextlib.contextmanager
def second_connection(connection: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """A connection for the lock, in its transaction. Raises StepFailed where none is free."""
    own = another_connection(connection, KEEPALIVE)
    own.settings_dict["AUTOCOMMIT"] = False
    try:
        _open(own)
        _begin(own)
        yield own
    finally:
        with contextlib.suppress(Error):
            own.close()


def _open(own: BaseDatabaseWrapper) -> None:
    """Open the connection.

    If few connections are allowed, one that was just closed counts until the server has ended it.
    """
    end = time.monotonic() + SOON
    while not own.connection:
        try:
            own.ensure_connection()
        except OperationalError as error:
            if time.monotonic() > end:
                raise StepFailed(
                    "migrate needs a second connection, for the lock that keeps another migrate out: "
                    f"{str(error).strip()}. Nothing was changed."
                ) from error
            time.sleep(POLL)


def refuse_lost_session(connection: BaseDatabaseWrapper, pid: int, own: BaseDatabaseWrapper) -> None:
    """Raise StepFailed where a pooler has given this connection's session, `pid`, to somebody else, such as `own`."""
    if pid == _value(own, PID) or pid != _value(connection, PID):
        raise StepFailed(
            f"The pooler before database {connection.alias!r} gives one session to several clients, so it is in "
            "transaction mode, although POOLER says 'session'. Nothing was changed. Use the host and port of the "
            "server itself for migrations, or let the pooler keep sessions (pool_mode = session)."
        )


def _begin(own: BaseDatabaseWrapper) -> None:
    """Begin the transaction that holds the lock: also behind a pooler it stays where it is.

    READ COMMITTED holds no snapshot between two statements, so nothing waits for it.
    """
    settings = ["idle_in_transaction_session_timeout"]
    settings += ["transaction_timeout"] if server_version(own) >= 170000 else []
    changes = [f"set_config('{name}', '0', true)" for name in settings]
    with own.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute(f"SELECT {', '.join(changes)}")


def look(connection: BaseDatabaseWrapper) -> None:
    """Raise StepFailed if this run has lost its lock, which lives as long as its transaction, or its schema."""
    own = _own.get({}).get(connection.alias)
    try:
        if own:
            own.look()
    except DatabaseError as error:
        raise StepFailed(
            f"The connection that held the lock of this migrate is gone ({reason(error)}). "
            "Another migrate may run by now, so this one stops. What was done before stays. Run the same command again."
        ) from error
    refuse_lost_schema(connection)


def _is_silent(own: BaseDatabaseWrapper) -> bool:
    """Is the session open, and has nothing come from it?"""
    session: Any = own.connection
    if session.closed:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(session, selectors.EVENT_READ)
        return not selector.select(timeout=0)


# On the connection that does the work.


@contextlib.contextmanager
def _work_lock(connection: BaseDatabaseWrapper, tell: Tell) -> Iterator[None]:
    work = key_of(WORK, connection)
    while not _value(connection, f"SELECT pg_try_advisory_lock({work})"):
        tell(_holder(connection))
        time.sleep(POLL)
    try:
        yield
    except BaseException:
        with contextlib.suppress(Error):  # the session may end at this moment, and its lock with it
            if connection.is_usable():
                _value(connection, f"SELECT pg_advisory_unlock({work})")
        raise
    if connection.is_usable() and not _value(connection, f"SELECT pg_advisory_unlock({work})"):
        _refuse_to_leave_it(connection, work)


def _refuse_to_leave_it(connection: BaseDatabaseWrapper, work: int) -> None:
    """This session isn't the one that took the lock. Raise StepFailed where that one keeps it.

    One that a migration has closed is gone in a moment.
    """
    end = time.monotonic() + SOON
    while pid := _value(connection, f"SELECT ({_holders(work)} LIMIT 1)"):
        if time.monotonic() > end:
            raise StepFailed(
                f"What was to be done is done. But the lock of this migrate stays in the session {pid}, which a pooler "
                f"may give to others, and the next migrate would wait for it. Type: SELECT pg_terminate_backend({pid})"
            )
        time.sleep(POLL)


def key_of(lock: int, connection: BaseDatabaseWrapper) -> int:
    """The key of WORK or OWN: runs in different tenants' schemas don't wait for each other."""
    tenant = tenant_of(connection)
    return OF_TENANTS[lock] << 32 | int.from_bytes(sha256(tenant.encode()).digest()[:4]) if tenant else lock


def holders_of(lock: int) -> str:
    """The processes that hold WORK or OWN in this database, for any schema."""
    return f"{_HOLDERS} AND (classid = {OF_TENANTS[lock]} OR {_is(lock)})"


def _holders(key: int) -> str:
    return f"{_HOLDERS} AND {_is(key)}"


def _is(key: int) -> str:
    return f"classid = {key >> 32} AND objid = {key & LOWER}"


_HOLDERS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid IS NOT NULL"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def _holder(connection: BaseDatabaseWrapper) -> Blocker | None:
    """The session that does the work, while it holds that lock."""
    work, own = (_holders(key_of(lock, connection)) for lock in (WORK, OWN))
    pid: int | None = _value(connection, f"SELECT coalesce(({work}), ({own}))")
    return session_of(connection, pid) if pid else None


def _value(connection: BaseDatabaseWrapper, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]
