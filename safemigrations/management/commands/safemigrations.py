"""The app's own command; each subcommand answers one question."""

from __future__ import annotations

import json
from textwrap import indent
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.loader import MigrationLoader

from safemigrations import checks, queue


class Command(BaseCommand):
    help = "Look at migrations and at what they left for the contract."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="subcommand", required=True, metavar="{lint,baseline,status}")
        lint = commands.add_parser("lint", help="Print what is unsafe in the migrations of this project.")
        lint.add_argument("--format", choices=["text", "json"], default="text")
        commands.add_parser(
            "baseline",
            help="Print the setting that exempts the migrations which are there now from the checks.",
        )
        status = commands.add_parser("status", help="Print what is left for the contract in a database.")
        status.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections))

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, options["subcommand"])(options)

    def lint(self, options: dict[str, Any]) -> None:
        findings = checks.findings()
        if options["format"] == "json":
            self.stdout.write(json.dumps([finding.as_dict() for finding in findings], indent=2))
        else:
            for finding in findings:
                self.stdout.write(f"{finding.as_error()}")
        if findings:
            raise CommandError(f"{len(findings)} unsafe operation{'s' if len(findings) > 1 else ''}.")
        if options["format"] == "text":
            self.stdout.write("No unsafe operation.")

    def baseline(self, options: dict[str, Any]) -> None:
        loader = MigrationLoader(None, ignore_no_migrations=True)
        leaves = {label: name for label, name in sorted(loader.graph.leaf_nodes()) if label in checks.labels()}
        self.stdout.write("Add this to SAFEMIGRATIONS in your settings; only later migrations are checked then:")
        self.stdout.write('    "BASELINE": {')
        for label, name in leaves.items():
            self.stdout.write(f'        "{label}": "{name}",')
        self.stdout.write("    },")

    def status(self, options: dict[str, Any]) -> None:
        connection = connections[options["database"]]
        rows = list(queue.rows(connection, status__in=queue.OPEN))
        self.stdout.write(f"Left for the contract in database {connection.alias}: {len(rows)}")
        for row in rows:
            self.stdout.write(f"  {row.status:<8} {row}")
            if row.last_error:
                self.stdout.write(indent(f"attempt {row.attempts}: {row.last_error}", " " * 11))
