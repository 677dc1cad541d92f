"""The page and the schema of the events say what the code does."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from .event_pages import ENVELOPE, MEANINGS, PAGE, SCHEMA, events, page, schema

AGAIN = "Write it anew: DJANGO_SETTINGS_MODULE=tests.settings python -m tests.event_pages"


def test_the_page_is_of_these_events():
    assert PAGE.read_text() == page(), AGAIN


def test_the_schema_is_of_these_events():
    assert SCHEMA.read_text() == schema() + "\n", AGAIN
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_each_argument_has_a_meaning_and_each_meaning_an_argument():
    assert {name for event in events() for name in event.carries()} - set(ENVELOPE) == set(MEANINGS)


@pytest.mark.parametrize("wrong", [{"event": "step_done"}, {"event": "no_such_event"}, {}])
def test_the_schema_refuses_what_is_no_event(wrong):
    assert not Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(wrong)
