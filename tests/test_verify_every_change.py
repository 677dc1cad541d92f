"""Nothing is drift in any state of any change: before it, expanded, contracted.

The default run takes a case of each class of operations; where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, all.
"""

from __future__ import annotations

import pytest
from django.db import connection

from safemigrations.inspecting.drift.inspection import Inspection
from safemigrations.inspecting.drift.verify import find

from .representatives import classes_of_operations, representatives


def drift() -> list[str]:
    found = find(Inspection(connection))
    # Alone, RenameField leaves the old name in Meta.indexes: a state of which nobody can make a model.
    assert [note for note in found.notes if "has no field named" not in note] == []
    return [f"{line.place}: {line.text}" for line, _ in found.lines]


@pytest.mark.parametrize("case", representatives(classes_of_operations), ids=repr)
def test_nothing_is_drift_in_any_state(release):
    states = {"before": drift()}
    release.expand()
    states["expanded"] = drift()
    release.contract()
    states["contracted"] = drift()
    assert states == {"before": [], "expanded": [], "contracted": []}
