"""Warns at the end of a command about tables that differ from what the migrations say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.core.management.base import BaseCommand
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations import conf
from safemigrations.errors import to_type
from safemigrations.inspecting.drift.line import Line
from safemigrations.inspecting.drift.touched import by_migrations
from safemigrations.inspecting.drift.verify import Drift
from safemigrations.running.run import Run

AT_MOST = 4  # differences


def verify_run(command: BaseCommand, connection: BaseDatabaseWrapper, run: Run, verbosity: int) -> None:
    """`run` has touched tables."""
    if state := run.state:
        verify(command, connection, verbosity, lambda: by_migrations(connection, state, run.touched))


def verify(command: BaseCommand, connection: BaseDatabaseWrapper, verbosity: int, look: Callable[[], Drift]) -> None:
    """What the command had to do is done, so whatever this finds or meets is a warning."""
    if not (verbosity and conf.verify_touched()):
        return
    try:
        drift = look()
    except Exception as error:  # also what fields and routers of others raise
        command.stdout.write(command.style.WARNING(f"The tables of this run could not be verified: {error}"))
        return
    _print(command, connection, drift, verbosity)


def _print(command: BaseCommand, connection: BaseDatabaseWrapper, drift: Drift, verbosity: int) -> None:
    if drift.lines:
        command.stdout.write(command.style.WARNING("Every step is done, and this differs from the migrations:"))
    for line, statements in drift.lines[:AT_MOST]:
        command.stdout.write(shown(line, statements))
    if len(drift.lines) > AT_MOST:
        more = to_type("safemigrations verify --sql", connection.alias)
        command.stdout.write(f"{len(drift.lines) - AT_MOST} more differences: {more}")
    if verbosity > 1 and not drift.lines:
        tables = "1 table" if drift.compared == 1 else f"{drift.compared} tables"
        command.stdout.write(f"Verified: {tables}, as the migrations say.")


def shown(line: Line, statements: Sequence[str]) -> str:
    """A line, and below it what repairs it."""
    repair = [line.command] if line.command else [f"{sql};" for sql in statements]
    return "\n".join([f"{line.label}: {line.text}", *(f"  {text}" for text in repair)])
