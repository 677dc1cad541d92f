"""What is told of others' statements: never a value, however it is written, and wherever the text is cut off."""

from __future__ import annotations

import pytest

from safemigrations.postgres.masking import masked

SHOWN = {
    "SELECT 'hunter2', count(*)  FROM shop": "SELECT ?, count(*) FROM shop",
    "SELECT 'it''s hunter2' FROM shop": "SELECT ? FROM shop",
    "SELECT E'pw=\\'hunter2' FROM shop": "SELECT ? FROM shop",
    "SELECT e'hunter2\\": "SELECT ?",
    "SELECT $$hunter2$$, $a$hunter2 $$ it$a$ FROM shop": "SELECT ?, ? FROM shop",
    "SELECT $é$hunter2$é$ FROM shop": "SELECT ? FROM shop",
    "SELECT U&'hunter2', x'1F', B'01', N'hunter2'": "SELECT ?, ?, ?, ?",
    "SELECT 31337, -3.5e7, .25, 0x7A69, 1_000": "SELECT ?, -?, ?, ?, ?",
    "SELECT t1.a2, $1 FROM \"My 'hunter1' table\" t1": "SELECT t1.a2, $1 FROM \"My 'hunter1' table\" t1",
    "/* pw=hunter2 /* deeper */ hunter2 */ SELECT 'x' -- hunter2\nFROM shop": "SELECT ? FROM shop",
    "/* hunter2 /* deeper */": "",
    "SELECT 'hunter2 is cut off": "SELECT ?",
    "SELECT $a$hunter2 is cut off$": "SELECT ?",
    'SELECT "hunter2': "SELECT",
    "SELECT 'a\\', 'hunter2' FROM shop": "SELECT ...",
    "/* hunter2 */ SELECT 'a\\', hunter2": "...",
    "ALTER ROLE app PASSWORD 'hunter2'": "ALTER ROLE app PASSWORD ?",
    "": "",
}


@pytest.mark.parametrize("statement", SHOWN)
def test_values_are_left_out(statement):
    assert masked(statement) == SHOWN[statement]


@pytest.mark.parametrize("statement", [statement for statement in SHOWN if "hunter2" in statement])
def test_wherever_it_is_cut_off_no_value_is_told(statement):
    assert not [at for at in range(len(statement)) if "hunter" in masked(statement[:at])]
