"""What the checks do for each migration that people wrote by hand: so many migrations, so much work, and no more.

Times depend on the machine, so work is counted. `python -m tests.bench_lint` measures the times.
"""

from __future__ import annotations

import ast
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pglast
import pytest
from django.db.migrations.state import StateApps
from django.test import override_settings

from safemigrations.checking import findings
from safemigrations.checking.finding import Report
from safemigrations.checking.sql import parse

from .bench_lint import files
from .releases import installed

FEW = 60


@pytest.fixture
def linted(tmp_path: Path) -> Iterator[Callable[[int], Report]]:
    """The checks over so many migrations, in this process."""

    def report(number: int) -> Report:
        package = tmp_path / f"many_{number}"
        if not package.exists():
            package.mkdir()
            for name, text in [("__init__", ""), *files(number)]:
                (package / f"{name}.py").write_text(text)
        with installed(tmp_path, package.name), override_settings(SAFEMIGRATIONS={"BASELINE": {}}):
            return findings.report()

    yield report
    for name in [name for name in sys.modules if name.startswith("many_")]:
        del sys.modules[name]


@contextmanager
def calls() -> Iterator[list[int]]:
    """How many functions of Python are called."""
    count = [0]

    def one(frame: Any, event: str, argument: Any) -> None:
        count[0] += event == "call"

    before = sys.getprofile()
    sys.setprofile(one)
    try:
        yield count
    finally:
        sys.setprofile(before)


def test_twice_as_many_migrations_take_twice_as_much_work(linted):
    counted = []
    for number in (FEW, 2 * FEW, 2 * FEW):  # the first one of all also imports
        linted(number)
        with calls() as count:
            found = linted(number)
        assert len(found.findings) > number
        counted.append(count[0])
    once, twice, again = counted
    assert again == pytest.approx(twice, rel=0.02)
    assert twice / once < 2.2
    assert once / FEW < 3_000


def test_each_file_and_each_text_is_parsed_once_and_no_state_is_rendered(linted, monkeypatch):
    linted(FEW)
    counts = Counter[str]()

    def counted(what: str, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        counts[what] += 1
        return function(*given, **named)

    monkeypatch.setattr(ast, "parse", partial(counted, "files", ast.parse))
    monkeypatch.setattr(parse, "parse_sql", partial(counted, "texts", pglast.parse_sql))
    monkeypatch.setattr(StateApps, "__init__", partial(counted, "states", StateApps.__init__))
    linted(FEW)
    texts = [text for _, text in files(FEW)]
    unsafe = [text for text in texts if "CreateModel" not in text]
    of_sql = [text for text in texts if "RunSQL" in text]
    assert counts == {"files": len(unsafe), "texts": len(of_sql)}


def test_memory_grows_by_little_for_each_migration(linted):
    peaks = []
    for number in (FEW, 3 * FEW):
        linted(number)
        tracemalloc.start()
        linted(number)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (2 * FEW) < 40_000
