"""What the server refuses is said with what to do, and with nobody to blame who isn't."""

from __future__ import annotations

import pytest

from safemigrations.errors import StepFailed
from safemigrations.running.denied import CANCELLED, EITHER, TIMEOUT, denied_in_words

ENDED = {
    "by statement_timeout": (
        "SET statement_timeout = '20ms'; SELECT pg_sleep(60)",
        f"canceling statement due to statement timeout. What was done before stays. {TIMEOUT}",
    ),
    "by somebody": (
        "SELECT pg_cancel_backend(pg_backend_pid()); SELECT pg_sleep(60)",
        f"canceling statement due to user request. What was done before stays. {CANCELLED}",
    ),
    "in another language": (
        "DO $$ BEGIN RAISE SQLSTATE '57014' USING MESSAGE = 'storniere Anfrage wegen Benutzeranfrage'; END $$",
        f"storniere Anfrage wegen Benutzeranfrage. What was done before stays. {EITHER}",
    ),
}


@pytest.mark.parametrize("how", ENDED)
def test_a_statement_that_was_cancelled(database, how):
    sql, said = ENDED[how]
    with pytest.raises(StepFailed) as refused, denied_in_words(), database.cursor() as cursor:
        cursor.execute(sql)
    assert str(refused.value) == f"The server refused: {said}"
