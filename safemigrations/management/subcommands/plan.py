"""safemigrations plan: what migrate, and the contract, are going to do to this database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.management import databases, planning
from safemigrations.management.targets import targets
from safemigrations.running.server import refuse_unreadable

HELP = "Print what migrate, and then the contract, would do here: locks, sizes, times, risk. Nothing is changed."


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("app_label", nargs="?", help="Only migrations of this app, and those that they need.")
    parser.add_argument("migration_name", nargs="?", help="Up to this one, or back to it.")
    databases.add_argument(parser)
    parser.add_argument("--format", choices=planning.FORMATS, default="text")
    parser.add_argument(
        "--fail-on",
        choices=["low", "medium", "high"],
        help="Exit with 1 when the risk of one of the migrations is that high.",
    )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    connection = connections[options["database"]]
    refuse_unreadable(connection)
    plan = planning.planned(connection, targets(MigrationExecutor(connection), options))
    plan = planning.with_contracts(connection, plan)
    command.stdout.write(planning.shown(plan, options["format"]))
    planning.refuse_risk(plan, options["fail_on"])
