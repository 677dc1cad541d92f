"""Whatever is wrong with a database, a command says so in a sentence, or answers as it always does.

It never ends with a traceback, and never says less than it would have said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from safemigrations.contracts import readiness

from .attacks.deployment import Deployment, Outcome
from .conftest import drop_left_databases, forget, new_database
from .cutting import Cutting, How, cutting
from .representatives import ONE_IN, crossed
from .troubles import COMMANDS, LOOKS, OF_LOOKS, POOR, TELL, TROUBLES, answer, deployed, make


class Made(NamedTuple):
    books: Deployment
    template: str
    proxy: Cutting
    answers: dict[str, Outcome]  # of each command, where nothing is wrong


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    server = os.environ["SAFEMIGRATIONS_TEST_DSN"]
    options = conninfo_to_dict(server)
    with (
        pytest.MonkeyPatch.context() as patch,
        new_database("default", patch) as database,
        cutting(str(options["host"]), str(options.get("port", "5432"))) as proxy,
        psycopg.connect(server, autocommit=True) as superuser,
    ):
        template = database.settings_dict["NAME"]
        superuser.execute(f"CREATE ROLE {POOR} LOGIN")
        with deployed(tmp_path_factory.mktemp("made"), make_conninfo(server, dbname=template)) as books:
            forget("default")
            yield Made(books, template, proxy, {})
        drop_left_databases()  # they hold what this role may use
        superuser.execute(f"DROP ROLE {POOR}")


@contextmanager
def copied(made: Made) -> Iterator[str]:
    """A database like the template; its connection string."""
    with pytest.MonkeyPatch.context() as patch, new_database("default", patch, made.template) as database:
        yield make_conninfo(os.environ["SAFEMIGRATIONS_TEST_DSN"], dbname=database.settings_dict["NAME"])


@contextmanager
def by_way_of(proxy: Cutting) -> Iterator[None]:
    connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict, "HOST", proxy.folder)
        yield
        connection.close()


def typed(made: Made, command: str) -> Outcome:
    readiness._answers.clear()  # which hold for a moment
    try:
        return made.books.manage(*COMMANDS[command])
    except SystemExit as error:  # of Django's own commands
        connection.close()
        return Outcome(f"exit status {error.code}")


def as_always(made: Made, command: str) -> Outcome:
    if command not in made.answers:
        with copied(made):
            made.answers[command] = typed(made, command)
    return made.answers[command]


def assert_is_told(made: Made, command: str, end: Outcome, says: str) -> None:
    assert not end.traceback, end.traceback
    if answer(end) != answer(as_always(made, command)):
        assert end.error or command in TELL, end.output
        assert re.search(f"{says}|{OF_LOOKS}", end.said), end.said


@crossed("command,trouble", COMMANDS, TROUBLES)
def test_a_trouble_is_told_in_a_sentence_or_makes_no_difference(made: Made, command: str, trouble: str):
    wrong = TROUBLES[trouble]
    with copied(made) as dsn, pytest.MonkeyPatch.context() as patch:
        make(wrong, dsn)
        if wrong.poor:
            patch.setitem(connection.settings_dict, "USER", POOR)
        if not wrong.refusal[0]:
            end = typed(made, command)
        else:
            made.proxy.refuse(*wrong.refusal)
            with by_way_of(made.proxy):
                end = typed(made, command)
    assert_is_told(made, command, end, wrong.says)


LOST = r"The connection to the server was lost \(.*\)\. What was done before stays\. Run the same command again\.$"


@pytest.mark.parametrize("command", LOOKS if ONE_IN == 1 else ["migrate --plan", "verify", "preflight", "ready"])
def test_a_connection_that_is_lost_leaves_nothing_out(made: Made, command: str):
    """Cut at any statement: whoever goes on would say less than there is."""
    says = LOST if command != "ready" else r"could not be asked \(.*\)"
    as_always(made, command)
    with copied(made), by_way_of(made.proxy):
        made.proxy.cut(0)
        typed(made, command)
        many = made.proxy.count
        for at in range(1, many + 1, 1 if ONE_IN == 1 else max(1, many // 4)):
            made.proxy.cut(at, list(How)[at % len(How)])
            assert_is_told(made, command, typed(made, command), says)


@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in LOOKS] if ONE_IN == 1 else ["the way back"])
def test_after_a_connection_that_was_lost_the_same_command_arrives(made: Made, command: str):
    with copied(made), by_way_of(made.proxy):
        made.proxy.cut(0)
        typed(made, command)
        many = made.proxy.count
    for at in range(1 if ONE_IN == 1 else many // 2, many + 1, 5 if ONE_IN == 1 else many):
        with copied(made), by_way_of(made.proxy):
            made.proxy.cut(at, list(How)[at % len(How)])
            end = typed(made, command)
            made.proxy.cut(0)
            assert not end.traceback, end.traceback
            if end.error:
                again = typed(made, command)
                is_over = command.startswith("backfill") and "There is no backfill to" in again.error
                assert is_over or answer(again) == answer(as_always(made, command)) or not again.error, again.error
