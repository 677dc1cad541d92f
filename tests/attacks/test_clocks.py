"""Machines whose clocks are wrong: what they compare with each other's is the server's time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import three_releases
from tests.project import Project
from tests.test_contracting import ASK, CONTRACT, MARKS, open_rows, output_of, refused, with_settings

WRONG = """
import datetime
from django.utils import timezone

class Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.now(tz) + datetime.timedelta(days={days})

timezone.datetime = Wrong
"""
DAYS = (1, -1)


def release(folder: Path, dsn: str, number: int, *, days: int, **settings: object) -> Project:
    """On a machine whose clock is wrong by so many days."""
    tree = with_settings(three_releases.tree(folder, dsn, number), **settings)
    tree.write("shop/__init__.py", WRONG.format(days=days))
    return tree


def test_the_clock_is_wrong(tmp_path, at):
    tree = release(tmp_path, at("v2"), 2, days=400)
    tree.write("year.py", "import shop\nfrom django.utils.timezone import now\nprint(now().year)")
    year = int(tree.sql("SELECT extract(year FROM now() + interval '400 days')")[0][0])
    assert output_of(tree, "year.py") == str(year)


@pytest.mark.parametrize(("days", "with_time_zone"), [(1, True), (-1, False)])
def test_how_old_a_row_is(tmp_path, at, days, with_time_zone):
    new = release(tmp_path, at("v2"), 2, days=days, CONTRACT_AFTER=3600)
    new.set(USE_TZ=with_time_zone)
    assert re.search(r"\n  left \d+ (s|min) ago, and CONTRACT_AFTER is 1 h\n", refused(new))
    new.manage("safemigrations", "status", "--older-than", "1h").check()
    new.manage("safemigrations", "verify", "--older-than", "1h").check()
    new.sql("UPDATE safemigrations_contract SET created_at = now() - interval '2 hours'")
    assert "Forgotten: 1, 2." in new.manage("safemigrations", "status", "--older-than", "1h").stderr
    assert "2 h" in new.manage("safemigrations", "verify", "--older-than", "1h").stdout
    new.manage(*CONTRACT).check()


@pytest.mark.parametrize("days", DAYS)
def test_how_long_a_release_was_away(tmp_path, at, days):
    dsn = at("v2")
    old = with_settings(three_releases.tree(tmp_path, dsn, 1), GATE_QUIET=300)
    new = release(tmp_path, dsn, 2, days=days, GATE_QUIET=300)
    old.write("ask.py", ASK)
    new.manage(*CONTRACT, "--plan").check()
    new.sql(
        "CREATE TABLE IF NOT EXISTS safemigrations_seen (mark varchar(8) PRIMARY KEY, seen_at timestamptz NOT NULL)"
    )
    assert output_of(old, "ask.py") == f"safemig:{MARKS[1]}"
    assert re.search(rf"  release v1 \({MARKS[1]}\) connected \d+ s ago; GATE_QUIET waits", refused(new))
    new.sql("UPDATE safemigrations_seen SET seen_at = seen_at - interval '301 seconds'")
    new.manage(*CONTRACT).check()


@pytest.mark.parametrize("days", DAYS)
def test_when_a_row_was_left_and_until_when_it_is_postponed(tmp_path, at, days):
    dsn = at("v1")
    new = release(tmp_path, dsn, 2, days=days)
    new.manage("migrate").check()
    recent = "SELECT bool_and(abs(extract(epoch FROM now() - {})) < 3600) FROM safemigrations_{}"
    for moment, table in (
        ("created_at", "contract"),
        ("last_seen", "release WHERE first_seen = last_seen"),
        ("started_at", "history"),
        ("ended_at", "history"),
    ):
        assert new.sql(recent.format(moment, table)) == [(True,)], (moment, table)
    new.manage("safemigrations", "contract", "postpone", "1", "2", "--for", "12h").check()
    right = three_releases.tree(tmp_path / "right", dsn, 2)
    assert "postponed until" in right.manage(*CONTRACT).check().stdout
    assert open_rows(right) == 2
    new.sql("UPDATE safemigrations_contract SET until = until - interval '13 hours'")
    new.manage(*CONTRACT).check()
    assert open_rows(new) == 0
