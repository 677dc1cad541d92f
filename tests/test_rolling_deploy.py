"""Two releases, each in a process of its own with its own models, through every phase of a change.

The engine is that of the rehearsal; here it plays on models that migration states have. The default run takes the
representatives of the cases (tests/representatives.py); where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, every
case.
"""

from __future__ import annotations

import pytest

from .forked import both_releases, contracted, playing
from .representatives import forms_of_steps, representatives


@pytest.mark.parametrize("case", representatives(forms_of_steps), ids=repr)
def test_no_request_fails_and_no_value_is_lost(case, release):
    with playing(case) as play:
        play.begin("old alone, before")
        play.start_old()
        play.ask(play.old[0], "round")
        play.begin("expand")
        play.go_on(0, release.expand)
        play.ask(play.old[0], "round")
        play.start_new()
        contracted(play, case, release.contract, both_releases(play, case))
