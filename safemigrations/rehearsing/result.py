"""What a rehearsal has found: values that every output prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .changes import Touched
from .requests import BUCKET

Bucket = tuple[float, int, int, float]  # when, requests, errors, worst wait


@dataclass
class Phase:
    """A period in which one thing was going on."""

    name: str
    began: float  # seconds since the rehearsal began
    seconds: float = 0
    requests: int = 0
    errors: int = 0  # without those that the release makes on its own
    lost: int = 0
    worst_wait: float = 0  # seconds that one statement took
    series: list[Bucket] = field(default_factory=list)
    waited: tuple[str, str, str] = ("", "", "")  # release, model and action of the statement that took longest

    def add(self, series: Iterable[Bucket]) -> None:
        """Add to what others did in the same tenth of a second."""
        known = {bucket[0]: bucket for bucket in self.series}
        for when, requests, errors, wait in series:
            _, before, failed, worst = known.get(when, (when, 0, 0, 0.0))
            known[when] = (when, before + requests, failed + errors, max(worst, wait))
        self.series = [known[when] for when in sorted(known)]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class Request:
    """A failed request, with the number of failures and their phases."""

    model: str
    action: str
    phases: list[str]
    count: int


@dataclass
class Finding:
    """Something that went wrong: who caused it, and who is hurt."""

    kind: str  # "error", "lost", "wait", "migrate", "schema"
    release: str  # whose requests it hurt; that of the command, for "migrate"
    phase: str  # the first
    message: str
    sqlstate: str = ""
    requests: list[Request] = field(default_factory=list)
    cause: Touched | None = None
    advice: str = ""  # of lint: what to write instead

    @property
    def count(self) -> int:
        return sum(request.count for request in self.requests)

    def as_dict(self) -> dict[str, Any]:
        told = ("app_label", "migration", "operation", "description", "file", "line")
        cause = self.cause and {name: getattr(self.cause, name) for name in told}
        return {**vars(self), "requests": [dict(vars(request)) for request in self.requests], "cause": cause}


@dataclass
class Rehearsal:
    """The whole result."""

    old: str
    new: str
    scratch: str
    migrations: list[str]  # those that only the new release has
    phases: list[Phase] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0
    has_tests: bool = False  # were the releases' own tests run?

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "phases": [phase.as_dict() for phase in self.phases],
            "findings": [finding.as_dict() for finding in self.findings],
        }


def series_of(began: float, buckets: dict[str, list[float]]) -> list[Bucket]:
    return [
        (_time(began, number), int(requests), 0, wait)
        for number, (requests, wait) in sorted(buckets.items(), key=lambda item: int(item[0]))
    ]


def errors_of(began: float, at: Mapping[str, int]) -> list[Bucket]:
    return [(_time(began, number), 0, count, 0.0) for number, count in at.items()]


def _time(began: float, number: str) -> float:
    return round(began + int(number) * BUCKET, 1)
