"""safemigrations eject: the migrations of a project with Django's own operations, so that nothing of ours is needed."""

from __future__ import annotations

from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from safemigrations.rewriting import changes
from safemigrations.rewriting.leaving import DROP, Leaving, leaving

HELP = "Write the migrations of this project with Django's own operations, to go on without safemigrations."
NEXT = f"""\
Next: take safemigrations out of INSTALLED_APPS, and SAFEMIGRATIONS out of the settings. When no server and no pipeline
runs the code from before, its tables may go: {DROP}"""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("app", nargs="*", help="Labels of apps; without them, all that are checked.")
    parser.add_argument("--diff", action="store_true", help="Print what would change, and change nothing.")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    found = leaving(options["app"])
    if options["diff"]:
        command.stdout.write(changes.diff(chain.from_iterable(fix.files for fix in found.made)), ending="")
    else:
        _write(command, found)
    for line in found.refused:
        command.stderr.write(line, command.style.NOTICE)
    if found.refused:
        raise CommandError("Not every migration can be written with Django's own operations yet.")


def _write(command: BaseCommand, found: Leaving) -> None:
    for fix in found.made:
        changes.write(fix.files)
        command.stdout.write(f"Wrote {fix.file}", command.style.MIGRATE_HEADING)
    if not found.made and not found.refused:
        command.stdout.write("No migration has an operation of safemigrations.")
    if not found.refused:
        command.stdout.write(NEXT)
