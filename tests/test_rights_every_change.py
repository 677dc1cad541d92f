"""Every change, by a role that owns its tables and may create nothing: refused before its first step, or done whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from django.db import connection

from safemigrations.errors import StepFailed

from .cases import CASES
from .releases import contract
from .representatives import ONE_IN, classes_of_operations, few
from .snapshot import snapshot
from .tried import tried
from .walk import Release

CLOSED = "may not create anything in the schema public, where indexes, functions or tables are to be made. Nothing was"
OWNED = """
    DO $$ DECLARE found record; BEGIN FOR found IN SELECT oid::regclass AS name FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
    LOOP EXECUTE format('ALTER TABLE %s OWNER TO {0}', found.name); END LOOP; END $$
"""


def send(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def poor(release: Release) -> Iterator[str]:
    name = f"poor_{uuid4().hex[:8]}"
    send(f"CREATE ROLE {name}; {OWNED.format(name)}; SET ROLE {name}")
    tried("roles")
    yield name
    send(f"RESET ROLE; DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except StepFailed as error:
        return str(error)
    return ""


def whole_or_refused(act: Callable[[], object], role: str) -> None:
    """Where it is refused nothing is changed, and with the right it goes through."""
    before = snapshot(connection)
    if not (said := refusal(act)):
        return
    assert CLOSED in said
    assert snapshot(connection) == before
    send(f"RESET ROLE; GRANT CREATE ON SCHEMA public TO {role}; SET ROLE {role}")
    act()
    send(f"RESET ROLE; REVOKE CREATE ON SCHEMA public FROM {role}; SET ROLE {role}")


# All of them take four minutes; in the matrix they are tried.
CHOSEN = CASES if ONE_IN == 1 else few(classes_of_operations)[:4]


@pytest.mark.parametrize("case", CHOSEN, ids=repr)
def test_a_role_that_may_create_nothing(case, release, poor):
    assert case
    whole_or_refused(release.expand, poor)
    whole_or_refused(contract, poor)
