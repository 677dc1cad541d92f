from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from testproject.demo.deploy import Course, Load, Pace
from testproject.demo.picture import draw
from testproject.demo.run import Demo
from testproject.demo.screen import Screen
from testproject.demo.sides import SIDES, Side
from testproject.postgres import server


class Command(BaseCommand):
    help = (
        "Show what the users of a shop see while its schema changes under traffic: with Django alone, "
        "with Django and care, and with safemigrations. Starts PostgreSQL, deploys a new release each way on equal "
        "data, shows figures and charts, and writes a picture. Ends with code 1 when safemigrations let a request fail."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        shown = " (default: %(default)s)"
        sides = [*(side.name for side in SIDES), "all"]
        parser.add_argument("--side", choices=sides, default="all", help="which deploy to run" + shown)
        parser.add_argument("--rows", type=int, default=200_000, help="orders to begin with" + shown)
        parser.add_argument("--seconds", type=float, default=4, help="length of each quiet phase" + shown)
        parser.add_argument("--report", type=float, default=6, help="seconds of the report, 0 for none" + shown)
        parser.add_argument("--rate", type=float, default=100, help="requests a second" + shown)
        parser.add_argument("--workers", type=int, default=2, help="processes of a release" + shown)
        parser.add_argument("--threads", type=int, default=8, help="threads of a process" + shown)
        parser.add_argument("--out", type=_picture, default="demo.png", help="the picture, .png or .svg" + shown)

    def handle(self, *, side: str, rows: int, out: Path, **options: Any) -> None:
        screen = Screen(Console(highlight=False))
        load = Load(rate=options["rate"], workers=options["workers"], threads=options["threads"])
        pace = Pace(quiet=options["seconds"], report=options["report"])
        sides = [one for one in SIDES if side in (one.name, "all")]
        with TemporaryDirectory(prefix="safemigrations-demo-") as directory, server() as conninfo:
            courses = Demo(Path(directory), conninfo, screen, load, pace).run(sides, orders=rows)
        screen.heading("What users saw")
        screen.table(courses)
        screen.charts(courses)
        draw(courses, out)
        screen.say(f"The same as a picture: {out}")
        _judge(sides, courses)


def _judge(sides: list[Side], courses: list[Course]) -> None:
    for side, course in zip(sides, courses, strict=True):
        failed = sum(bool(answer.error) for answer in course.answers)
        if side.promises_no_error and failed:
            raise CommandError(f"{failed:,} requests failed {side.title}.")


def _picture(name: str) -> Path:
    """Refuse at once what could not be written after a minute."""
    path = Path(name)
    if path.suffix not in (".png", ".svg") or not path.parent.is_dir():
        raise ArgumentTypeError(f"{name} is not a .png or .svg file in a directory that exists")
    return path
