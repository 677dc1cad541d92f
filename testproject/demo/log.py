"""What a traffic process writes and the demo reads: one line for each answered request."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Answer(NamedTuple):
    release: str
    request: str
    arrived: float  # by time.monotonic(), one clock for all processes; once read, since the deploy started
    seconds: float  # from the arrival, thus with the time in the queue
    error: str  # empty where the request succeeded

    @property
    def finished(self) -> float:
        return self.arrived + self.seconds


def read(files: Iterable[Path], *, since: float) -> list[Answer]:
    """Return all answers in the order of their arrival, with times that count from ``since``."""
    answers = (answer for file in files for answer in _read(file, since))
    return sorted(answers, key=lambda answer: answer.arrived)


def _read(file: Path, since: float) -> Iterator[Answer]:
    with file.open(newline="") as lines:
        for release, request, arrived, seconds, error in csv.reader(lines):
            yield Answer(release, request, float(arrived) - since, float(seconds), error)
