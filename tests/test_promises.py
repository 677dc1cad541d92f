"""The page of promises names tests that are there, every module of attacks, and whatever the suites count."""

from __future__ import annotations

import json
import re

from tests.mutations import MUTATIONS
from tests.project import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text()
TRIED = re.compile(r'\btried\("([^"]+)"')


def test_each_test_that_it_names_is_there():
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_each_module_of_attacks_has_its_line():
    (table,) = re.findall(r"\n\| module \| tries \|\n.*?\n\n", PAGE, re.DOTALL)
    modules = {path.stem for path in (ROOT / "tests" / "attacks").glob("test_*.py")}
    assert set(re.findall(r"`(test_\w+)`", table)) == modules


def test_what_the_suites_count_is_among_the_figures():
    sources = (path.read_text() for path in (ROOT / "tests").rglob("*.py") if path.name != "tried.py")
    counted = {what for source in sources for what in TRIED.findall(source)}
    assert "sessions ended" in counted
    assert [what for what in sorted(counted) if what not in PAGE] == []


def test_the_figures_of_the_pictures_are_those_that_were_measured():
    measured = json.loads((ROOT / "docs" / "timelines" / "measured.json").read_text()).values()
    for side, said in re.findall(r"\| (Django alone|with safemigrations) \| ([^\n]+) \|", PAGE):
        found = [one["django" if side == "Django alone" else "safemigrations"] for one in measured]
        requests, failed = (sum(one[what] for one in found) for what in ("requests", "failed"))
        longest = max(one["wait"] for one in found)
        assert said == f"{requests:,} | {failed:,} | {longest:.2f} s"


def test_as_many_faults_are_put_in_as_it_says():
    assert f"{len(MUTATIONS)} faults" in PAGE
