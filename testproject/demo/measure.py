"""What users saw, in figures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles

from testproject.demo.traffic import Answer

BUCKET = 0.1  # seconds


@dataclass(frozen=True)
class Figures:
    requests: int
    errors: Counter[str]  # what was wrong: how often
    median: float
    p99: float
    worst: float
    gap: float  # the longest time in which no request succeeded


def figures(answers: list[Answer]) -> Figures:
    percentiles = quantiles((answer.seconds for answer in answers), n=100)
    successes = sorted(answer.finished for answer in answers if not answer.error)
    return Figures(
        requests=len(answers),
        errors=Counter(f"{answer.release} release: {answer.error}" for answer in answers if answer.error),
        median=percentiles[49],
        p99=percentiles[98],
        worst=max(answer.seconds for answer in answers),
        gap=max((later - earlier for earlier, later in pairwise(successes)), default=math.inf),
    )


@dataclass(frozen=True)
class Buckets:
    """What the requests that arrived in the same tenth of a second saw."""

    times: list[float]
    worst: list[float]  # seconds
    errors: list[int]


def buckets(answers: Iterable[Answer]) -> Buckets:
    together: defaultdict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        together[int(answer.arrived / BUCKET)].append(answer)
    numbers = sorted(together)
    return Buckets(
        times=[number * BUCKET for number in numbers],
        worst=[max(answer.seconds for answer in together[number]) for number in numbers],
        errors=[sum(bool(answer.error) for answer in together[number]) for number in numbers],
    )
