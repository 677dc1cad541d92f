"""safemigrations history: what was migrated here, when, by whom, and how long each step took."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections

from safemigrations.errors import to_type
from safemigrations.inspecting.history import told
from safemigrations.management import databases
from safemigrations.running.server import refuse_unreadable

HELP = "Print what was migrated in a database, when, by whom, and how long each step took."


def add_arguments(parser: CommandParser) -> None:
    databases.add_argument(parser)
    parser.add_argument("--app", default="", metavar="LABEL", help="Only migrations of this app.")
    parser.add_argument("--last", type=int, default=20, metavar="N", help="How many, the last ones; 0 for all.")
    parser.add_argument("--format", choices=["text", "json"], default="text")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    alias, last = options["database"], options["last"]
    refuse_unreadable(connections[alias])
    found, before = told(connections[alias], app_label=options["app"], last=max(0, last))
    if options["format"] == "json":
        rows = [one.as_dict() for one in found]
        command.stdout.write(
            json.dumps({"database": alias, "before": before, "runs": rows}, indent=2, cls=DjangoJSONEncoder)
        )
        return
    if before:
        command.stdout.write(f"{before} before these: {to_type('safemigrations history --last 0', alias)}")
    for one in found:
        command.stdout.write("\n".join(one.lines()))
    if not found:
        command.stdout.write(f"Nothing was noted in database {alias}.")
