"""What a command that changes the database says before its first step: a few lines of preflight."""

from __future__ import annotations

from django.core.management.base import BaseCommand
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.errors import to_type
from safemigrations.inspecting.preflight import asked
from safemigrations.management.undecided import say_undecided
from safemigrations.running.foreseeing.ahead import Ahead

AT_MOST = 4  # lines


def warn(command: BaseCommand, connection: BaseDatabaseWrapper, ahead: Ahead, *, ask: str = "") -> None:
    """`ask` is what to add to the command that says more."""
    say_undecided(command, connection, ahead.applies)
    remarks = asked.warnings(connection, ahead)
    for remark in remarks[:AT_MOST]:
        command.stdout.write(command.style.WARNING(f"Before the first step: {remark.found}"))
    if remarks:
        more = f"{len(remarks) - AT_MOST} more, and what to do" if len(remarks) > AT_MOST else "What to do"
        command.stdout.write(f"{more}: {to_type(f'safemigrations preflight{ask}', connection.alias)}")
