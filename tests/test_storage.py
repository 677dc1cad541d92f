"""Tables of ours that an earlier version has made."""

from __future__ import annotations

import pytest
from django.test import override_settings

from safemigrations.contracts import acts, deciding, queue, releases
from safemigrations.contracts.table import Contract
from safemigrations.errors import StepFailed
from safemigrations.plans.steps import Statement

NEW = ("until", "reason", "signature")


def put(connection, number=1):
    plan = (Statement(why="log", sql="SELECT 1", locks={}),)
    queue.put(connection, app_label="shop", migration="0002", operation=f"Change({number})", label="x", plan=plan)


@pytest.fixture
def earlier(database, other_connection):
    """The queue as the version before postponed rows has made it, with a row."""
    put(database)
    for column in NEW:
        other_connection.execute(f"ALTER TABLE safemigrations_contract DROP COLUMN {column}")
    return database


def test_columns_that_came_later_are_added_by_whoever_looks_first(earlier):
    (row,) = queue.rows(earlier)
    assert (row.until, row.reason) == (None, "")
    put(earlier, 2)
    assert queue.rows(earlier).count() == 2


def test_a_process_of_the_earlier_version_still_writes(earlier, other_connection):
    queue.rows(earlier)
    columns = ", ".join(str(field.column) for field in Contract._meta.fields if field.name not in (*NEW, "id"))
    values = columns.replace("operation", "'Change(2)'")
    other_connection.execute(
        f"INSERT INTO safemigrations_contract ({columns}) SELECT {values} FROM safemigrations_contract"
    )
    assert [(row.until, row.reason) for row in queue.rows(earlier)] == [(None, "")] * 2


def test_who_may_not_add_a_column_is_told(earlier, connect):
    connect().execute("GRANT SELECT ON safemigrations_contract TO pg_monitor")
    with earlier.cursor() as cursor:
        cursor.execute("SET ROLE pg_monitor")
    with pytest.raises(StepFailed) as refused:
        queue.rows(earlier)
    assert str(refused.value) == (
        "The table safemigrations_contract was made by an earlier version of safemigrations and has no "
        "signature, until, reason, and this role could not add that: must be owner of table safemigrations_contract\n"
        "Run migrate once, as the owner of that table, on the primary."
    )


def test_what_people_did_is_kept_with_who_and_why(database, other_connection):
    put(database)
    (row,) = queue.rows(database)
    assert not acts.kept(database)
    acts.keep(database, row, "skip", reason="the auditors need it", until="2027-01-01")
    row.delete()
    (act,) = acts.kept(database, act="skip")
    assert str(act) == "skip shop.0002  x"
    assert (act.reason, act.details) == ("the auditors need it", {"until": "2027-01-01"})
    assert act.database_role == other_connection.info.user
    assert "@" in act.os_user


def test_a_release_is_noted_once_and_seen_again(database):
    assert releases.recorded(database) == {}
    assert releases.record(database)
    (first,) = releases.recorded(database).values()
    assert releases.record(database)
    (again,) = releases.recorded(database).values()
    assert again == first
    assert again.last_seen > first.last_seen
    assert first.knows("contenttypes", "0001_initial")
    assert not first.knows("contenttypes", "0009_unknown")
    assert again.first_seen == first.first_seen


def test_rows_of_an_earlier_version_are_signed_when_the_column_comes(earlier):
    (row,) = queue.rows(earlier)
    assert row.is_signed


def test_a_former_key_is_known_and_a_person_may_trust_a_row(database):
    with override_settings(SECRET_KEY="before"):
        put(database)
    with override_settings(SECRET_KEY_FALLBACKS=["before"]):
        assert queue.rows(database).get().is_signed
    row = queue.rows(database).get()
    with pytest.raises(StepFailed, match=f"contract trust {row.pk} --reason"):
        assert row.steps
    deciding.trust(database, [row.pk], reason="the key was changed")
    assert queue.rows(database).get().is_signed
    assert acts.kept(database).get().reason == "the key was changed"
