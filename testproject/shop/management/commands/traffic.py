from __future__ import annotations

import csv
import random
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections, connection

from testproject.demo.log import Answer
from testproject.shop.requests import MIX, Visitor


class Command(BaseCommand):
    help = (
        "Send requests to this release until standard input ends. They arrive at a steady rate, whether the "
        "earlier ones have been answered or not, and wait in a queue while all threads are busy."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--release", required=True, help="name of this release in the log")
        parser.add_argument("--rate", type=float, required=True, help="requests a second")
        parser.add_argument("--threads", type=int, required=True, help="requests worked on at the same time")
        parser.add_argument("--log", type=Path, required=True, help="file for the answers")

    def handle(self, *, release: str, rate: float, threads: int, log: Path, **options: Any) -> None:
        visitor = Visitor.arrive()
        with log.open("w", newline="", buffering=1) as file:
            rows, one_at_a_time = csv.writer(file), Lock()

            def answer(arrived: float) -> None:
                name, error = _run_one(visitor)
                with one_at_a_time:
                    rows.writerow(Answer(release, name, arrived, time.monotonic() - arrived, error))

            with ThreadPoolExecutor(threads, initializer=connection.ensure_connection) as pool:
                self.stdout.write("ready")
                self.stdout.flush()
                for arrived in _arrivals(rate, until=_end_of_input()):
                    pool.submit(answer, arrived)


def _run_one(visitor: Visitor) -> tuple[str, str]:
    """Return the name of the request and its error, empty where it succeeded."""
    (request,) = random.choices(list(MIX), weights=list(MIX.values()))
    close_old_connections()  # what Django does at the start of each request
    try:
        request(visitor)
    except Exception as error:
        return request.__name__, f"{type(error).__name__}: {_first_line(error)}"
    return request.__name__, ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _end_of_input() -> Event:
    """Return an event that also comes when the process which started this one is killed."""
    ended = Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    Thread(target=wait, daemon=True).start()
    return ended


def _arrivals(rate: float, *, until: Event) -> Iterator[float]:
    """Yield each arrival at its time; late ones keep theirs, so that no stall is left out."""
    arrived = time.monotonic()
    while not until.wait(max(0, arrived - time.monotonic())):
        yield arrived
        arrived += 1 / rate
