"""The databases that tests ask for."""

import os
import signal
import subprocess
import sys

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections

from . import processes

NAMES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
MARK = "CREATE TABLE mark ()"


def tables(connection):
    with connection.cursor() as cursor:
        cursor.execute(NAMES)
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize("run", [1, 2])
def test_each_test_starts_with_an_empty_database(database, run):
    assert connection.alias == database.alias == "default"
    assert tables(database) == []
    with database.cursor() as cursor:
        cursor.execute(MARK)


@pytest.mark.parametrize("run", [1, 2])
def test_an_unfinished_transaction_ends_with_its_test(database, run):
    assert database.get_autocommit()
    database.set_autocommit(False)
    with database.cursor() as cursor:
        cursor.execute(MARK)


def test_other_connections_see_the_same_database(database, other_connection, connect):
    other_connection.execute(MARK)
    assert tables(database) == ["mark"]
    assert connect().execute(NAMES).fetchall() == [("mark",)]


def test_the_two_databases_are_apart(two_databases):
    default, other = two_databases
    with other.cursor() as cursor:
        cursor.execute(MARK)
    assert tables(default) == []
    assert tables(other) == tables(connections["other"]) == ["mark"]


def test_a_subprocess_sees_the_database_of_its_test(database):
    call_command("migrate", verbosity=0)
    script = """if True:
        import django
        django.setup()
        from django.contrib.auth.models import User
        print(User.objects.count())
    """
    result = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, text=True, check=True)
    assert result.stdout == "0\n"


def test_a_test_that_asked_for_no_database_has_none():
    with pytest.raises(OperationalError, match="this_test_asked_for_no_database"):
        connection.ensure_connection()


def test_a_process_ends_with_its_test_and_with_what_it_has_started():
    ours, theirs = os.pipe()
    shell = ["sh", "-c", "sleep 600; true"]
    with processes.ended():
        alone = processes.start(["sleep", "600"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        leader = processes.start(shell, process_group=0, stdout=theirs)
        os.close(theirs)
    assert [process.returncode for process in (alone, leader)] == [-signal.SIGKILL] * 2
    assert os.read(ours, 1) == b""  # nobody has the other end any more
    os.close(ours)
