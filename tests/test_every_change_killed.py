"""Killed at any point and run again, every change arrives.

The default run takes the representatives of the cases (tests/representatives.py), and kills after one statement in
four; of statements that differ in names alone, after the first. Where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the
matrix, a backend is ended after each statement of every case.
What is killed when all is done and not yet recorded belongs to the walk with every case (tests/walk.py).
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
import zlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connection

from safemigrations.contracts import queue
from safemigrations.plans.indexes import BuildIndex, DropIndex
from safemigrations.plans.steps import Step
from safemigrations.running.run import Report

from . import forked
from .lock_modes import connection_pid, held_up
from .representatives import (
    ONE_IN,
    builds_of_indexes,
    classes_and_kinds,
    few,
    forms_of_plans,
    forms_of_steps,
    representatives,
)
from .snapshot import rows, snapshot
from .tried import tried

CHANGES = re.compile(r"\s*(ALTER|ANALYZE|COMMENT|CREATE|DELETE|DO|DROP|INSERT|UPDATE)\b")


def terminate(other: psycopg.Connection, pid: int) -> None:
    """End a backend and see it gone; PostgreSQL's own wait looks only ten times a second."""
    other.execute("SELECT pg_terminate_backend(%s)", [pid])
    tried("sessions ended")
    while other.execute("SELECT 1 FROM pg_stat_get_activity(%s)", [pid]).fetchone():
        time.sleep(0.001)


class Killer:
    """Ends the connection's backend after a statement that changes something, after each one once."""

    def __init__(self, connect: Any) -> None:
        self.other = connect()
        self.survived: set[str] = set()
        self.killed = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        what = re.sub("'[^']*'", "?", sql)  # a Python function gives another value each time
        chosen = not self.survived or zlib.crc32(what.encode()) % ONE_IN == 0
        form = what if ONE_IN == 1 else re.sub('"[^"]*"', '"?"', what)
        if CHANGES.match(sql) and chosen and form not in self.survived and not self.killed:
            self.survived.add(form)
            self.killed = True
            terminate(self.other, connection_pid())
        return result

    def until_it_arrives(self, act: Any) -> int:
        """Run the same thing again and again; how often it was killed."""
        self.survived.clear()
        number = sum(1 for _ in self.each_kill(act))
        act()
        return number

    def each_kill(self, act: Any) -> Iterator[None]:
        """Run it until it is killed no more; after each kill it is the caller's turn."""
        for _ in range(200):
            self.killed = False
            with connection.execute_wrapper(self), contextlib.suppress(DatabaseError, InterfaceError, CommandError):
                act()
            if not self.killed:
                return
            connection.close()
            yield
        raise AssertionError("It never arrives.")


@pytest.mark.parametrize("case", representatives(forms_of_steps), ids=repr)
def test_killed_after_any_statement_and_rerun_it_arrives(release, connect):
    start = snapshot(connection)
    release.expand()
    expanded = snapshot(connection)
    release.contract()
    contracted = snapshot(connection)
    release.back_after_contract()

    killer = Killer(connect)
    assert killer.until_it_arrives(release.expand) > 0
    release.assert_is(expanded)
    killer.until_it_arrives(release.contract)
    release.assert_is(contracted)
    assert killer.until_it_arrives(release.back) > 0
    release.assert_is(start)
    release.expand()
    assert killer.until_it_arrives(release.back) > 0
    release.assert_is(start)
    assert list(queue.rows(connection)) == []


ON_THE_WAY_BACK = representatives(forms_of_plans) if ONE_IN == 1 else few(classes_and_kinds)


@pytest.mark.parametrize("case", ON_THE_WAY_BACK, ids=repr)
def test_killed_on_the_way_back_it_arrives_where_it_was(release, connect):
    """Plain `migrate` brings back what was expanded, wherever the way back was stopped."""
    release.expand()
    expanded = snapshot(connection)
    killer = Killer(connect)
    for _ in killer.each_kill(release.back):
        release.expand()
        release.assert_is(expanded)
    assert killer.survived


# The last one gets the time when its column is added again.
LOST = {case.name for case in ON_THE_WAY_BACK if case.values_are_lost} | {"remove_field_auto_now_add"}


@pytest.mark.parametrize("case", [case for case in ON_THE_WAY_BACK if case.name not in LOST], ids=repr)
def test_killed_on_the_way_back_after_the_contract_and_turned_round_nothing_is_lost(release, connect):
    """Plain `migrate` brings back what was expanded, so going back arrives where it began, and the contract ends."""
    start = snapshot(connection)
    release.expand()
    expanded, left = snapshot(connection), len(queue.open_rows(connection))
    release.contract()
    contracted = snapshot(connection)
    release.back()
    there = rows(connection)
    release.expand()
    release.contract()
    killer = Killer(connect)
    for _ in killer.each_kill(release.back):
        release.expand()
        if len(queue.open_rows(connection)) == left:
            # Each release finds its names; indexes and constraints may have those of their twins until the contract.
            differs = release.differs(expanded, snapshot(connection))
            assert [what for what in differs if not what.startswith(("constraints ", "indexes "))] == []
        release.back()
        release.assert_is(start)
        assert rows(connection) == there
        release.expand()
        release.contract()
        release.assert_is(contracted)
    assert killer.survived


class KillInFlight(Report):
    """Ends the backend while it builds or drops an index, each index once."""

    def __init__(self, connect: Any) -> None:
        self.blocker, self.watch = connect(), connect()
        self.survived: set[str] = set()
        self.watching = contextlib.ExitStack()

    def begin(self, step: Step) -> None:
        self.watching.close()
        if isinstance(step, BuildIndex | DropIndex) and step.why not in self.survived:
            self.survived.add(step.why)
            self.watching.enter_context(held_up(self.blocker, self.watch, step.table, connection_pid(), self.kill))

    def kill(self, pid: int) -> None:
        terminate(self.watch, pid)

    def until_it_arrives(self, act: Any) -> None:
        count = -1
        while len(self.survived) > count:
            count = len(self.survived)
            with contextlib.suppress(DatabaseError, InterfaceError, CommandError):
                act(self)
            self.watching.close()
            connection.close()


@pytest.mark.parametrize("case", few(builds_of_indexes), ids=repr)
def test_killed_while_an_index_is_built_and_rerun_it_arrives(release, connect):
    start = snapshot(connection)
    release.expand()
    expanded = snapshot(connection)
    release.contract()
    contracted = snapshot(connection)
    release.back_after_contract()

    killer = KillInFlight(connect)
    killer.until_it_arrives(release.expand)
    release.assert_is(expanded)
    killer.until_it_arrives(release.contract)
    release.assert_is(contracted)
    killer.until_it_arrives(release.back)
    release.assert_is(start)
    assert killer.survived


@pytest.mark.parametrize("case", few(classes_and_kinds), ids=repr)
def test_process_killed_and_run_again_it_arrives(release):
    release.expand()
    expanded = snapshot(connection)
    release.back()
    for number in range(0, 300, ONE_IN):
        ended = forked.migrate_and_die(release.directory, release.package, release.last, after=number)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    else:
        raise AssertionError("It never arrives.")
    assert number > 2
    release.assert_is(expanded)
