"""A pooler between migrate and the server is found before the first statement, with a real PgBouncer."""

from __future__ import annotations

import psycopg
import pytest

from safemigrations.errors import StepFailed
from safemigrations.running.one_at_a_time import OWN, WORK, one_at_a_time
from safemigrations.running.session import Session
from tests.lock_modes import connection_pid
from tests.project import Project
from tests.shared_pooler import pooler

LOCK = f"SELECT pg_advisory_lock({WORK})"
MODEL = "class Item(models.Model):\n    pass\n"
REFUSED = (
    "StepFailed: Database 'default' is reached through a pooler. Nothing was changed. A migrate holds locks and "
    "settings in its session, and a pooler in transaction mode gives that session to others. Use the host and port of "
    "the server itself for migrations, such as in another entry of DATABASES. Where the pooler keeps a session for as "
    'long as its client is connected, write SAFEMIGRATIONS = {"POOLER": "session"}.\n'
)
LEFT = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


@pytest.mark.parametrize("command", [["migrate"], ["migrate", "--contract", "--noinput"]], ids=" ".join)
def test_behind_a_pooler_nothing_is_begun(tmp_path, dsn, command):
    with pooler(dsn) as pooled:
        project = Project(tmp_path, pooled)
        project.write_models("shop", MODEL)
        project.manage("makemigrations").check()
        refused = project.manage(*command)
        assert (refused.returncode, refused.stderr) == (1, REFUSED)
        with psycopg.connect(dsn) as session:
            assert session.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,)
            assert session.execute(LEFT).fetchone() == (0,)


def test_a_pooler_that_keeps_sessions_is_accepted_where_somebody_says_so(tmp_path, dsn):
    with pooler(dsn, mode="session") as pooled:
        project = Project(tmp_path, pooled, SAFEMIGRATIONS={"POOLER": "session"})
        project.write_models("shop", MODEL)
        project.manage("makemigrations").check()
        project.manage("migrate").check()


def test_a_direct_connection_is_none(project):
    project.write_models("shop", MODEL)
    project.manage("makemigrations").check()
    project.manage("migrate").check()


def test_one_at_a_time_behind_a_pooler_that_keeps_sessions(tmp_path, dsn):
    with pooler(dsn, mode="session") as pooled, psycopg.connect(dsn, autocommit=True) as session:
        project = Project(tmp_path, pooled, SAFEMIGRATIONS={"POOLER": "session"})
        project.write_models("shop", MODEL)
        project.manage("makemigrations").check()
        session.execute(f"SELECT pg_advisory_lock({OWN})")
        second = project.start("migrate")
        assert "is running here; waiting for it to end." in second.read_until("waiting for it to end")
        session.execute(f"SELECT pg_advisory_unlock({OWN})")
        assert second.wait().check().lines[-1] == "  Applying shop.0001_initial... OK"
        assert session.execute(LEFT).fetchone() == (0,)


def test_a_lock_that_stays_in_another_session_is_said(database, other_connection):
    """Behind a pooler the unlock may come from another session than the lock."""
    said = "stays in the session {}, which a pooler may give to others, and the next migrate would wait for it."
    with pytest.raises(StepFailed) as error, one_at_a_time(database, print):
        Session(database).rows(f"SELECT pg_advisory_unlock({WORK})"), other_connection.execute(LOCK)
    assert said.format(other_connection.info.backend_pid) in str(error.value)


def test_what_went_wrong_is_said_although_the_session_ends_at_that_moment(database, connect, monkeypatch):
    monkeypatch.setattr(type(database), "is_usable", lambda connection: True)  # as it was a moment ago

    def fail() -> None:
        connect().execute("SELECT pg_terminate_backend(%s, 5000)", [connection_pid()])
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"), one_at_a_time(database, print):
        fail()
    database.close()
