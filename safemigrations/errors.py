"""What can go wrong, in words for the person at the terminal."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connections

from .typed import is_testing, schema_of

NOTHING_WAS_CHANGED = "Nothing was changed."  # in every refusal: after what was found, before what to do


def to_type(command: str, alias: str | None) -> str:
    """The command that a message tells people to type, with the database that the message is about.

    Row numbers mean something else in another database. In a test the command is a call_command(), because manage.py
    would use the project's own database.
    """
    command += "" if alias in (None, DEFAULT_DB_ALIAS) else f" --database {alias}"
    command += _schema(command, alias)
    if is_testing():
        return f"call_command({', '.join(repr(word) for word in command.split())})"
    return f"python manage.py {command}"


def _schema(command: str, alias: str | None) -> str:
    """The option --schema: with django-tenants each schema has numbers and migrations of its own."""
    schema = schema_of(connections[alias]) if alias and not command.startswith("sqlmigrate") else None
    return f" --schema {schema}" if schema else ""


def said_of(error: BaseException) -> str:
    """The text that is kept of an error; its class, if the error has no text."""
    return str(error).strip() or ("interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)


class StepFailed(CommandError):
    """A step could not be done; says what failed, what stays, and what to do."""


class NotNow(CommandError):
    """The gate said no: nothing is wrong, and the same command may be run again later."""

    STATUS = 75  # EX_TEMPFAIL of sysexits.h: try again later

    def __init__(self, text: str) -> None:
        super().__init__(text, returncode=self.STATUS)


class NeedsAutocommit(StepFailed, NotSupportedError):
    """A step that must run outside a transaction was about to run inside one."""


class LockNotAcquired(CommandError):
    """A table stayed locked for LOCK_RETRY_FOR seconds; nothing was changed, the command can be run again."""


class KeptOthersWaiting(CommandError):
    """Requests waited for a migration for longer than MAX_WAIT; it was stopped, its transaction rolled back."""


class NotComputable(StepFailed, ValueError):
    """An expression names something that its model doesn't have."""
