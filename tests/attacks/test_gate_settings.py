"""The settings of the gate, each in real processes; what they decide is tried in tests/test_gate.py."""

from __future__ import annotations

import re

from tests import three_releases
from tests.test_contracting import ASK, CONTRACT, MARKS, open_rows, output_of, refused, session, with_settings

__all__ = ["session"]  # a fixture


def test_strict_stops_for_a_session_without_a_mark(tmp_path, at, session):
    new = with_settings(three_releases.tree(tmp_path, at("v2"), 2), GATE="strict")
    psql, other = session(new, None, "psql"), session(new, None, "cron")
    said = refused(new)
    assert "  sessions without a mark, and GATE is 'strict':\n    pid N  cron  connected" in said
    assert "psql" not in said
    other.close()
    new.manage(*CONTRACT).check()
    assert psql.execute("SELECT 1")


def test_a_row_has_to_be_old_enough(tmp_path, at):
    new = with_settings(three_releases.tree(tmp_path, at("v2"), 2), CONTRACT_AFTER=3 * 24 * 60 * 60)
    said = refused(new)
    assert re.search(r"\n  left \d+ (s|min) ago, and CONTRACT_AFTER is 3 d\nWhen that is over", said)
    new.sql("UPDATE safemigrations_contract SET created_at = now() - interval '3 days'")
    new.manage(*CONTRACT).check()


def test_a_release_that_connected_a_moment_ago_is_waited_for(tmp_path, at):
    old, new, _ = (with_settings(tree, GATE_QUIET=300) for tree in three_releases.trees(tmp_path, at("v2")))
    old.write("ask.py", ASK)
    new.manage(*CONTRACT, "--plan").check()
    new.sql("CREATE TABLE safemigrations_seen (mark varchar(8) PRIMARY KEY, seen_at timestamptz NOT NULL)")
    assert output_of(old, "ask.py") == f"safemig:{MARKS[1]}"
    said = refused(new)
    assert re.search(
        rf"  release v1 \({MARKS[1]}\) connected \d+ s ago; GATE_QUIET waits until it was away for 300 s\n", said
    )
    new.sql("UPDATE safemigrations_seen SET seen_at = seen_at - interval '301 seconds'")
    new.manage(*CONTRACT).check()


def test_where_contracts_run_immediately_nobody_is_asked(tmp_path, at, session):
    new = with_settings(three_releases.tree(tmp_path, at("v2"), 2), CONTRACT="immediately", CONTRACT_AFTER=9999)
    session(new, 1)
    new.manage(*CONTRACT).check()
    assert open_rows(new) == 0
