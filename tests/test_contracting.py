"""migrate --contract as people and pipelines run it: releases that are trees of their own, in real processes."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from safemigrations.contracts.marks import mark_of
from tests import three_releases
from tests.project import Project, Result
from tests.shared_pooler import pooler

NAMES = three_releases.NAMES
MARKS = {number: mark_of({("shop", name) for name in NAMES[:number]}) for number in (1, 2, 3)}
SIZE, NOTE = "shop.0002_size  drop the database default of size of shop_item", "shop.0002_size  drop note of shop_item"
TITLE = "shop.0003_title  rename name of shop_item to title"
AGAIN = "When that is over, run the same command again. --force goes past it.\n"
CONTRACT = ("migrate", "--contract", "--noinput")

HOLD = """
from django.core.management.base import BaseCommand
from django.db import connection


class Command(BaseCommand):
    def handle(self, **options):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            print(*cursor.fetchone(), flush=True)
            cursor.execute("SELECT pg_sleep(60)")
"""


def steady(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"pid \d+", "pid N", text)
    return re.sub(r"(connected|idle|active) for \d+ (s|min)", r"\1 for N s", text)


def columns(project: Project) -> list[str]:
    found = (
        "SELECT attname FROM pg_attribute WHERE attrelid = 'shop_item'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return sorted(name for (name,) in project.sql(found))


def open_rows(project: Project) -> int:
    ((count,),) = project.sql("SELECT count(*) FROM safemigrations_contract WHERE status <> 'done'")
    return int(count)


def refused(project: Project, *args: str) -> str:
    """What a contract says that has to wait; nothing has run."""
    before = columns(project), open_rows(project)
    result = project.manage(*CONTRACT, *args)
    assert result.returncode == 75, result.stdout + result.stderr
    assert (columns(project), open_rows(project)) == before
    return steady(result.stderr)


@pytest.fixture
def session(request):
    """A function: a session on the database of a project, with the mark of a release or without one."""

    def opened(project: Project, number: int | None, name: str = "web") -> psycopg.Connection:
        called = f"{name} safemig:{MARKS[number]}" if number else name
        connection = psycopg.connect(project.dsn, autocommit=True, application_name=called)
        request.addfinalizer(connection.close)
        return connection

    return opened


# Rolled back.


def test_after_a_rollback_the_pipeline_of_the_old_release_drops_nothing(tmp_path, at):
    old, new, _ = three_releases.trees(tmp_path, at("v1"))
    new.manage("migrate").check()
    everything = columns(old)
    old.manage("migrate", "--check").check()
    migrated = old.manage("migrate").check().stdout
    assert "A newer release left them: run the contract with its code." in migrated
    assert "migrate --contract" not in migrated
    said = refused(old)
    assert said == (
        "NotNow: the gate holds rows back.\n"
        f"{SIZE}\n{NOTE}\n"
        f"  this code has no such migration: it belongs to release v2 ({MARKS[2]}), which is newer. Run the contract "
        "with the code of that release, or of a later one\n"
        "When that is over, run the same command again.\n"
    )
    old.manage(*CONTRACT, "--force")
    assert columns(old) == everything
    new.manage(*CONTRACT).check()
    assert columns(new) == ["id", "name", "size"]


def test_a_migrate_that_was_killed_leaves_nothing_to_the_old_release(tmp_path, at):
    """It has left rows, and its migration isn't recorded."""
    old, new, _ = three_releases.trees(tmp_path, at("v1"))
    text = new.read_migration("shop", "0002_size").replace(
        "    ]\n", "        migrations.RunSQL('SELECT 1/0'),\n    ]\n"
    )
    new.write_migration("shop", "0002_size", text)
    assert "division by zero" in new.manage("migrate").stderr
    assert open_rows(old) == 2
    assert "it belongs to release v2" in refused(old)


def test_an_old_release_that_never_came_here_before_is_not_taken_for_a_newer_one(tmp_path, at):
    """Neither the gate nor `adopt` believes that its migration was pruned."""
    old = three_releases.tree(tmp_path, at("v2"), 1)
    old.sql("DELETE FROM safemigrations_release WHERE label = 'v1'")
    old.manage("migrate").check()
    said = refused(old)
    assert f"it belongs to release v2 ({MARKS[2]}), which is newer" in said
    assert "adopt" not in said
    adopted = old.manage(*shlex.split("safemigrations contract adopt 1 --as shop.0001_initial --reason because"))
    assert f"belongs to release v2 ({MARKS[2]}), which is newer than this code" in adopted.stderr


# Sessions.


def test_a_process_of_the_old_release_stops_the_contract_and_is_named(tmp_path, at):
    old, new, _ = three_releases.trees(tmp_path, at("v2"))
    for path, text in {"__init__": "", "commands/__init__": "", "commands/hold": HOLD}.items():
        old.write(f"shop/management/{path}.py", text)
    holding = old.start("hold")
    pid = int(holding.read_until("\n"))
    result = new.manage(*CONTRACT)
    holding.kill()
    assert result.returncode == 75
    assert f"pid {pid}  postgres  release v1 ({MARKS[1]})  connected for " in result.stderr
    assert "note" in columns(new)
    new.sql(f"SELECT pg_terminate_backend({pid})")
    new.manage(*CONTRACT).check()
    assert "note" not in columns(new)


def test_what_a_person_reads(tmp_path, at, session):
    _, new, _ = three_releases.trees(tmp_path, at("v2"))
    name = new.sql("SELECT current_database()")[0][0]
    session(new, 1, "gunicorn")
    session(new, None, "psql")
    result = new.manage(*CONTRACT)
    assert steady(result.stdout) == (
        f"2 rows of the contract are open on {name} on this machine (role postgres).\n"
        "Sessions whose release isn't known:\n"
        "  pid N  psql  connected for N s, idle for N s\n"
    )
    assert steady(result.stderr) == (
        "NotNow: the gate holds rows back.\n"
        f"{SIZE}\n{NOTE}\n"
        "  sessions of a release that needs what would go:\n"
        f"    pid N  gunicorn  release v1 ({MARKS[1]})  connected for N s, idle for N s\n{AGAIN}"
    )
    assert "Traceback" not in result.stderr


def test_a_release_that_knows_the_migration_stops_nothing(tmp_path, at, session):
    _, new, newer = three_releases.trees(tmp_path, at("v3"))
    for number in (2, 3, None):
        session(new, number)
    new.manage(*CONTRACT, "--force")
    newer.sql("UPDATE safemigrations_contract SET status = 'done' WHERE migration = '0003_title'")
    newer.manage(*CONTRACT).check()
    assert open_rows(newer) == 0


def test_rows_that_nobody_needs_run_while_others_wait(tmp_path, at, session):
    _, _, newest = three_releases.trees(tmp_path, at("v3"))
    session(newest, 2)
    result = newest.manage(*CONTRACT)
    assert result.returncode == 75
    assert [SIZE in result.stdout, NOTE in result.stdout] == [True, True]
    assert columns(newest) == ["id", "name", "size", "title"]
    assert "0003_title" in result.stderr
    assert "0002_size" not in result.stderr


def test_a_session_that_comes_and_goes_is_seen_too(tmp_path, at, session):
    """The gate looks again and again."""
    _, new, _ = three_releases.trees(tmp_path, at("v2"))
    new.set(SAFEMIGRATIONS={"RELEASE": "v2", "GATE_WATCH": 30})
    running = new.start(*CONTRACT)
    running.read_until("are open on")
    session(new, 1)
    result = running.wait()
    assert (result.returncode, columns(new)) == (75, ["id", "name", "note", "size"])


def test_through_pgbouncer_in_transaction_mode(tmp_path, at):
    old, new, _ = three_releases.trees(tmp_path, at("v2"))
    with pooler(old.dsn) as conninfo:
        pooled = three_releases.tree(tmp_path / "pooled", conninfo, 1)
        with psycopg.connect(make_conninfo(conninfo), application_name=f"web safemig:{MARKS[1]}") as client:
            client.execute("SELECT 1")  # in a transaction: the pooler gives it a session of the server
            result = new.manage(*CONTRACT)
            assert (result.returncode, columns(new)) == (75, ["id", "name", "note", "size"])
            assert f"web  release v1 ({MARKS[1]})" in result.stderr
        pooled.write("ask.py", ASK)
        assert output_of(pooled, "ask.py") == f"safemig:{MARKS[1]}"


ASK = """
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW application_name")
    print(*cursor.fetchone())
"""


def output_of(project: Project, script: str) -> str:
    command = [sys.executable, script]
    done = subprocess.run(command, cwd=project.folder, env=project._environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Settings.


def with_settings(project: Project, **settings: object) -> Project:
    project.set(SAFEMIGRATIONS={**project.settings["SAFEMIGRATIONS"], **settings})
    return project


REQUIRED = {
    "echo $SAFEMIGRATIONS_DATABASE: the snapshot is 2 h old; exit 3": "ended with 3: default: the snapshot is 2 h old",
    "shop.backups:is_fresh": "is_fresh failed: the snapshot of default is 2 h old",
    "shop.backups:says_no": "says_no returned False",
}
BACKUPS = """
def is_fresh(alias):
    raise ValueError(f'the snapshot of {alias} is 2 h old')

def says_no(alias):
    return False
"""


def test_a_contract_requires_what_the_team_says(tmp_path, at):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    new.write("shop/backups.py", BACKUPS)
    for required, said in REQUIRED.items():
        answer = refused(with_settings(new, CONTRACT_REQUIRES=required))
        assert answer.startswith("NotNow: CONTRACT_REQUIRES says no: ")
        assert answer.endswith(f"{said}\n{AGAIN}")
    with_settings(new, CONTRACT_REQUIRES="test $SAFEMIGRATIONS_DATABASE = default").manage(*CONTRACT).check()
    assert open_rows(new) == 0


# Which rows.


def test_a_target_limits_it(tmp_path, at):
    newest = three_releases.tree(tmp_path, at("v3"), 3)
    newest.manage("migrate", "shop", "0002", "--contract", "--noinput").check()
    assert columns(newest) == ["id", "name", "size", "title"]
    assert newest.sql("SELECT DISTINCT migration FROM safemigrations_contract WHERE status <> 'done'") == [
        ("0003_title",)
    ]


def test_only_leaves_out_what_the_migration_does_not_need(tmp_path, at):
    newest = three_releases.tree(tmp_path, at("v3"), 3)
    newest.manage("migrate", "shop", "0003", "--contract", "--only", "--noinput").check()
    assert columns(newest) == ["id", "note", "size", "title"]
    assert open_rows(newest) == 2


def test_it_applies_and_unapplies_nothing(tmp_path, at):
    newest = three_releases.tree(tmp_path, at("v2"), 3)
    said = refused(newest)
    assert said.startswith("NotNow: Migrations of this code aren't applied: shop.0003_title. The contract applies")
    applied = "SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY id"
    newest.manage("migrate", "shop", "0001", "--contract", "--noinput").check()
    newest.manage("migrate", "shop", "0002", "--contract", "--noinput").check()
    assert newest.sql(applied) == [(name,) for name in NAMES[:2]]
    assert columns(newest) == ["id", "name", "size"]


NO_SENSE = {
    ("--fake",): "--contract applies and unapplies nothing, so --fake has no meaning beside it.",
    ("shop", "zero"): "--contract applies and unapplies nothing, so zero has no meaning beside it.",
    ("--only",): "--only is about one migration: write its app and its name, too.",
    ("shop", "9"): "No migration of 'shop' begins with '9', and no row of the contract belongs to one.",
    ("shop", "000"): "'000' is the beginning of several migrations of shop: 0001_initial, 0002_size.",
    ("shp",): "No app 'shp' has migrations here, nor rows of the contract.",
}


def test_what_makes_no_sense_is_refused(tmp_path, at):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    results = {args: new.manage("migrate", *args, "--contract") for args in NO_SENSE}
    assert {args: result.stderr for args, result in results.items()} == {
        args: f"CommandError: {said}\n" for args, said in NO_SENSE.items()
    }
    assert {result.returncode for result in results.values()} == {1}
    assert open_rows(new) == 2


def test_postponed_rows_wait_and_skipped_ones_stay(tmp_path, at):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    new.manage("safemigrations", "contract", "postpone", "1", "--reason", "the sale").check()
    new.manage("safemigrations", "contract", "skip", "2", "--reason", "a report reads it").check()
    assert new.manage(*CONTRACT).check().stdout.endswith(f"{SIZE}\n  postponed until somebody resumes it: the sale\n")
    named = new.manage("migrate", "shop", "0002", "--contract", "--noinput").check()
    assert f"{NOTE}\n  skipped: a report reads it. To take that back: python manage.py safemigrations " in named.stdout
    assert columns(new) == ["id", "name", "note", "size"]
    new.manage("safemigrations", "contract", "resume", "1").check()
    new.manage(*CONTRACT).check()
    assert new.sql("SELECT status FROM safemigrations_contract ORDER BY id") == [("done",), ("skipped",)]


def test_what_a_squash_replaces_is_known(tmp_path, at):
    new = three_releases.squash(three_releases.tree(tmp_path, at("v2"), 2), replaces=True)
    new.manage("migrate").check()
    new.manage(*CONTRACT).check()
    assert open_rows(new) == 0


def test_a_squash_that_was_pruned_too_early_is_settled_by_the_command_in_the_message(tmp_path, at):
    new = three_releases.squash(three_releases.tree(tmp_path, at("v2"), 2), replaces=False)
    new.manage("migrate", "--fake").check()
    said = refused(new)
    commands = re.findall(r"python manage\.py (.*)", said)
    assert len(commands) == 2
    for command in commands:
        new.manage(*shlex.split(command)).check()
    new.manage(*CONTRACT).check()
    assert columns(new) == ["id", "name", "size"]


# What it shows and asks.


def test_plan_shows_what_would_run_and_changes_nothing(tmp_path, at):
    """Also of a row whose file is gone."""
    new = three_releases.tree(tmp_path, at("v2"), 2)
    result = new.manage("migrate", "--contract", "--plan").check()
    rows = [
        SIZE,
        "  -- shop_item: size needs no default in the database any more",
        "  --   instant, ACCESS EXCLUSIVE on shop_item for a moment",
        '  ALTER TABLE "shop_item" ALTER COLUMN "size" DROP DEFAULT;',
        "  -- Risk: low",
        NOTE,
        "  -- shop_item: no function of your triggers takes note from a row (looked up when it is run)",
        "  -- shop_item: drop column note",
        "  --   instant, ACCESS EXCLUSIVE on shop_item for a moment",
        '  ALTER TABLE "shop_item" DROP COLUMN IF EXISTS "note";',
        "  -- Risk: medium",
    ]
    assert result.lines[1:] == ["Goes for good: column note of shop_item: about 0 rows", *rows]
    old = three_releases.tree(tmp_path, new.dsn, 1)
    said = old.manage("migrate", "--contract", "--plan").check().lines[1:]
    assert said[0] == "Not now:"
    assert said[-len(rows) - 1 :] == [
        "What this code has no file for would run, when somebody has settled that:",
        *rows,
    ]
    assert open_rows(new) == 2


def test_what_goes_is_shown_with_its_rows_and_its_size(tmp_path, at):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    new.sql("INSERT INTO shop_item (name, note) SELECT 'x', repeat('y', 100) FROM generate_series(1, 5000)")
    new.sql("ANALYZE shop_item")
    result = new.manage(*CONTRACT).check()
    assert "Goes for good: column note of shop_item: about 5,000 rows, 493 kB\n" in result.stdout


def test_force_is_kept(tmp_path, at, session):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    session(new, 1)
    result = new.manage(*CONTRACT, "--force").check()
    assert f"Forced, in spite of:\n{SIZE}\n{NOTE}\n  sessions of a release that needs what would go:\n" in result.stdout
    assert new.sql("SELECT act, label FROM safemigrations_act ORDER BY id") == [
        ("force", SIZE.partition("  ")[2]),
        ("force", NOTE.partition("  ")[2]),
    ]


def test_on_a_terminal_it_asks(tmp_path, at):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    for answer, left in (("", 2), ("y", 0)):
        result = _on_a_terminal(new, answer, "migrate", "--contract")
        assert "Run it? [y/N] " in result.stdout
        assert (result.returncode, open_rows(new)) == (1 if left else 0, left)


def test_on_a_terminal_nobody_is_asked_about_what_would_be_refused(tmp_path, at):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    report = "note = models.TextField()\n    class Meta:\n        managed = False\n        db_table = 'shop_item'\n"
    new.write("reports/__init__.py", "")
    new.write_models("reports", f"class Report(models.Model):\n    {report}")
    new.set(INSTALLED_APPS=["safemigrations", "shop", "reports"])
    result = _on_a_terminal(new, "y", "migrate", "--contract")
    assert "would drop the column note of shop_item, which the model reports.Report of this code uses" in result.stderr
    assert "Run it?" not in result.stdout
    assert (result.returncode, open_rows(new)) == (1, 2)


def _on_a_terminal(project: Project, answer: str, *args: str) -> Result:
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    command = [sys.executable, "manage.py", *args]
    environment = project._environment()
    done = subprocess.run(command, cwd=project.folder, env=environment, stdin=theirs, capture_output=True, text=True)
    os.close(ours)
    os.close(theirs)
    return Result(done.stdout, done.stderr, done.returncode)


def test_where_no_other_release_was_noted_sessions_are_listed(tmp_path, at, session):
    new = three_releases.tree(tmp_path, at("v2"), 2)
    new.sql("DELETE FROM safemigrations_release")
    session(new, 1)
    result = new.manage(*CONTRACT).check()
    assert (
        "Sessions whose release isn't known, as no other release has been noted here yet:\n"
        f"  pid N  web  release {MARKS[1]}, which never migrated here  connected for N s, idle for N s\n"
    ) in steady(result.stdout)


def test_each_database_has_its_own_gate(tmp_path, at, session):
    first, second = at("v2"), at("v2")
    new = three_releases.tree(tmp_path, first, 2, databases={"other": second})
    session(new, 1)
    refused(new)
    new.manage(*CONTRACT, "--database", "other").check()
    other = three_releases.tree(tmp_path / "other", second, 2)
    assert columns(other) == ["id", "name", "size"]
    assert "note" in columns(new)


def test_the_message_about_unapplied_migrations_names_the_database(tmp_path, at):
    newest = three_releases.tree(tmp_path, at("v3"), 3, databases={"other": at("v2")})
    result = newest.manage(*CONTRACT, "--database", "other")
    assert "Type: python manage.py migrate --database other\n" in result.stderr
