"""safemigrations ready: can this release serve requests on these databases?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from safemigrations.contracts.readiness import Readiness, readiness
from safemigrations.errors import to_type
from safemigrations.management import databases

HELP = "Exit with 1 unless this release is migrated and nothing is contracted that it needs."


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--database",
        action="append",
        default=[],
        choices=tuple(connections),
        help="May be given several times; without it, every database that was ever migrated.",
    )
    databases.add_schema(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    answers = readiness(options["database"])
    if options["format"] == "json":
        command.stdout.write(json.dumps({answer.database: answer.as_dict() for answer in answers}, indent=2))
    else:
        for answer in answers:
            command.stdout.write(str(answer))
    if not all(answer.is_ready for answer in answers):
        raise CommandError(f"Not ready.{_why(answers)}")


def _why(answers: Sequence[Readiness]) -> str:
    """What to type where a database doesn't say."""
    asked = (to_type("safemigrations preflight", one.database) for one in answers if one.trouble and one.migrated)
    command = next(asked, "")
    return f" Look why a database can't be asked: {command}" if command else ""
