"""safemigrations baseline: exempt the migrations that are there now from the checks."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db.migrations.loader import MigrationLoader

from safemigrations.checking import baseline, disk
from safemigrations.management import names

HELP = "Print the setting that exempts the migrations which are there now from the checks."


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--write", action="store_true", help="Write it into BASELINE_FILE instead.")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    names.refuse_unknown_apps()
    loader = MigrationLoader(None, ignore_no_migrations=True)
    checked = disk.labels()
    names.refuse_several_leaves(loader, checked)
    leaves = {label: name for label, name in sorted(loader.graph.leaf_nodes()) if label in checked}
    if options["write"]:
        command.stdout.write(f"Wrote {baseline.write(leaves)}: only later migrations are checked now. Commit it.")
    else:
        command.stdout.write(baseline.PASTE)
        command.stdout.write(baseline.as_setting(leaves))
