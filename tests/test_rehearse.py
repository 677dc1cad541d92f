"""safemigrations rehearse: what breaks one of two releases is found, and said with the operation that did it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from testproject.postgres import DEFAULT_VERSION, binaries

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
    name = conninfo_to_dict(project.dsn)["dbname"]
    databases = project.sql(f"SELECT datname FROM pg_database WHERE datname LIKE 'test\\_{str(name)[:20]}%'")
    return databases, git(project, "worktree", "list", "--porcelain").partition("\n\n")[2]


def test_a_stock_operation_that_breaks_the_old_release_is_named(released):
    released.write_models("shop", TOTAL)
    released.write_migration("shop", "0002_total", STOCK)
    status, found = rehearse(released)
    assert status == 1
    (finding,) = found["findings"]
    assert (finding["kind"], finding["release"]) == ("error", "old")
    assert finding["phase"] in ("expand", "both releases")
    assert finding["message"] == 'null value in column "total" of relation "shop_order" violates not-null constraint'
    assert {request["model"] for request in finding["requests"]} == {"shop.order"}
    assert {"create()", "bulk_create()"} <= {request["action"] for request in finding["requests"]}
    cause = finding["cause"]
    assert (cause["file"], cause["line"], cause["description"]) == (
        "shop/migrations/0002_total.py",
        7,
        "AddField(order.total)",
    )
    assert "AddFieldWithDefault(" in finding["advice"]
    errors = {phase["name"]: phase["errors"] for phase in found["phases"]}
    assert errors["old alone"] == errors["new alone"] == 0
    assert errors["both releases"] > 0
    assert left_behind(released) == ([], "")


def test_what_makemigrations_writes_passes_also_when_migrate_is_killed(released):
    released.write_models("shop", TOTAL)
    released.manage("makemigrations", "shop").check()
    status, found = rehearse(released, "--kill", "2")
    assert (found["findings"], found["notes"], status) == ([], [], 0)
    assert all(phase["requests"] > 0 and phase["series"] for phase in found["phases"])
    assert left_behind(released) == ([], "")


def test_the_real_database_is_never_reached(released):
    """It need not be there; and django.contrib.postgres connects to the alias of every new connection."""
    entries = {**released.settings["DATABASES"]["default"], "NAME": "nowhere"}
    released.set(DATABASES={"default": entries}, INSTALLED_APPS=["safemigrations", "shop", "django.contrib.postgres"])
    released.write_models("shop", TOTAL.replace("default=7", "null=True"))
    released.write_migration("shop", "0002_total", STOCK.replace("default=7", "null=True"))
    status, found = rehearse(released)
    assert (status, found["findings"]) == (0, [])
    assert found["scratch"].startswith("test_nowhere_rehearsal")


def test_the_same_migrations_are_nothing_to_rehearse(released):
    done = released.manage("safemigrations", "rehearse").check()
    assert "Both releases have the same migrations, so there is nothing to rehearse." in done.stdout
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


def test_models_that_need_each_other(released):
    released.write_models("shop", "import uuid\n" + MODELS + CIRCLE)
    released.manage("makemigrations", "shop").check()
    commit(released)
    released.write_models("shop", "import uuid\n" + MODELS + CIRCLE + "    size = models.IntegerField(null=True)\n")
    released.manage("makemigrations", "shop").check()
    status, found = rehearse(released)
    assert (status, found["findings"]) == (0, [])
    assert found["notes"] == [
        "No row of shop.chicken could be made: NoValue: Making a row of shop.chicken needs rows without end.",
        "No row of shop.egg could be made: NoValue: Making a row of shop.egg needs rows without end.",
    ]


OWN_WAYS = """
class Ticket(models.Model):
    number = models.CharField(max_length=20, null=True)
    title = models.CharField(max_length=50)

    def save(self, *args, **kwargs):
        with transaction.atomic(durable=True):
            self.number = self.number or "T-1"
            super().save(*args, **kwargs)
"""


def test_what_a_release_does_on_its_own_is_no_finding(released):
    """A save() that no transaction may surround, and that writes something else than it was given."""
    released.write_models("shop", "from django.db import transaction\n" + MODELS + OWN_WAYS)
    released.manage("makemigrations", "shop").check()
    commit(released)
    changed = OWN_WAYS.replace("    title", "    size = models.IntegerField(null=True)\n    title")
    released.write_models("shop", "from django.db import transaction\n" + MODELS + changed)
    released.manage("makemigrations", "shop").check()
    status, found = rehearse(released)
    assert (status, found["findings"]) == (0, [])


@pytest.fixture
def changed(released):
    """A new release is in the working tree."""
    released.write_models("shop", TOTAL)
    released.manage("makemigrations", "shop").check()
    return released


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill -TERM"])
def test_nothing_stays_behind_when_it_is_ended(changed, number):
    running = in_the_middle(changed)
    os.kill(running.process.pid, number)
    assert running.wait().returncode == 128 + number
    assert left_behind(changed) == ([], "")


def test_what_a_killed_rehearsal_leaves_is_dropped_by_the_next_one(changed):
    in_the_middle(changed).kill()
    assert left_behind(changed)[0]
    git(changed, "checkout", "--quiet", "--", ".")
    git(changed, "clean", "-fdq")
    changed.manage("safemigrations", "rehearse").check()
    assert left_behind(changed)[0] == []


def test_what_a_release_does_wrong_when_it_is_alone_is_no_finding(released):
    released.write(
        "shop/rehearsal.py",
        "from shop.models import Customer\n\n\n"
        "def seed():\n    Customer.objects.create(name='seeded')\n\n\n"
        "def look():\n    assert Customer.objects.get(name='seeded')\n\n\n"
        "def fail():\n    raise ValueError('as ever')\n",
    )
    actions = {
        "REHEARSAL_SEED": "shop.rehearsal.seed",
        "REHEARSAL_ACTIONS": ["shop.rehearsal.look", "shop.rehearsal.fail"],
    }
    released.set(SAFEMIGRATIONS=actions)
    git(released, "add", ".")
    git(released, "commit", "-m", "Actions")
    released.write_models("shop", TOTAL)
    released.write_migration("shop", "0002_total", STOCK)
    status, found = rehearse(released)
    assert (status, len(found["findings"])) == (1, 1), found["findings"]
    assert 'null value in column "total"' in found["findings"][0]["message"]


@pytest.mark.parametrize("how", ["--template", "--from-dump"] if ONE_IN == 1 else ["--from-dump"])
def test_a_copy_of_real_data(changed, how, tmp_path, monkeypatch):
    git(changed, "stash", "--include-untracked")
    changed.manage("migrate").check()
    changed.sql("INSERT INTO shop_customer (name) SELECT 'real' || n FROM generate_series(1, 300) AS n")
    git(changed, "stash", "pop")
    given = str(conninfo_to_dict(changed.dsn)["dbname"])
    if how == "--from-dump":
        programs = binaries(os.environ.get("SAFEMIGRATIONS_TEST_PG", DEFAULT_VERSION))
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        given = str(changed.folder / ".git" / "dump")
        subprocess.run([programs / "pg_dump", "-Fc", "-d", changed.dsn, "-f", given], check=True)
    status, found = rehearse(changed, how, given)
    assert (status, found["findings"]) == (0, [])
    (count,) = changed.sql("SELECT count(*) FROM shop_customer")[0]
    assert count == 300


def test_a_host_may_be_forbidden(changed):
    host = changed.settings["DATABASES"]["default"]["HOST"]
    done = changed.manage("safemigrations", "rehearse", "--forbid-host", host)
    assert done.returncode == 1
    assert done.stderr == f"CommandError: No rehearsal on {host}: --forbid-host names it.\n"
    assert left_behind(changed) == ([], "")
