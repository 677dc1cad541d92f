"""Filling a column of a large table, ours and the ways that people take now, side by side."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from testproject.bench.run import DURABLE, KEYS, Figures, measure, settings, template
from testproject.bench.ways import WAYS
from testproject.postgres import server


class Command(BaseCommand):
    help = "Fill a column of a large table with each way there is, on the same data, with and without users."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--key", choices=KEYS, action="append", help="only this kind of key")
        parser.add_argument("--way", choices=WAYS, action="append", help="only this way")
        parser.add_argument("--repeat", type=int, default=1, help="how often, each way in turn; the median is printed")
        parser.add_argument("--quiet-only", action="store_true", help="without users")

    def handle(self, *, rows: int, **options: Any) -> None:
        with server(DURABLE) as conninfo:
            self.stdout.write(settings(conninfo))
            for key in options["key"] or KEYS:
                with template(conninfo, key, rows):
                    for users in (False,) if options["quiet_only"] else (False, True):
                        self.stdout.write(f"{rows:,} rows, {key} key, {'with' if users else 'without'} users")
                        self._compare(conninfo, key, users, options["way"] or list(WAYS), options["repeat"])

    def _compare(self, conninfo: str, key: str, users: bool, ways: list[str], repeat: int) -> None:
        found: dict[str, list[Figures]] = {way: [] for way in ways}
        for _ in range(repeat):
            for way in ways:
                found[way].append(measure(conninfo, way, key, users=users))
        for way in ways:
            figures = sorted(found[way], key=lambda each: each.seconds)[repeat // 2]
            wrong = any(each.wrong for each in found[way]) and not users
            self.stdout.write(f"  {figures.as_line()}{' WRONG' if wrong else ''}")
            self.stdout.flush()
