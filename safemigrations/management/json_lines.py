"""--format json: each event is an object on a line of its own; what people read goes to stderr meanwhile."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, cast

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from safemigrations.running.events.event import Event
from safemigrations.running.events.listeners import told
from safemigrations.running.run import Report

FORMATS = ("text", "json")


def add_argument(parser: CommandParser) -> None:
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="json: one object a line for each event, and nothing else on stdout (docs/events.md).",
    )


class JsonReport(Report):
    def __init__(self, stdout: OutputWrapper) -> None:
        self.stdout = stdout

    def hear(self, event: Event) -> None:
        self.write(told(event))

    def write(self, found: Mapping[str, Any]) -> None:
        self.stdout.write(json.dumps(found))
        self.stdout.flush()


@contextmanager
def json_lines(command: BaseCommand) -> Iterator[JsonReport]:
    """Migrations may print, too."""
    stdout = command.stdout
    command.stdout = OutputWrapper(cast(Any, command.stderr)._out)
    try:
        with redirect_stdout(sys.stderr):
            yield JsonReport(stdout)
    finally:
        command.stdout = stdout
