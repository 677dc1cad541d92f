"""Which statements may wait for a table: a pattern knows the usual ones, and never lets pass what the lexer stops."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from safemigrations.postgres import statements
from safemigrations.postgres.statements import PLAIN, may_wait_for_a_table

HARMLESS = (
    "SELECT 1",
    "select a FROM b;",
    "SELECT 'a;b', \"c;d\"",
    "SET LOCAL lock_timeout = '2s'; INSERT INTO \"t\" VALUES ('it''s', 1 - 2 / 3)",
    "WITH a AS (SELECT 1) SELECT * FROM a; RELEASE SAVEPOINT s;",
    "SELECT $$a; b$$",
    "VACUUM t",
    "-- why\nSELECT 1",
    'CREATE INDEX CONCURRENTLY "i" ON t (a)',
)
MAY_WAIT = (
    "LOCK TABLE t",
    "ALTER TABLE t ADD x int",
    "SELECT 1; DROP TABLE t",
    "SELECT 1;LOCK t;SELECT 1",
    "SELECT E'\\''; LOCK TABLE t; SELECT ''",
    "SELECT 1 -- '\n; LOCK TABLE t; SELECT ''",
    "SELECT 1 /* ' */; LOCK TABLE t; SELECT ''",
    "SELECT $$'$$; LOCK TABLE t; SELECT ''",
    "SETTLE",
    "VACUUM FULL t",
)
PIECES = some.sampled_from(
    [*HARMLESS, *MAY_WAIT, *";;;;'\"-/*$\\ \n", "--", "/*", "*/", "$$", "E'\\''", "'it''s'", " x ", "1 - 2"]
)


@pytest.mark.parametrize(("sql", "waits"), [(sql, False) for sql in HARMLESS] + [(sql, True) for sql in MAY_WAIT])
def test_what_may_wait_for_a_table(sql, waits):
    assert may_wait_for_a_table(sql) is waits


def test_the_usual_statements_never_come_to_the_lexer():
    assert [sql for sql in HARMLESS if not re.match(PLAIN, sql)] == list(HARMLESS[-4:])
    assert not any(re.match(PLAIN, sql) for sql in MAY_WAIT)


@settings(deadline=None)
@given(some.lists(PIECES, max_size=6).map("".join))
def test_the_pattern_lets_nothing_pass_that_the_lexer_stops(sql):
    if re.match(PLAIN, sql):
        assert all(map(statements._is_harmless, statements._statements(sql)))
