"""A release: its version is said once, its checklist can be followed, and what versions.md promises is so."""

from __future__ import annotations

import json
import re
import tomllib
from configparser import ConfigParser
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest

import safemigrations
from safemigrations import operations
from tests import stored
from tests.stored import names
from tests.test_docs import DOCS, ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CHECKLIST = CONTRIBUTING.partition("\n## A release\n")[2]
VERSIONS = (DOCS / "versions.md").read_text()


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def tox() -> ConfigParser:
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "tox.ini")
    return config


def environments() -> set[str]:
    return {name.removeprefix("testenv:") for name in tox().sections() if name.startswith("testenv:")}


# The version.


def test_the_version_is_the_same_everywhere():
    assert project()["project"]["version"] == safemigrations.__version__
    assert stored.VERSIONS[-1] == safemigrations.__version__  # what it writes is recorded
    dated = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog(), re.MULTILINE)
    assert dated == sorted(dated, key=numbers, reverse=True)
    assert dated[:1] in ([], [safemigrations.__version__])


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_the_changelog_begins_with_what_comes_next():
    sections = re.findall(r"^## (.*)$", changelog(), re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", section) for section in sections[1:])


# The checklist.


def test_it_names_every_environment_of_tox_that_has_to_be_green():
    told = set(re.findall(r"`tox -e (\w+)`", CHECKLIST))
    assert told == environments() - {"lint", "demo", "bench"}  # tox itself runs lint; the others judge nothing
    assert told == set(re.findall(r"^\| `tox -e (\w+)` \|", CONTRIBUTING, re.MULTILINE))
    for label in re.findall(r"tox run -m (\w+)", CONTRIBUTING):
        assert re.search(rf"^{label} = ", tox()["tox"]["labels"].strip(), re.MULTILINE)


def test_what_it_types_is_there():
    for path in re.findall(r"\b(?:tests|docs|safemigrations)/[\w/]+\.\w+", CHECKLIST):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", CONTRIBUTING):
        installed = find_spec(module)
        assert installed or any(str(line).startswith(module) for line in project()["dependency-groups"]["package"]), (
            module
        )
    for group in re.findall(r"--group (\w+)", CONTRIBUTING):
        assert group in project()["dependency-groups"]
    assert "twine>=6" in project()["dependency-groups"]["package"]


# What stays.


def table() -> dict[str, str]:
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", VERSIONS, re.MULTILINE))


@pytest.mark.parametrize(
    ("what", "classifier"), [("Python", "Programming Language :: Python"), ("Django", "Framework :: Django")]
)
def test_the_supported_versions_are_those_of_the_metadata_and_of_the_matrix(what, classifier):
    classifiers = [line.removeprefix(f"{classifier} :: ") for line in project()["project"]["classifiers"]]
    known = [version for version in classifiers if re.fullmatch(r"\d+\.\d+", version)]
    first, _, last = table()[what].partition(" to ")
    assert (known[0], known[-1]) == (first, last) if last else known == first.split(", ")
    matrix = tox()["tox"]["labels"]
    digits = {version.replace(".", "") for version in known}
    found = re.findall(r"(?:py|django)(\d+|\{[\d,]+\})", matrix)
    assert digits <= {number for group in found for number in group.strip("{}").split(",")}


def test_the_oldest_versions_are_those_that_are_required():
    metadata = project()["project"]
    assert metadata["requires-python"] == f">={table()['Python'].split()[0]}"
    assert f"django>={table()['Django'].split(',')[0]}" in metadata["dependencies"]
    assert f"psycopg>={table()['psycopg'].split()[0]}" in metadata["dependencies"]


def test_no_name_is_gone():
    """A name that may go is recorded no more, after a minor release that warned of it."""
    assert names.missing(names.names(), json.loads(names.FILE.read_text())) == []


@pytest.mark.parametrize(
    ("kind", "name", "part"),
    [("operations", "Backfill", "set"), ("commands", "migrate", "--contract"), ("settings", "LOCK_TIMEOUT", "")],
)
def test_a_name_that_is_gone_is_missed(kind, name, part):
    now = names.names()
    if part:
        now[kind][name].remove(part)
    else:
        del now[kind][name]
    assert names.missing(now, json.loads(names.FILE.read_text())) == [f"{kind}: {name} {part}".strip()]


def test_operations_are_imported_from_where_migration_files_say():
    recorded = json.loads(names.FILE.read_text())["operations"]
    assert {name for name in recorded if not hasattr(operations, name)} == set()
    for version in stored.VERSIONS:
        text = "".join(stored.read(version)["files"].values())
        assert set(re.findall(r"safemigrations\.operations\.(\w+)\(", text)) <= set(recorded)
