"""The pages of reference say what the code says, and the site has every page."""

from __future__ import annotations

import inspect
import re

import pytest
from django.db.models import F, Q

from safemigrations import operations
from safemigrations.checking.catalogue import BY_ID
from tests.reference_pages import DOCS, PAGES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_reference_is_what_the_code_says(page):
    assert (DOCS / f"{page}.md").read_text() == PAGES[page](), "Write it anew: python -m tests.reference_pages"


def in_toctrees() -> list[str]:
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", (DOCS / "index.md").read_text(), re.MULTILINE | re.DOTALL)
    return [line for tree in trees for line in tree.splitlines() if re.fullmatch(r"\w+", line)]


def test_the_site_has_every_page_once():
    assert sorted(in_toctrees()) == sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")


def test_the_site_has_four_parts():
    captions = re.findall(r"^:caption: (.*)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert captions == ["Learn", "Do", "Each change", "Look up", "Understand"]


# llms.txt, for coding assistants.

LLMS = (DOCS / "llms.txt").read_text()


def test_what_assistants_are_told_to_write_can_be_written():
    """Each call is made, but for an argument that is left to them."""
    calls = [call for call in re.findall(r"`(\w+\([^`]*\))`", LLMS) if "..." not in call]
    names = {**vars(operations), "F": F, "Q": Q}
    assert [type(eval(call, names)).__name__ for call in calls] == ["Backfill"]


def test_the_names_that_assistants_are_told_exist():
    for name in re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", LLMS):
        assert hasattr(operations, name) or name == "RunPython", name
    (given,) = re.findall(r"`AddFieldNullableThenBackfill\(([^)]*)\)`", LLMS)
    told = [argument.partition("=")[0].strip() for argument in given.split(",")]
    assert set(told) < set(inspect.signature(operations.AddFieldNullableThenBackfill).parameters)


def test_the_commands_that_assistants_are_told_exist():
    typed = set(re.findall(r"`python manage\.py (?:safemigrations )?(\w+)", LLMS))
    known = set(re.findall(r"^\| `(?:safemigrations )?(\w+)", (DOCS / "commands.md").read_text(), re.MULTILINE))
    assert typed == {"makemigrations", "lint", "sqlmigrate", "status"}
    assert typed <= known
    assert "E001" in LLMS
    assert "safemigrations.E001" in BY_ID
