"""safemigrations lint: what is unsafe in the migrations of this project?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from safemigrations.checking import baseline, branch, coverage, pages
from safemigrations.checking.finding import Report
from safemigrations.checking.findings import report
from safemigrations.checking.outputs import lines, machines, markdown, sarif
from safemigrations.management import fixing, names

HELP = "Print what is unsafe in the migrations of this project."
FORMATS: dict[str, Callable[[Report], str]] = {
    "json": machines.as_json,
    "github": machines.github,
    "gitlab": machines.gitlab,
    "sarif": sarif.sarif,
    "markdown": markdown.markdown,
}


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--format", choices=["text", *FORMATS], default="text")
    parser.add_argument(
        "--since", metavar="REF", help="Only migrations that this branch adds or changes since it left REF."
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="Rewrite files that nobody else has: the safe operations, in as many files as that takes.",
    )
    parser.add_argument("--diff", action="store_true", help="Print what --fix would change, and change nothing.")
    parser.add_argument("--strict", action="store_true", help="Fail also on what was not understood.")
    parser.add_argument("--explain", metavar="ID", help="Print the page of an id.")
    parser.add_argument("--list", action="store_true", help="Print every id.")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    if options["list"]:
        command.stdout.write(pages.listed())
    elif options["explain"]:
        command.stdout.write(pages.explained(options["explain"]))
    else:
        _lint(command, options)


def _lint(command: BaseCommand, options: dict[str, Any]) -> None:
    names.refuse_unknown_apps()
    for misfit in baseline.misfits():
        command.stderr.write(command.style.WARNING(f"{misfit.message} {misfit.hint}"))
    files = branch.files_since(options["since"]) if options["since"] else None
    found = report(files)
    if options["diff"]:
        fixing.show(command, found, options["since"] or "")
    elif options["fix"]:
        found = fixing.fix(command, found, options["since"] or "", for_people=options["format"] == "text")
    if not options["diff"]:
        _print(command, found, options)
    if found.errors:
        raise CommandError(f"{found.errors} unsafe operation{'s' if found.errors > 1 else ''}.")
    if options["strict"] and found.unread:
        raise CommandError(coverage.sentence(found.unread))


def _print(command: BaseCommand, found: Report, options: dict[str, Any]) -> None:
    write = FORMATS.get(options["format"])
    command.stdout.write(write(found) if write else lines.text(found, command.style))
