"""How a step gets two tables that requests lock in either order: sessions that go on when the test says so."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, transaction
from psycopg.pq import TransactionStatus

from safemigrations.postgres.lock import Lock
from safemigrations.running.another import another_connection
from safemigrations.running.locking import locks, two_tables
from safemigrations.running.locking.patience import Attempt
from tests.contention import Migrating, Worker, is_waiting_for_a_lock, until, until_it_has_looked_again

BOTH = {'"item"': Lock.SHARE_ROW_EXCLUSIVE, '"child"': Lock.SHARE_ROW_EXCLUSIVE}
MODE = "ShareRowExclusiveLock"


@pytest.fixture
def session(database, connect, monkeypatch):
    """One that looks on, beside two tables. The step has the time that the test needs."""
    monkeypatch.setattr(two_tables, "LOOKS_FOR", 60.0)
    session = connect()
    session.execute("CREATE TABLE item (id int); CREATE TABLE child (id int)")
    return session


def write(session: Any, *tables: str) -> Any:
    """What a request has locked, in a transaction that stays open."""
    if session.info.transaction_status == TransactionStatus.IDLE:
        session.execute("BEGIN")
    for table in tables:
        session.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
    return session


def take(connection: Any) -> list[str]:
    """One try, which would last for longer than the test; what it has then."""
    with transaction.atomic():
        locks.acquire(connection, BOTH, Attempt(500))
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT relation::regclass::text FROM pg_locks WHERE {OWN} AND granted ORDER BY 1")
            return [table for (table,) in cursor.fetchall()]


OWN = f"pid = pg_backend_pid() AND mode = '{MODE}'"


def in_the_queue(session: Any) -> list[tuple[str, str]]:
    """Which tables are waited for, and in which mode."""
    query = f"SELECT relation::regclass::text, mode FROM pg_locks WHERE NOT granted AND {HERE} ORDER BY 1, 2"
    return list(session.execute(query).fetchall())


HERE = "locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"


def until_it_has_looked(session: Any, pid: int) -> None:
    """At who has what, from the beginning to the end."""
    query = "SELECT FROM pg_stat_activity WHERE pid = %s AND query ~ 'virtualtransaction'"
    until(lambda: session.execute(query, [pid]).fetchall())
    until_it_has_looked_again(session, pid)


@pytest.fixture
def known(database, session, connect, monkeypatch):
    """Two requests that the step has seen with both tables, the step, and what lets it begin. It gets to know them."""
    monkeypatch.setattr(two_tables, "GETS_TO_KNOW", 600.0)
    one, other = write(connect(), "child", "item"), write(connect(), "child", "item")
    migrating = Migrating(take)
    until_it_has_looked(session, migrating.pid)
    for request in (one, other):
        request.execute("COMMIT")
    return one, other, migrating, lambda: monkeypatch.setattr(two_tables, "GETS_TO_KNOW", 0.0)


def test_it_stands_in_both_queues_when_nobody_has_only_one_of_the_tables(session, known, connect):
    """Whoever comes then waits with nothing in its hands, and behind the step."""
    one, other, migrating, begin = known
    write(one, "child")
    write(other, "item")
    begin()
    until_it_has_looked(session, migrating.pid)
    assert in_the_queue(session) == []
    write(one, "item")  # nobody keeps it from that
    until(lambda: in_the_queue(session) == [("item", MODE)])
    write(other, "child")
    until(lambda: in_the_queue(session) == [("child", MODE), ("item", MODE)])
    late = connect()
    comes = Worker(lambda: write(late, "child"))
    until(lambda: is_waiting_for_a_lock(session, late.info.backend_pid))
    one.execute("COMMIT")
    other.execute("COMMIT")
    assert migrating.result() == ["child", "item"]
    comes.result()
    until(lambda: not in_the_queue(session))


def test_a_try_ends_early_when_a_request_and_the_step_wait_for_each_other(session, known):
    """Else the request would wait for as long as the try may last. The step tries again at once."""
    one, other, migrating, begin = known
    write(other, "item")
    begin()
    until(lambda: in_the_queue(session) == [("item", MODE)])
    write(one, "child")
    Worker(lambda: write(one, "item")).result()
    until(lambda: ("item", MODE) in in_the_queue(session))
    one.execute("COMMIT")
    other.execute("COMMIT")
    assert migrating.result() == ["child", "item"]


def test_after_a_while_it_tries_though_somebody_has_only_one_and_somebody_only_the_other(session, known, monkeypatch):
    one, other, migrating, begin = known
    write(one, "child")
    write(other, "item")
    begin()
    monkeypatch.setattr(two_tables, "LOOKS_FOR", 0.0)
    ((table, mode),) = until(lambda: in_the_queue(session))
    assert mode == MODE
    request = one if table == "item" else other
    Worker(lambda: write(request, table)).result()
    with pytest.raises(OperationalError) as caught:
        migrating.result()
    assert locks.is_retried(caught.value)
    for request in (one, other):
        request.execute("COMMIT")


def test_those_who_use_one_table_alone_keep_it_from_nothing(session, known, connect):
    """They end, or wait behind the step with nothing that it wants."""
    one, _, migrating, begin = known
    alone = write(connect(), "item"), write(connect(), "child")
    write(one, "item", "child")
    begin()
    until(lambda: in_the_queue(session) == [("child", MODE), ("item", MODE)])
    for request in (one, *alone):
        request.execute("COMMIT")
    assert migrating.result() == ["child", "item"]


def test_without_a_connection_to_spare_it_tries_all_the_same(session, connect, monkeypatch):
    def nowhere(connection):
        other = another_connection(connection)
        other.settings_dict["PORT"] = "1"
        return other

    monkeypatch.setattr(two_tables, "another_connection", nowhere)
    request = write(connect(), "child", "item")
    migrating = Migrating(take)
    until(lambda: in_the_queue(session) == [("item", MODE)])
    request.execute("COMMIT")
    assert migrating.result() == ["child", "item"]
