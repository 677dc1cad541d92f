"""safemigrations preflight: what would stop or slow down the next migrate, asked without changing anything."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.contracts import chosen, queue
from safemigrations.contracts.carrying_out import plans_of
from safemigrations.contracts.table import HOLDING
from safemigrations.hooks.executor import MigrationExecutor
from safemigrations.inspecting.preflight import asked
from safemigrations.inspecting.preflight.remark import Remark, Severity
from safemigrations.management import databases
from safemigrations.management.targets import targets
from safemigrations.running.foreseeing.ahead import Ahead
from safemigrations.running.foreseeing.asking import Asking
from safemigrations.running.session import Session

HELP = "Ask what would stop or slow down the next migrate, or with --contract the next contract."


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("app_label", nargs="?", help="As migrate takes it; without it, everything that isn't applied.")
    parser.add_argument("migration_name", nargs="?", help="As migrate takes it.")
    parser.add_argument("--contract", action="store_true", help="Ask about what is left for the contract.")
    databases.add_argument(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    connection = connections[options["database"]]
    if connection.vendor != "postgresql":
        raise CommandError(f"Database {connection.alias!r} isn't PostgreSQL, so there is nothing to ask.")
    remarks = asked.of_server(connection)
    if not any(remark.name == "writable" for remark in remarks):  # where nothing of a plan can be asked
        remarks += _of_plan(connection, options)
    _print(command, remarks, options["format"])
    if any(remark.severity is Severity.REFUSE for remark in remarks):
        raise CommandError("Not ready to migrate.")


def _of_plan(connection: BaseDatabaseWrapper, options: dict[str, Any]) -> list[Remark]:
    ahead, refusals = (_of_contract if options["contract"] else _of_migrate)(connection, options)
    return asked.of_plan(connection, ahead, refusals)


def _of_migrate(connection: BaseDatabaseWrapper, options: dict[str, Any]) -> tuple[Ahead, list[str]]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(targets(executor, options))
    if executor.is_fresh():  # nobody has to be spared, and no table is there
        return Ahead(), []
    foreseeing = executor.foresee(plan)
    return foreseeing.ahead, foreseeing.refusals


def _of_contract(connection: BaseDatabaseWrapper, options: dict[str, Any]) -> tuple[Ahead, list[str]]:
    held = list(queue.rows(connection, status__in=HOLDING))
    label, name = options["app_label"] or "", options["migration_name"] or ""
    target = chosen.Target(MigrationExecutor(connection).loader, held, label, name)
    meant = target.migrations(alone=False)
    rows = [row for row in queue.open_rows(connection) if not label or (row.app_label, row.migration) in meant]
    asking = Asking(Session(connection))
    asking.ask_for_writers()
    for plan in plans_of(connection, rows):
        asking.ask(plan)
    return asking.ahead, asking.refusals


def _print(command: BaseCommand, remarks: list[Remark], form: str) -> None:
    if form == "json":
        command.stdout.write(json.dumps([vars(remark) for remark in remarks], indent=2))
        return
    for remark in remarks:
        style = {Severity.REFUSE: command.style.ERROR, Severity.WARN: command.style.WARNING}.get(remark.severity)
        command.stdout.write(style(str(remark)) if style else str(remark))
    if not remarks:
        command.stdout.write("Nothing is in the way.")
