"""Second connections beside the one that does the work."""

from __future__ import annotations

import re
from pathlib import Path

from safemigrations.running.another import another_connection

PACKAGE = Path(__file__).parent.parent / "safemigrations"


def test_it_comes_from_no_pool_and_keeps_what_the_project_has_set(database, monkeypatch):
    options = {**database.settings_dict["OPTIONS"], "pool": {"max_size": 1}, "application_name": "shop"}
    monkeypatch.setitem(database.settings_dict, "OPTIONS", options)
    other = another_connection(database, {"application_name": "ours", "keepalives_idle": 30})
    assert other.settings_dict["OPTIONS"] == {
        **{name: value for name, value in options.items() if name != "pool"},
        "keepalives_idle": 30,
    }
    assert database.settings_dict["OPTIONS"] == options


def test_nobody_else_copies_a_connection():
    """But for the second worker of a backfill, which transaction.atomic() has to find by the alias, and one that never
    connects, of the checks."""
    copies = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"(connection|watched|first)\.copy\(\)", path.read_text())
    }
    assert copies == {"running/another.py", "running/backfill/second.py", "checking/refused.py"}
