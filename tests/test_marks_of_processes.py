"""Marks of the processes that a deploy leaves behind: the gate sees a worker, a shell or a pool of the old release.

The default run takes one Celery worker; where SAFEMIGRATIONS_TEST_ONE_IN is 1, as in the matrix, each kind is tried.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import three_releases
from tests.contention import seldom_until
from tests.project import Project
from tests.representatives import ONE_IN
from tests.test_contracting import CONTRACT, MARKS, columns, open_rows

WORKER = """
import os
import time

import celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
folders = {name: os.environ["QUEUE"] for name in ("data_folder_in", "data_folder_out")}
app = celery.Celery("shop", broker="filesystem://", broker_transport_options=folders, set_as_current=True)
app.conf.broker_connection_retry_on_startup = True


@app.task
def count():
    from shop.models import Item

    Item.objects.count()
    time.sleep(600)  # Celery closes the session after the task


if __name__ == "__main__":
    app.send_task("worker.count")
"""
CELERY = ("-m", "celery", "-A", "worker", "worker", "--concurrency=1", "--without-gossip", "--without-mingle")
SHELL = "from shop.models import Item; Item.objects.count(); import time; time.sleep(600)"
POOLED = """
import time
import django
django.setup()
from shop.models import Item
Item.objects.count()
from django.db import connection
connection.close()  # gives the session back to the pool, which keeps it
time.sleep(600)
"""


@contextmanager
def started(project: Project, *arguments: str) -> Iterator[None]:
    """A process of the project, with all that it starts; it is ended with the block."""
    queue = project.folder / "queue"
    queue.mkdir(exist_ok=True)
    environment = {**project._environment(), "QUEUE": str(queue)}
    # Celery warns about itself where root starts it.
    command = [sys.executable, "-W", "ignore", *arguments]
    said = project.folder / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            command, cwd=project.folder, env=environment, stdout=file, stderr=file, process_group=0
        )
    try:
        seldom_until(lambda: process.poll() is not None or sessions(project))
        assert process.poll() is None, said.read_text()
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sessions(project: Project) -> list[str]:
    """The names of all sessions of the project's database, but for the one that asks."""
    return [
        name
        for (name,) in project.sql(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    ]


def celery(project: Project, pool: str) -> tuple[str, ...]:
    """A worker that has been given a task."""
    project.write("worker.py", WORKER)
    return (*CELERY, f"--pool={pool}")


def shell(project: Project) -> tuple[str, ...]:
    return ("manage.py", "shell", "-c", SHELL)


def pooled(project: Project) -> tuple[str, ...]:
    default = project.settings["DATABASES"]["default"]
    project.set(DATABASES={"default": {**default, "OPTIONS": {"pool": {"min_size": 1}}}})
    project.write("pooled.py", POOLED)
    return ("pooled.py",)


PROCESSES = {
    "celery prefork": lambda project: celery(project, "prefork"),
    "celery solo": lambda project: celery(project, "solo"),
    "celery threads": lambda project: celery(project, "threads"),
    "shell": shell,
    "pool": pooled,
}


@contextmanager
def at_work(project: Project, kind: str) -> Iterator[None]:
    arguments = PROCESSES[kind](project)
    if kind.startswith("celery"):
        send(project)
    with started(project, *arguments):
        yield


def send(project: Project) -> None:
    """Put a task into the queue, which is a folder."""
    (project.folder / "queue").mkdir()
    environment = {**project._environment(), "QUEUE": str(project.folder / "queue")}
    subprocess.run([sys.executable, "worker.py"], cwd=project.folder, env=environment, check=True)


@pytest.mark.parametrize("kind", PROCESSES if ONE_IN == 1 else ["celery solo"])
def test_the_gate_sees_processes_of_the_old_release(tmp_path: Path, at, kind):
    old, new, _ = three_releases.trees(tmp_path, at("v2"))
    with at_work(old, kind):
        assert f"safemig:{MARKS[1]}" in sessions(new)
        refused = new.manage(*CONTRACT)
        assert (refused.returncode, columns(new)) == (75, ["id", "name", "note", "size"])
        assert f"release v1 ({MARKS[1]})" in refused.stderr
    seldom_until(lambda: not sessions(new))
    with at_work(new, kind):
        assert f"safemig:{MARKS[2]}" in sessions(new)
        new.manage(*CONTRACT).check()
    assert (columns(new), open_rows(new)) == (["id", "name", "size"], 0)
