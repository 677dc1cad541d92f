"""Filling a column of a large table, ours and the ways that people take now, side by side."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from testproject.bench.run import KEYS, measure, template
from testproject.bench.ways import WAYS
from testproject.postgres import server


class Command(BaseCommand):
    help = "Fill a column of a large table with each way there is, on the same data, with and without users."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--key", choices=KEYS, action="append", help="only this kind of key")
        parser.add_argument("--way", choices=WAYS, action="append", help="only this way")
        parser.add_argument("--quiet-only", action="store_true", help="without users")

    def handle(self, *, rows: int, **options: Any) -> None:
        with server() as conninfo:
            for key in options["key"] or KEYS:
                with template(conninfo, key, rows):
                    for users in (False,) if options["quiet_only"] else (False, True):
                        self.stdout.write(f"{rows:,} rows, {key} key, {'with' if users else 'without'} users")
                        for way in options["way"] or WAYS:
                            found = measure(conninfo, way, key, users=users)
                            self.stdout.write(f"  {found.as_line()}{' WRONG' if found.wrong and not users else ''}")
                            self.stdout.flush()
