"""A helpdesk of 13 models goes through 25 changes: each is written by makemigrations, and its rollout rehearsed.

The rehearsal plays requests of both releases before and after each half, and takes the change back from each. The
default run takes one change; where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, all.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from .helpdesk import CHANGES, MODELS, Change
from .project import Project
from .rehearsed import commit, rehearse
from .representatives import ONE_IN

FEW = ("a many-to-many field gets a model",)


@pytest.fixture
def helpdesk(tmp_path, dsn) -> Project:
    project = Project(tmp_path, dsn, apps=["helpdesk"])
    project.write_models("helpdesk", MODELS)
    project.manage("makemigrations", "helpdesk").check()
    commit(project)
    return project


@pytest.mark.parametrize("name", [name for name in CHANGES if ONE_IN == 1 or name in FEW])
def test_a_rollout_and_both_ways_back(helpdesk, name):
    change = CHANGES[name]
    helpdesk.write_models("helpdesk", change.models)
    helpdesk.manage("makemigrations", "helpdesk", input=change.answers).check()
    assert helpdesk.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    helpdesk.manage("makemigrations", "--check", "--dry-run").check()
    status, found = rehearse(helpdesk)
    unexpected = [each for each in found["findings"] if not is_documented(change, each)]
    assert unexpected == []
    assert status == bool(found["findings"])


def is_documented(change: Change, finding: Any) -> bool:
    pattern = change.documented
    return bool(pattern) and finding["kind"] == "lost" and bool(re.fullmatch(pattern, finding["message"]))


def test_there_are_13_models_and_25_changes():
    assert MODELS.count("(models.Model):") == 13
    assert len(CHANGES) == 25
    assert all(change.models != MODELS for change in CHANGES.values())
