"""safemigrations accept: the file of an applied migration was edited, and comes to the same."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.recorder import MigrationRecorder

from safemigrations.inspecting.edited import accept
from safemigrations.management import databases

HELP = "Say that the file of an applied migration may differ from what was applied: both come to the same."


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("app_label")
    parser.add_argument("migration_name", help="Its name, or the beginning of it.")
    databases.add_argument(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    connection, label, prefix = connections[options["database"]], options["app_label"], options["migration_name"]
    applied = MigrationRecorder(connection).applied_migrations()
    names = [name for app, name in applied if app == label and name.startswith(prefix)]
    if len(names) != 1 and prefix not in names:
        raise CommandError(f"{len(names)} applied migrations of {label!r} begin with {prefix!r}. Write the whole name.")
    try:
        migration = accept(connection, label, prefix if prefix in names else names[0])
    except (AmbiguityError, KeyError):
        raise CommandError(f"This code has no file of {label}.{prefix}, so there is nothing to accept.") from None
    command.stdout.write(f"Accepted: {migration}")
