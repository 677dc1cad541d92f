"""A pooler between migrate and the server is found before the first statement, with a real PgBouncer."""

from __future__ import annotations

import psycopg
import pytest

from tests.project import Project
from tests.shared_pooler import pooler

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
