"""The options that our migrate adds to Django's."""

from __future__ import annotations

from django.core.management.base import CommandParser

from safemigrations.management import back_arguments


def add_to(parser: CommandParser) -> None:
    parser.add_argument(
        "--contract",
        action="store_true",
        help=(
            "Apply nothing; run what migrations left for the contract: drop what only the old release needed. A "
            "named migration limits it to rows up to there. Use it when no server runs the old release any more."
        ),
    )
    parser.add_argument(
        "--only",
        action="store_true",
        help="With --contract and a migration: only its rows, and those that they need.",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="The contract and the way back: go past what holds them up, such as sessions that need what goes.",
    )
    parser.add_argument(
        "--fail-on",
        choices=["low", "medium", "high"],
        help="With --plan: exit with 1 when the risk of one of its migrations is that high.",
    )
    parser.add_argument(
        "--catch-up",
        action="store_true",
        help=(
            "Several releases at once, as on a staging server: expand and contract one migration after the other. "
            "Only while no other release is connected."
        ),
    )
    back_arguments.add_arguments(parser)
