"""Real contention for tests: sessions that hold something, and ordinary queries whose waits are measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

PATIENCE = 30.0  # seconds after which a condition is taken as never coming


def until(condition: Callable[[], Any]) -> Any:
    """What the condition gives as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"It did not become true within {PATIENCE:.0f} s."
        time.sleep(0.005)
    return result


class Worker:
    """Something that runs beside the test; `result` waits for its end and raises what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.value: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.value = self.work()
        except BaseException as error:
            self.error = error

    @property
    def is_running(self) -> bool:
        return self.thread.is_alive()

    def result(self) -> Any:
        self.thread.join(PATIENCE)
        assert not self.is_running, f"It did not end within {PATIENCE:.0f} s."
        if self.error:
            raise self.error
        return self.value


class Traffic:
    """One thread for each statement, which sends it again and again and notes how long it took."""

    def __init__(self, dsn: str, statements: Sequence[str]) -> None:
        self.dsn, self.over = dsn, threading.Event()
        self.waits: list[float] = []
        self.errors: list[psycopg.Error] = []
        self.threads = [threading.Thread(target=self._send, args=(statement,)) for statement in statements]

    def _send(self, statement: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True, application_name="traffic") as connection:
            while not self.over.is_set():
                began = time.monotonic()
                try:
                    connection.execute(statement)  # type: ignore[call-overload]
                except psycopg.Error as error:
                    self.errors.append(error)
                self.waits.append(time.monotonic() - began)
                self.over.wait(0.005)

    @property
    def worst(self) -> float:
        return max(self.waits)


@contextmanager
def traffic(dsn: str, *statements: str) -> Iterator[Traffic]:
    """Ordinary queries during the block; none of them may fail."""
    running = Traffic(dsn, statements)
    for thread in running.threads:
        thread.start()
    try:
        until(lambda: len(running.waits) > len(statements))
        yield running
    finally:
        running.over.set()
        for thread in running.threads:
            thread.join(PATIENCE)
    assert running.errors == []


def is_waiting_for_a_lock(connection: psycopg.Connection, pid: int) -> bool:
    """Does this backend stand in a queue?"""
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    return bool(connection.execute(query, [pid]).fetchone() == (True,))
