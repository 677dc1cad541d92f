"""safemigrations rehearse: what breaks one of two releases is found, and said with the operation that did it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from testproject.postgres import binaries, version

from .project import Project, Running
from .rehearsed import commit, git, rehearse
from .representatives import ONE_IN

MODELS = """
class Customer(models.Model):
    name = models.CharField(max_length=50, unique=True)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    number = models.CharField(max_length=20, unique=True)
    pages = models.IntegerField(default=1)
    state = models.CharField(max_length=9, choices=[("open", "Open"), ("paid", "Paid")], default="open")
    note = models.TextField(null=True)
"""
TOTAL = MODELS + "    total = models.IntegerField(default=7)\n"
STOCK = """from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("order", "total", models.IntegerField(default=7)),
    ]
"""


@pytest.fixture
def released(project):
    """A shop in git, whose release is its branch main."""
    project.write_models("shop", MODELS)
    project.manage("makemigrations", "shop").check()
    commit(project)
    return project


def left_behind(project: Project) -> tuple[list[Any], str]:
    """Databases and worktrees."""
    name = project.settings["DATABASES"]["default"]["NAME"]
    databases = project.sql(f"SELECT datname FROM pg_database WHERE datname LIKE 'test\\_{name[:20]}%'")
    return databases, git(project, "worktree", "list", "--porcelain").partition("\n\n")[2]


UNPROVEN = """
        migrations.RunSQL(
            "DO $$ BEGIN EXECUTE 'ALTER TABLE shop_order ADD CONSTRAINT {0} CHECK (pages > 0) NOT' || ' VALID'; END $$",
            "ALTER TABLE shop_order DROP CONSTRAINT {0}",
        ),
        migrations.RunPython(tell, migrations.RunPython.noop),
    ]"""
TELL = """
def tell(apps, schema_editor):
    apps.get_model("shop", "Order").objects.update(note="told")
"""
ACTIONS = """
from shop.models import Customer


def seed():
    Customer.objects.create(name="seeded")


def look():
    assert Customer.objects.get(name="seeded")


def fail():
    raise ValueError("as ever")
"""


def test_a_stock_operation_that_breaks_the_old_release_is_named(released):
    """What a release does wrong when it is alone is no finding, nor what verify says of it before the change.

    Nor is a value that the migrations change where nobody writes.
    """
    released.write("shop/rehearsal.py", ACTIONS)
    actions = ["shop.rehearsal.look", "shop.rehearsal.fail"]
    released.set(SAFEMIGRATIONS={"REHEARSAL_SEED": "shop.rehearsal.seed", "REHEARSAL_ACTIONS": actions})
    stock = STOCK.replace("\n\n\nclass", f"\n{TELL}\n\nclass")
    before = stock.partition("\n        migrations.Add")[0] + UNPROVEN.format("old")
    released.write_migration("shop", "0002_old", before)
    git(released, "add", ".")
    git(released, "commit", "-m", "Actions")
    released.write_models("shop", TOTAL)
    change = stock.replace("0001_initial", "0002_old").replace("\n    ]", UNPROVEN.format("new"))
    released.write_migration("shop", "0003_total", change)
    status, found = rehearse(released)
    assert status == 1
    broken, drift = found["findings"]
    assert (drift["kind"], drift["message"]) == (
        "schema",
        "verify says: shop_order.new: check new is NOT VALID: rows from before may break it",
    )
    assert drift["cause"]["description"] == "RunSQL(…)"
    assert (broken["kind"], broken["release"]) == ("error", "old")
    assert broken["phase"] in ("expand", "both releases")
    assert broken["message"] == ('null value in column "total" of relation "shop_order" violates not-null constraint')
    assert {request["model"] for request in broken["requests"]} == {"shop.order"}
    assert {"create()", "bulk_create()"} <= {request["action"] for request in broken["requests"]}
    cause = broken["cause"]
    assert (cause["file"], cause["line"], cause["description"]) == (
        "shop/migrations/0003_total.py",
        10,
        "AddField(order.total)",
    )
    assert "AddFieldWithDefault(" in broken["advice"]
    errors = {phase["name"]: phase["errors"] for phase in found["phases"]}
    assert errors["old alone"] == errors["new alone"] == 0
    assert errors["both releases"] > 0
    assert found["notes"] == [
        (
            "The migrations themselves change values of shop_order.note, also where nobody else is there. "
            "So nothing is said of values that are lost there."
        )
    ]
    assert left_behind(released) == ([], "")


CIRCLE = """
class House(models.Model):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    owner = models.OneToOneField("Person", models.CASCADE, null=True, related_name="+")


class Person(models.Model):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    house = models.ForeignKey(House, models.CASCADE)


class Chicken(models.Model):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    egg = models.ForeignKey("Egg", models.CASCADE, related_name="+")


class Egg(models.Model):
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    chicken = models.ForeignKey(Chicken, models.CASCADE, related_name="+")
"""


OWN_WAYS = """
class Ticket(models.Model):
    number = models.CharField(max_length=20, null=True)
    title = models.CharField(max_length=50)

    def save(self, *args, **kwargs):
        with transaction.atomic(durable=True):
            self.number = self.number or "T-1"
            super().save(*args, **kwargs)
"""


def test_what_makemigrations_writes_passes(released):
    """Also when migrate is killed, and whatever the project does on its own.

    Models need each other without end. A save() allows no transaction around it, and writes something else than it was
    given. The real database need not be there: contrib.postgres connects to the alias of every new connection.
    """
    models = "import uuid\nfrom django.db import transaction\n" + MODELS + CIRCLE + OWN_WAYS
    released.write_models("shop", models)
    released.manage("makemigrations", "shop").check()
    commit(released)
    default, null = "models.IntegerField(default=7)", "models.IntegerField(null=True)"
    models = models.replace("    note = ", f"    total = {default}\n    note = ")
    released.write_models("shop", models.replace("    title", f"    size = {null}\n    title"))
    released.manage("makemigrations", "shop").check()
    entries = {**released.settings["DATABASES"]["default"], "NAME": "nowhere"}
    released.set(DATABASES={"default": entries}, INSTALLED_APPS=["safemigrations", "shop", "django.contrib.postgres"])
    status, found = rehearse(released, "--kill", "2")
    assert (found["findings"], status) == ([], 0)
    assert [note for note in found["notes"] if "shop.ticket" not in note] == [
        "No row of shop.chicken could be made: Making a row of shop.chicken needs rows without end.",
        "No row of shop.egg could be made: Making a row of shop.egg needs rows without end.",
    ]
    assert all(phase["requests"] > 0 and phase["series"] for phase in found["phases"])
    assert found["scratch"].startswith("test_nowhere_rehearsal")
    assert left_behind(released) == ([], "")


@pytest.fixture
def changed(released):
    """A new release is in the working tree."""
    released.write_models("shop", TOTAL)
    released.manage("makemigrations", "shop").check()
    return released


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """The temporary directory of the processes that a test starts."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def in_the_middle(project: Project) -> Running:
    """A rehearsal whose requests have begun."""
    running = project.start("safemigrations", "rehearse", "--seconds", "60", "--clients", "1", group=True)
    running.read_until("Scratch database")
    name, end = str(conninfo_to_dict(project.dsn)["dbname"]), time.monotonic() + 60
    # Only clients stay connected to a copy of the base, which has a number.
    query = (
        f"SELECT pid FROM pg_stat_activity WHERE datname LIKE 'test\\_{name[:20]}%rehearsal%' AND datname LIKE '%\\__'"
    )
    while not project.sql(query):
        assert time.monotonic() < end, project.sql("SELECT datname, application_name FROM pg_stat_activity")
    return running


def test_nothing_stays_behind_when_it_is_ended(changed, temporary):
    said = {signal.SIGINT: "Interrupted: nothing of the rehearsal is left.\n", signal.SIGTERM: ""}
    for number, text in said.items():
        running = in_the_middle(changed)
        os.kill(running.process.pid, number)
        ended = running.wait()
        assert (ended.returncode, ended.stderr) == (128 + number, text)
        assert (left_behind(changed), list(temporary.iterdir())) == (([], ""), [])


def test_what_a_killed_rehearsal_leaves_is_removed_by_the_next_one(changed, temporary):
    in_the_middle(changed).kill()
    databases, worktrees = left_behind(changed)
    assert databases
    assert str(temporary) in worktrees
    git(changed, "checkout", "--quiet", "--", ".")
    git(changed, "clean", "-fdq")
    done = changed.manage("safemigrations", "rehearse").check()
    assert "Both releases have the same migrations, so there is nothing to rehearse." in done.stdout
    assert (left_behind(changed), list(temporary.iterdir())) == (([], ""), [])


@pytest.mark.parametrize("how", ["--template", "--from-dump"] if ONE_IN == 1 else ["--from-dump"])
def test_a_copy_of_real_data(changed, how, tmp_path, monkeypatch):
    git(changed, "stash", "--include-untracked")
    changed.manage("migrate").check()
    changed.sql("INSERT INTO shop_customer (name) SELECT 'real' || n FROM generate_series(1, 300) AS n")
    git(changed, "stash", "pop")
    given = str(conninfo_to_dict(changed.dsn)["dbname"])
    if how == "--from-dump":
        programs = binaries(version())
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        given = str(changed.folder / ".git" / "dump")
        subprocess.run([programs / "pg_dump", "-Fc", "-d", changed.dsn, "-f", given], check=True)
    status, found = rehearse(changed, how, given)
    assert (status, found["findings"]) == (0, [])
    (count,) = changed.sql("SELECT count(*) FROM shop_customer")[0]
    assert count == 300


def test_what_cannot_be_rehearsed_is_refused_in_a_sentence(changed):
    host = changed.settings["DATABASES"]["default"]["HOST"]
    wrong = {
        ("--forbid-host", host): f"CommandError: No rehearsal on {host}: --forbid-host names it.\n",
        ("--old", "never"): "CommandError: git knows no commit never here. Fetch it, or name another: --old REF\n",
        ("--old-python", "no/python"): "CommandError: --old-python: no/python is no program. "
        "Name the interpreter itself: venv/bin/python\n",
        ("--apps", "shpo"): "CommandError: --apps: No installed app with label 'shpo'.\n",
        ("--template", "never"): 'CommandError: --template: database "never" does not exist\n'
        "PostgreSQL copies a database to which nobody is connected. Of one that is in use, take --from-dump.\n",
        ("--from-dump", "never"): "error: argument --from-dump: never is not there\n",
        ("--picture", "no/where.svg"): "error: argument --picture: no/where.svg is in a folder that is not there\n",
        ("--clients", "0"): "error: argument --clients: 0 is not a number from 1 on\n",
    }
    for arguments, message in wrong.items():
        done = changed.manage("safemigrations", "rehearse", *arguments)
        assert (done.returncode in (1, 2), done.stderr[-len(message) :]) == (True, message)
    assert left_behind(changed) == ([], "")
