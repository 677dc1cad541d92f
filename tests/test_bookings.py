"""The second example project: a rename beside django-pgtrigger, django-linear-migrations, REST framework and Celery."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import started
from .project import Result
from .representatives import ONE_IN
from .test_tutorial import NOT_TYPED, Shell, parts, plain

HERE = started.ROOT / "testproject" / "bookings"
LOOK_ONCE = "\nSAFEMIGRATIONS['GATE_WATCH'] = 0\n"
ROOMS = """
import django
django.setup()
from rooms.models import Room
Room.objects.create(name="blue", price="80.00")
"""
# A guest books by the API, and the house agrees; what the release then has.
BOOK = """
import json, sys
import django
django.setup()
from rest_framework.test import APIClient
from site_of_bookings.celery import app

app.loader.import_default_modules()
client = APIClient()
made = client.post("/api/bookings/", json.loads(sys.argv[1]), format="json")
booking = f"/api/bookings/{made.json()['id']}/"
print(json.dumps({
    "ready": client.get("/ready/").status_code,
    "made": made.status_code,
    "agreed": client.patch(booking, {"status": "agreed"}, format="json").status_code,
    "bookings": client.get("/api/bookings/").json(),
    "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
}))
"""


def copy_to(folder: Path) -> None:
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "site_of_bookings" / "settings.py").open("a") as settings:
        settings.write(LOOK_ONCE)


class Tree:
    """The project as one release has it."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder, self.dsn = folder, dsn
        copy_to(folder)

    def manage(self, *arguments: str, input: str = "") -> str:
        return self._run("manage.py", *arguments, input=input)

    def book(self, **booking: Any) -> Any:
        return json.loads(self.script(BOOK, json.dumps(booking)))

    def script(self, text: str, *arguments: str) -> str:
        (self.folder / "script.py").write_text(text)
        return self._run("script.py", *arguments)

    def _run(self, *command: str, input: str = "") -> str:
        environment = {
            **os.environ,
            "DATABASE_URL": self.dsn,
            "DJANGO_SETTINGS_MODULE": "site_of_bookings.settings",
            "PYTHONPATH": str(started.ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return Result(*started.run(command, folder=self.folder, env=environment, input=input)).check().stdout


def with_a_visitor(tree: Tree) -> None:
    """The next release: `guest` becomes `visitor`, and a booking has a total."""
    models = tree.folder / "rooms" / "models.py"
    total = "    total = models.DecimalField(max_digits=10, decimal_places=2, default=0)\n    status ="
    models.write_text(models.read_text().replace("guest =", "visitor =").replace("    status =", total))


def typed(shell: Shell) -> Iterator[str]:
    """The commands of the page, each when it has printed what stands there."""
    for what, text in parts(HERE / "README.md"):
        command = what.removeprefix("$ ")
        if not NOT_TYPED.search(command) and "runserver" not in command:
            printed = shell.type(command, "y" if "[y/N] y\n" in text else "")
            assert not text or plain(printed) == plain(text), what
            yield command


def test_its_readme_while_both_releases_answer(database, dsn, tmp_path):
    new = Tree(tmp_path / "bookings", dsn)
    shell = Shell(new.folder)
    shell.type(f"export DATABASE_URL='{dsn}'")
    page = typed(shell)  # `in` lets it go on until the command was typed

    assert "python manage.py migrate" in page
    old = Tree(tmp_path / "old", dsn)
    old.script(ROOMS)

    assert "python manage.py migrate" in page
    assert (new.folder / "rooms/migrations/max_migration.txt").read_text() == "0002_visitor\n"
    by_old = old.book(room=1, guest="Ada", nights=2)
    by_new = new.book(room=1, visitor="Grace", nights=3)
    assert [one["visitor"] for one in by_new["bookings"]] == ["Ada", "Grace"]
    assert [one["guest"] for one in old.book(room=1, guest="Alan", nights=1)["bookings"]] == ["Ada", "Grace", "Alan"]
    for said in (by_old, by_new):
        assert (said["ready"], said["made"], said["agreed"]) == (200, 201, 200)
        assert said["tasks"] == ["rooms.tasks.refuse_old", "safemigrations.work_on_backfills"]

    assert list(page) == ["python manage.py migrate --contract --noinput"]
    shell.process.communicate(timeout=60)
    assert [one["visitor"] for one in new.book(room=1, visitor="Eve", nights=1)["bookings"]][-2:] == ["Alan", "Eve"]
    assert "No changes detected" in new.manage("makemigrations", "--check")


@pytest.mark.skipif(ONE_IN != 1, reason="the matrix asks it")
def test_the_rehearsal_of_its_workflow(tmp_path, dsn):
    tree = Tree(tmp_path / "bookings", dsn)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "The old release"]):
        subprocess.run([*git, *command], cwd=tree.folder, check=True)
    with_a_visitor(tree)
    tree.manage("makemigrations", "rooms", "--name", "visitor", input="y\n")
    said = tree.manage("safemigrations", "rehearse", "--old", "main", "--seconds", "1", "--clients", "1")
    assert "No request failed and no value was lost." in said


def test_the_workflows_of_both_projects_are_some():
    workflows = [str(project / ".github" / "workflows" / "ci.yml") for project in (HERE, HERE.parent)]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_its_requirements_are_those_that_the_tests_install():
    lines = (HERE / "requirements.txt").read_text().splitlines()
    wanted = {line.partition(">=")[0].partition("[")[0] for line in lines}
    here = (started.ROOT / "pyproject.toml").read_text()
    assert {name for name in wanted if f'"{name}' not in here} == set()
