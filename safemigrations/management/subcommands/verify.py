"""safemigrations verify: is the database what the migrations say?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from safemigrations.durations import duration
from safemigrations.inspecting.drift.inspection import Inspection
from safemigrations.inspecting.drift.verify import Drift, find
from safemigrations.management import databases
from safemigrations.management.verifying import shown

HELP = "Compare a database with what its migrations say; exit with 1 when they differ."


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("labels", nargs="*", metavar="app", help="Only the tables of these apps.")
    databases.add_argument(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=["text", "json"], default="text")
    form.add_argument("--sql", action="store_true", help="Print only the statements that repair what is found.")
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="Leave out a table, or a part of one: shop_report, shop_order.total, 'legacy_*'. May be given again.",
    )
    parser.add_argument(
        "--older-than", type=duration, metavar="SPAN", help="Name contracts that have waited for longer, such as 7d."
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    connection = connections[options["database"]]
    if connection.vendor != "postgresql":
        raise CommandError(f"Database {connection.alias!r} isn't PostgreSQL: there is nothing to compare.")
    for label in options["labels"]:
        _require(label)
    inspection = Inspection(connection, labels=options["labels"], older_than=options["older_than"])
    drift = find(inspection, options["ignore"])
    if options["sql"]:
        _print_statements(command, drift)
    elif options["format"] == "json":
        command.stdout.write(json.dumps(_as_dict(connection.alias, drift), indent=2))
    else:
        _print(command, connection.alias, drift)
    if drift.lines:
        raise CommandError(f"{counted(drift.lines)} in database {connection.alias!r}.")


def _require(label: str) -> None:
    try:
        apps.get_app_config(label)
    except LookupError as error:
        raise CommandError(str(error)) from error


def counted(lines: Sequence[Any]) -> str:
    return "1 difference" if len(lines) == 1 else f"{len(lines)} differences"


def _print(command: BaseCommand, alias: str, drift: Drift) -> None:
    for line, statements in drift.lines:
        command.stdout.write(shown(line, statements))
    for note in drift.notes:
        command.stdout.write(f"Note: {note}")
    if not drift.lines:
        partly = " in what could be compared" if drift.notes else ""
        tables = "1 table" if drift.compared == 1 else f"{drift.compared:,} tables"
        command.stdout.write(f"No drift{partly} in database {alias}: {tables} compared.")


def _print_statements(command: BaseCommand, drift: Drift) -> None:
    for line, statements in drift.lines:
        command.stdout.write(f"-- {line.label}: {line.text}")
        command.stdout.write("\n".join(f"{sql};" for sql in statements) or f"-- {line.command}")


def _as_dict(alias: str, drift: Drift) -> dict[str, Any]:
    return {
        "database": alias,
        "tables": drift.compared,
        "drift": [line.as_dict(statements) for line, statements in drift.lines],
        "notes": drift.notes,
    }
