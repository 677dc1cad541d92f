"""safemigrations rehearse: does the rollout of this release break one of the two that run meanwhile?"""

from __future__ import annotations

import json
import signal
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, Error, connections

from safemigrations.management.interruptible import STATUS, Interrupted, is_interrupted
from safemigrations.rehearsing import text
from safemigrations.rehearsing.junit import junit
from safemigrations.rehearsing.markdown import markdown
from safemigrations.rehearsing.picture import picture
from safemigrations.rehearsing.rehearsal import Wanted, rehearse
from safemigrations.rehearsing.releases import new_release, old_release
from safemigrations.rehearsing.result import Rehearsal
from safemigrations.typed import schema_of

HELP = "Play the rollout of this release on a scratch database, with requests of both releases."
FORMATS: dict[str, Callable[[Rehearsal], str]] = {
    "text": text.text,
    "junit": junit,
    "markdown": markdown,
    "json": lambda rehearsal: json.dumps(rehearsal.as_dict(), indent=2, default=sorted),
}


def add_arguments(parser: CommandParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--old", metavar="REF", help="The old release, as git calls it; else where this branch left the default one."
    )
    where.add_argument("--old-path", metavar="FOLDER", help="The folder of the old release that manage.py lies in.")
    parser.add_argument("--old-python", metavar="PYTHON", help="The interpreter of the old release.")
    parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections))
    parser.add_argument("--seconds", type=float, default=3, help="How long each release is alone, and both are.")
    parser.add_argument("--clients", type=at_least(1), default=2, help="Processes of each release.")
    parser.add_argument("--rows", type=at_least(0), default=20, help="Rows that each empty table gets.")
    parser.add_argument(
        "--apps",
        nargs="*",
        default=[],
        metavar="APP",
        help="Of the models that don't change, only those of these apps.",
    )
    parser.add_argument(
        "--kill", type=at_least(0), default=0, metavar="N", help="Kill migrate N times in each phase, too."
    )
    copy = parser.add_mutually_exclusive_group()
    copy.add_argument("--from-dump", type=_there, metavar="FILE", help="Begin with what pg_dump wrote.")
    copy.add_argument("--template", metavar="DATABASE", help="Begin with a copy of a database on the same server.")
    parser.add_argument(
        "--forbid-host", action="append", default=[], metavar="HOST", help="A server on which no rehearsal may run."
    )
    parser.add_argument(
        "--tests", metavar="COMMAND", help="Also run both releases' own tests, on the expanded and contracted schema."
    )
    parser.add_argument(
        "--picture", type=_new_file, metavar="FILE", help="Draw requests, errors and waits over time (SVG)."
    )
    parser.add_argument("--format", choices=list(FORMATS), default="text")


def at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"{text} is not a number from {least} on")
        return int(text)

    return number


def _there(text: str) -> str:
    if not Path(text).exists():
        raise ArgumentTypeError(f"{text} is not there")
    return text


def _new_file(text: str) -> Path:
    """Refuse at once what could not be written at the end."""
    if not Path(text).resolve().parent.is_dir():
        raise ArgumentTypeError(f"{text} is in a folder that is not there")
    return Path(text)


def _require_apps(labels: Sequence[str]) -> None:
    for label in labels:
        try:
            apps.get_app_config(label)
        except LookupError as error:
            raise CommandError(f"--apps: {error}") from error


def _refuse_tenants(alias: str) -> None:
    if schema_of(connections[alias]) is not None:
        raise CommandError(
            "A rehearsal plays in one schema, and with django-tenants each tenant has one of its own. Rehearse with "
            "settings in which every app is in one schema: without the app django_tenants, its router, and its ENGINE."
        )


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    _require_apps(options["apps"])
    _refuse_tenants(options["database"])
    try:
        found = _rehearsed(command, options)
    except (KeyboardInterrupt, CommandError, Error) as error:
        if not is_interrupted(error):
            raise
        raise Interrupted("nothing of the rehearsal is left.", returncode=STATUS) from error
    if options["picture"]:
        options["picture"].write_text(picture(found))
    command.stdout.write(FORMATS[options["format"]](found))
    if found.findings:
        raise CommandError(text.sentence(found))


def _rehearsed(command: BaseCommand, options: dict[str, Any]) -> Rehearsal:
    with _ended_by_signals() as stack:
        old = old_release(stack, ref=options["old"], folder=options["old_path"], python=options["old_python"])
        return rehearse(_wanted(options), old, new_release(), stack, _teller(command, options))


def _teller(command: BaseCommand, options: dict[str, Any]) -> Callable[[str], None]:
    """People read along; programs get it all at the end."""

    def tell(line: str) -> None:
        if options["format"] == "text":
            command.stdout.write(line)
            command.stdout.flush()

    return tell


def _wanted(options: dict[str, Any]) -> Wanted:
    return Wanted(
        alias=options["database"],
        seconds=options["seconds"],
        clients=options["clients"],
        kills=options["kill"],
        rows=options["rows"],
        apps=options["apps"],
        forbidden=options["forbid_host"],
        dump=options["from_dump"],
        template=options["template"],
        tests=options["tests"],
    )


@contextmanager
def _ended_by_signals() -> Iterator[ExitStack]:
    """A stack that is closed also after Ctrl-C and SIGTERM, and that neither of them interrupts then."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
    stack = ExitStack()
    try:
        yield stack
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        stack.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: object) -> None:
    if number == signal.SIGTERM:
        raise SystemExit(128 + number)
    raise KeyboardInterrupt
