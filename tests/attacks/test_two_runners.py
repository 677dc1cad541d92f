"""Two runners: a migration runs once, whatever it does to the connection that it is given."""

from __future__ import annotations

import pytest

from ..contention import until
from ..project import Project

RUN = """
import time
import psycopg
from django.db import close_old_connections, connections, migrations

# The other runner, as soon as it has had time to come in.
SECOND = "datname = current_database() AND application_name ~ 'second'"
SECOND += " AND backend_start < clock_timestamp() - interval '1 s'"
HERE = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"


def end(connection, sessions):
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM {{sessions}}")


def value(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def run(apps, schema_editor):
    connection = schema_editor.connection
    value(connection, "INSERT INTO shop_run DEFAULT VALUES RETURNING 1")
    {what}
    for _ in range(1200):
        runs = value(connection, "SELECT count(*) FROM shop_run")
        if runs > 1 or value(connection, f"SELECT count(*) FROM pg_stat_activity WHERE {{SECOND}}"):
            break
        time.sleep(0.05)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [('shop', '0001_initial')]
    operations = [{operation}]
"""
MODEL = "class Run(models.Model):\n    pass\n"
PYTHON = "migrations.RunPython(run)"
END = "end(connection, f'(SELECT {connection.connection.info.backend_pid}) AS own (pid)'); connection.close()"
LETS_GO = {
    "nothing": ("pass", PYTHON),
    "connection.close()": ("connection.close()", PYTHON),
    "close_old_connections()": ("close_old_connections()", PYTHON),
    "its session is ended": (END, PYTHON),
    "DISCARD ALL": ("pass", f"migrations.RunSQL('DISCARD ALL'), {PYTHON}"),
    "pg_advisory_unlock_all()": ("pass", f"migrations.RunSQL('SELECT pg_advisory_unlock_all()'), {PYTHON}"),
}


def prepared(project: Project, what: str, operation: str) -> Project:
    project.write_models("shop", MODEL)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.write_migration("shop", "0002_run", RUN.format(what=what, operation=operation))
    return project


@pytest.mark.parametrize("what", LETS_GO)
def test_a_migration_that_lets_its_connection_go_runs_once(project, what):
    prepared(project, *LETS_GO[what])
    first = project.start("migrate")
    until(lambda: project.sql("SELECT 1 FROM shop_run"))
    project.settings["DATABASES"]["default"]["OPTIONS"]["application_name"] = "second"
    project.set()
    second = project.start("migrate")
    ends = first.wait(), second.wait()
    assert project.sql("SELECT count(*) FROM shop_run") == [(1,)], ends
    assert [end.returncode for end in ends] == [0, 0], ends


TAKE_AWAY = "end(connection, f\"pg_locks WHERE locktype = 'advisory' AND granted AND {HERE}\"); return"
NEXT = RUN.replace("0001_initial", "0002_run").format(what="return", operation=PYTHON)


def test_a_runner_that_lost_the_lock_stops_before_the_next_migration(project):
    prepared(project, TAKE_AWAY, PYTHON)
    project.write_migration("shop", "0003_next", NEXT)
    end = project.manage("migrate")
    assert project.sql("SELECT count(*) FROM shop_run") == [(1,)], end
    assert end.returncode
    assert "Traceback" not in end.stderr
