"""The app's own command; each subcommand answers one question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from textwrap import indent
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from safemigrations.contracts.steering import ACTIONS, steer
from safemigrations.errors import to_type
from safemigrations.management import databases, json_lines, warning
from safemigrations.management.interruptible import Interruptible
from safemigrations.management.subcommands import SUBCOMMANDS
from safemigrations.running.a_run import a_run
from safemigrations.running.backfill import control, tasks
from safemigrations.running.backfill.progress import Status
from safemigrations.running.backfill.standing import Standing, standings
from safemigrations.running.foreseeing.ahead import Ahead
from safemigrations.running.run import Report
from safemigrations.running.server import refuse_schemaless, refuse_standby, refuse_unusable
from safemigrations.running.telling.report import ConsoleReport

if apps.is_installed("django_tenants"):
    from safemigrations.management.tenants.each import in_schemas


class Command(Interruptible, BaseCommand):
    help = "Look at migrations and at what they left for the contract."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="subcommand", required=True)
        for name, module in SUBCOMMANDS.items():
            module.add_arguments(commands.add_parser(name, help=module.HELP))
        self._add_backfill(commands.add_parser("backfill", help="Run and steer the backfills of a database."))

    def _add_backfill(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        helps = {
            "status": "Print how far they are.",
            "run": "Work on those that aren't finished; one that migrate runs at the moment is helped.",
            "pause": "Stop after the batch that is under way, until resume.",
            "resume": "Go on with what was paused or cancelled.",
            "cancel": "Give up; rows that are filled stay filled.",
            "pace": "Change the pace of those that run.",
        }
        for name, text in helps.items():
            action = actions.add_parser(name, help=text)
            databases.add_argument(action)
            if name != "run":
                action.add_argument(
                    "number", nargs="?", type=int, help="Its number in status; without it, all of them."
                )
            if name == "status":
                action.add_argument("--all", action="store_true", help="Also those that are finished.")
            elif name == "run":
                action.add_argument("--workers", type=int, default=1, help="How many processes, or tasks.")
                action.add_argument("--tasks", choices=["django", "celery"], help="Put tasks into this queue instead.")
            if name in ("run", "status"):
                json_lines.add_argument(action)
            if name == "pace":
                action.add_argument("--batch-seconds", type=float, help="Seconds that a batch aims at.")
                action.add_argument("--rate", type=float, help="Rows a second and worker at most; 0 for no limit.")
                action.add_argument("--rest", type=float, help="Seconds of rest for each second of work.")

    def handle(self, *args: Any, **options: Any) -> None:
        if "schema" in options:
            in_schemas(self, options, self._handle)
        else:
            self._handle(options)

    def _handle(self, options: dict[str, Any]) -> None:
        if isinstance(options.get("database"), str) and options["subcommand"] != "rehearse":
            refuse_schemaless(connections[options["database"]])
        if options["subcommand"] in SUBCOMMANDS:
            SUBCOMMANDS[options["subcommand"]].handle(self, options)
        else:
            getattr(self, options["subcommand"])(options)

    def backfill(self, options: dict[str, Any]) -> None:
        connection = connections[options["database"]]
        match options["action"]:
            case "run" if options["tasks"]:
                self._enqueue(connection, options)
            case "run":
                with self._report(options["format"], options["verbosity"]) as report:
                    self._run_backfills(connection, report, options["workers"])
            case "status":
                found = _standings(connection, options["number"], finished=options["all"])
                if options["format"] == "json":
                    self._write_backfills(connection, found)
                else:
                    self._print_backfills(connection, found, every=options["all"] or options["number"] is not None)
            case action:
                refuse_standby(connection)
                pace = {name: options.get(name) for name in ("batch_seconds", "rate", "rest")}
                for row in steer(connection, action, options["number"], pace):
                    self.stdout.write(f"{ACTIONS[action]}: {row}")

    def _enqueue(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        tasks.enqueue(options["tasks"], connection.alias, options["workers"])
        if options["verbosity"] and options["format"] == "text":
            said = "1 task is" if options["workers"] == 1 else f"{options['workers']} tasks are"
            status = to_type("safemigrations backfill status", connection.alias)
            self.stdout.write(f"{said} in the queue. How far the backfills are: {status}")

    def _run_backfills(self, connection: BaseDatabaseWrapper, report: Report, workers: int) -> None:
        with a_run(report, connection.alias, "backfill run"):
            refuse_unusable(connection)
            if steps := control.left(connection):
                warning.warn(self, connection, Ahead.of(steps))
            control.run(connection, report, workers=workers)

    def _report(self, format: str, verbosity: int) -> AbstractContextManager[Report]:
        if format == "json":
            return json_lines.json_lines(self)
        if not verbosity:
            return nullcontext(Report())
        return closing(ConsoleReport(self.stdout, self.style, indent=2, verbosity=verbosity))

    def _write_backfills(self, connection: BaseDatabaseWrapper, found: Sequence[Standing]) -> None:
        for one in found:
            self.stdout.write(json.dumps({"event": "backfill_status", "database": connection.alias, **one.as_dict()}))

    def _print_backfills(self, connection: BaseDatabaseWrapper, found: Sequence[Standing], *, every: bool) -> None:
        what = "Backfills" if every else "Backfills that aren't finished"
        self.stdout.write(f"{what}: {len(found)}")
        for one in found:
            self.stdout.write(f"  {one.text()}")
            if one.is_stopped:
                self.stdout.write(
                    " " * 12 + "Nobody works on it now. To go on, run the same command again, or: "
                    f"{to_type('safemigrations backfill run', connection.alias)}"
                )
            if one.row.last_error:
                self.stdout.write(indent(one.row.last_error, " " * 12))


def _standings(connection: BaseDatabaseWrapper, number: int | None, *, finished: bool) -> list[Standing]:
    if number is not None:
        return standings(connection, pk=number)
    shown = [status for status in Status if finished or status != Status.DONE]
    return standings(connection, status__in=shown)
