"""The session itself: behind a pooler, read-only, with timeouts, or without room for a second connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from ... import conf
from ...errors import StepFailed
from ...postgres.names import Name
from ...postgres.surroundings import free_connections, timeouts, where_and_who
from ...running.foreseeing.ahead import Ahead
from ...running.one_at_a_time import refuse_lost_session, second_connection
from ...running.own_tables import open_to_others
from ...running.pooler import is_pooled, refuse_pooler
from ...running.server import refuse_unwritable
from ...running.session import Session
from .remark import Remark, Severity

SOURCES = {
    "client": "set in OPTIONS of DATABASES, or by PGOPTIONS",
    "user": "set for the role",
    "database": "set for the database",
    "database user": "set for the role in this database",
    "session": "set by code of the project",
}


def refused(connection: BaseDatabaseWrapper) -> Iterator[Remark]:
    """What keeps a run from beginning."""
    asked: dict[str, Callable[[], object]] = {
        "pooler": lambda: refuse_pooler(connection),
        "writable": lambda: refuse_unwritable(connection),
        "second_connection": lambda: _try_second(connection),
    }
    for name, ask in asked.items():
        try:
            ask()
        except StepFailed as error:
            yield Remark.of_refusal(name, str(error))


def _try_second(connection: BaseDatabaseWrapper) -> None:
    """Open the connection that holds the lock of a run, and take no lock."""
    session = Session(connection)
    ((pid,),) = session.rows("SELECT pg_backend_pid()")
    with second_connection(connection) as own:
        refuse_lost_session(connection, pid, own)


def pooler(session: Session) -> Iterator[Remark]:
    if conf.pooler() == "session" and is_pooled(session.connection):
        yield Remark("pooler", Severity.NOTE, "A pooler is in between, and POOLER says that it keeps sessions.")


def ended_by_timeouts(session: Session, ahead: Ahead) -> Iterator[Remark]:
    """Timeouts that may end statements of people. Our steps set them to 0 for themselves."""
    found = session.rows(timeouts())
    if not found:
        return
    ((role, database),) = session.rows(where_and_who())
    for name, value, source in found:
        where = SOURCES.get(source, "set in the server's configuration")
        severity, whom = Severity.NOTE, "RunPython and RunSQL"
        if ahead.of_others and name != "lock_timeout":
            severity, whom = Severity.WARN, ", ".join(ahead.of_others[:3])
        yield Remark(
            "timeout",
            severity,
            f"{name} is {value} ({where}): it counts for statements of {whom}, and not for our steps.",
            _without(name, source, role, database),
        )


def _without(name: str, source: str, role: str, database: str) -> str:
    if source in ("client", "session"):
        return f"If they take longer, leave {name} out for the process that migrates."
    alter = f"ALTER ROLE {Name.of(role)} IN DATABASE {Name.of(database)} SET {name} = 0;"
    return f"If they take longer, migrate as a role of its own, for which somebody types: {alter}"


def writers(session: Session) -> Iterator[Remark]:
    """Who may write the tables whose content is run: a contract, or a backfill, refuses to begin then."""
    if statements := open_to_others(session.connection):
        yield Remark(
            "own_tables",
            Severity.WARN,
            "Others may write tables whose content is run with the rights of this role: no contract and no backfill "
            "runs while that is so.",
            f"Look whether what they hold is yours, and type: {' '.join(statements)}",
        )


def free(session: Session, ahead: Ahead, *, holds_lock: bool) -> Iterator[Remark]:
    """Are there free connections for the lock, the watchdog, and the watch of a backfill?"""
    wanted = {"its lock": not holds_lock, "its watchdog": conf.max_wait() is not None, "its backfill": ahead.fills}
    needs = [what for what, is_wanted in wanted.items() if is_wanted]
    for what, left, limit in session.rows(free_connections()):
        if left < len(needs):
            ((role, database),) = session.rows(where_and_who())
            more = _more(what, role, database, limit)
            yield Remark("connections", Severity.WARN, _few(what, max(0, left), limit, needs), more)


def _few(what: str, left: int, limit: int, needs: list[str]) -> str:
    many = "1 connection" if left == 1 else f"{left} connections"
    return (
        f"{many} of {limit} are free by the limit of the {what}, and a migrate takes further ones for "
        f"{' and '.join(needs)}. Without them it fails, or watches nobody."
    )


def _more(what: str, role: str, database: str, limit: int) -> str:
    match what:
        case "role":
            return f"ALTER ROLE {Name.of(role)} CONNECTION LIMIT {limit + 3};"
        case "database":
            return f"ALTER DATABASE {Name.of(database)} CONNECTION LIMIT {limit + 3};"
    return "End sessions that nobody needs, put a pooler before the application, or raise max_connections."
