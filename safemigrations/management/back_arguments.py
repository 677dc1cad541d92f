"""The options of migrate that go back to a release."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser


def add_arguments(parser: CommandParser) -> None:
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--to-release",
        metavar="RELEASE",
        help="Unapply what that release doesn't know; its mark, or what SAFEMIGRATIONS['RELEASE'] was then.",
    )
    way.add_argument(
        "--before-contract",
        action="store_true",
        help="The same, to the latest release that knows nothing of what is left for the contract.",
    )


def is_wanted(options: dict[str, Any]) -> bool:
    wanted = bool(options["to_release"] or options["before_contract"])
    others = [
        name for name in ("app_label", "contract", "fake", "fake_initial", "prune", "run_syncdb") if options[name]
    ]
    if wanted and others:
        raise CommandError("--to-release and --before-contract take no app and no other way to migrate beside them.")
    return wanted
