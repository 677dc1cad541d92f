"""The pictures on the pages of the changes show what was measured; python -m tests.timelines measures again."""

from __future__ import annotations

import re

import pytest

from tests.test_docs import CHANGES, DOCS, page
from tests.timelines.drawn import FOLDER, measured, picture, said
from tests.timelines.pages import PAGES


def test_every_change_has_one():
    assert {*CHANGES, "backfill", "add_exclusion_constraint"} == set(PAGES) == set(measured())


@pytest.mark.parametrize("name", PAGES)
def test_a_picture_is_drawn_from_what_was_measured_and_its_page_says_the_same(name):
    sides = measured()[name]
    assert (FOLDER / f"{name}.svg").read_text() == picture(sides)
    (shown,) = re.findall(rf"!\[([^\]]*)\]\(timelines/{name}.svg\)", page(name))
    assert shown == said(sides)


@pytest.mark.parametrize("name", PAGES)
def test_with_safemigrations_no_request_failed(name):
    side = measured()[name]["safemigrations"]
    assert (side["refused"], side["failed"], side["error"]) == ("", 0, "")
    assert "f" not in side["old"] + side["new"]


def test_pictures_are_those_of_pages():
    assert {file.stem for file in FOLDER.glob("*.svg")} == set(PAGES)
    assert FOLDER.parent == DOCS
