"""safemigrations contract: postpone, skip, resume, adopt or trust rows of the contract queue."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from safemigrations.contracts import deciding
from safemigrations.contracts.table import Contract
from safemigrations.durations import duration, moment, shown_moment
from safemigrations.management import databases
from safemigrations.running.clock import server_time
from safemigrations.running.server import refuse_standby

HELP = "Postpone or skip rows of the contract, or take that back."
ACTIONS = {
    "postpone": "Run them later: after a time, or when somebody resumes them.",
    "skip": "Never run them, until somebody resumes them; what they would remove stays.",
    "resume": "Take back that they were postponed or skipped.",
    "adopt": "Give rows whose migration was squashed and deleted to a migration that this code has.",
    "trust": "Run rows that aren't signed with this SECRET_KEY, after somebody has looked at their plans.",
}


def add_arguments(parser: CommandParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("numbers", nargs="+", type=int, metavar="number", help="Their numbers in status.")
        databases.add_argument(action)
        action.add_argument(
            "--reason",
            required=name in ("skip", "adopt", "trust"),
            default="",
            help="Why. It is kept, and status shows it.",
        )
        if name == "postpone":
            when = action.add_mutually_exclusive_group()
            when.add_argument("--for", dest="span", type=duration, metavar="SPAN", help="Such as 12h or 7d.")
            when.add_argument("--until", type=moment, metavar="TIME", help="Such as 2026-12-01 or 2026-12-01T08:00.")
        if name == "adopt":
            action.add_argument("--as", dest="migration", required=True, metavar="APP.NAME")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    for row in _changed(options):
        command.stdout.write(f"{row.pk}  {_outcome(options['action'], row)}: {row}")


def _changed(options: dict[str, Any]) -> list[Contract]:
    connection, numbers, reason = connections[options["database"]], options["numbers"], options["reason"]
    refuse_standby(connection)
    match options["action"]:
        case "postpone":
            until = server_time(connection) + options["span"] if options["span"] else options["until"]
            return deciding.postpone(connection, numbers, until=until, reason=reason)
        case "skip":
            return deciding.skip(connection, numbers, reason=reason)
        case "resume":
            return deciding.resume(connection, numbers, reason=reason)
        case "trust":
            return deciding.trust(connection, numbers, reason=reason)
        case _:
            return deciding.adopt(connection, numbers, migration=options["migration"], reason=reason)


def _outcome(action: str, row: Contract) -> str:
    if action == "postpone":
        return f"postponed until {shown_moment(row.until) if row.until else 'somebody resumes it'}"
    return {"skip": "skipped", "resume": "resumed", "adopt": "adopted", "trust": "trusted"}[action]
