"""What safemigrations costs, and what it spares the users, beside stock Django in the same minute.

    python -m tests.bench [--migrations 200] [--hold 10]

Prints a table of ratios; absolute times depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from testproject.postgres import server, settings_for

ROOT = Path(__file__).resolve().parent.parent
SIDES = {"stock": [], "safemigrations": ["safemigrations"]}

SETTINGS = """
SECRET_KEY = "bench"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = {apps!r}
DATABASES = {{"default": {database!r}}}
"""

MODEL = """
from django.db import models


class Item{number}(models.Model):
    name = models.CharField(max_length=50, db_index=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
{extra}
    class Meta:
        indexes = [models.Index(fields=["price"], name="item_{number}_price")]
"""


class Project:
    """A Django project in a folder, with a database of its own."""

    def __init__(self, folder: Path, dsn: str, side: str, name: str) -> None:
        self.folder, self.dsn, self.name = folder / f"{name}_{side}", dsn, f"{name}_{side}"
        (self.folder / "shop").mkdir(parents=True)
        (self.folder / "shop" / "__init__.py").touch()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{self.name}"')
        apps = [*SIDES[side], "django.contrib.contenttypes", "django.contrib.auth", "shop"]
        text = SETTINGS.format(apps=apps, database=settings_for(dsn, self.name))
        (self.folder / "settings.py").write_text(text)

    def models(self, source: str) -> None:
        (self.folder / "shop" / "models.py").write_text(source)

    def manage(self, *arguments: str) -> float:
        """Run a management command and return the seconds that it took."""
        began = time.perf_counter()
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
        }
        command = [sys.executable, "-W", "ignore", "-m", "django", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return time.perf_counter() - began

    def connect(self) -> psycopg.Connection:
        settings = settings_for(self.dsn, self.name)
        return psycopg.connect(
            dbname=self.name,
            user=settings["USER"],
            password=settings["PASSWORD"] or None,
            host=settings["HOST"] or None,
            port=settings["PORT"] or None,
            autocommit=True,
        )


def generated(count: int) -> Iterator[str]:
    """Models of one release after the other: tables, fields, indexes; each release is a migration."""
    models: dict[int, int] = {}
    for release in range(count):
        number = release // 5
        models[number] = release % 5
        yield "\n".join(
            MODEL.format(
                number=number,
                extra="".join(
                    f"    extra_{i} = models.CharField(max_length=20, default='x{i}')\n" for i in range(extras)
                ),
            )
            for number, extras in models.items()
        )


def history(project: Project, count: int) -> None:
    """Write `count` migrations by makemigrations, in one process."""
    sources = project.folder / "releases"
    sources.mkdir()
    for number, source in enumerate(generated(count)):
        (sources / f"{number:04}.py").write_text(source)
    project.folder.joinpath("write_history.py").write_text(
        "import django, pathlib, shutil, subprocess, sys\n"
        "for source in sorted(pathlib.Path('releases').glob('*.py')):\n"
        "    shutil.copy(source, 'shop/models.py')\n"
        "    if not __import__('os').fork():\n"
        "        django.setup()\n"
        "        from django.core.management import call_command\n"
        "        call_command('makemigrations', 'shop', verbosity=0, interactive=False)\n"
        "        __import__('os')._exit(0)\n"
        "    __import__('os').wait()\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "settings",
        "PYTHONPATH": f"{project.folder}{os.pathsep}{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(
        [sys.executable, "-W", "ignore", "write_history.py"], cwd=project.folder, env=environment, check=True
    )


def ratios(folder: Path, dsn: str, count: int) -> None:
    projects = {}
    for side in SIDES:
        projects[side] = project = Project(folder, dsn, side, "history")
        project.manage("check")
        history(project, count)
        written = len(list((project.folder / "shop" / "migrations").glob("0*.py")))
        print(f"  {side}: {written} migrations")
    for what, arguments in {
        "migrate, fresh database": ("migrate", "-v0"),
        "migrate, nothing to do": ("migrate", "-v0"),
        "makemigrations --check": ("makemigrations", "--check", "-v0"),
        "check": ("check",),
    }.items():
        times = {side: [] for side in projects}  # type: dict[str, list[float]]
        rounds = 1 if what == "migrate, fresh database" else 5
        for _ in range(3 if rounds == 1 else rounds):
            for side, project in projects.items():
                if rounds == 1:
                    recreate(project)
                times[side].append(project.manage(*arguments))
        report(what, times)
    makemigrations_with_changes(projects)


def recreate(project: Project) -> None:
    with psycopg.connect(project.dsn, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{project.name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{project.name}"')


def makemigrations_with_changes(projects: dict[str, Project]) -> None:
    times: dict[str, list[float]] = {side: [] for side in projects}
    for _ in range(5):
        for side, project in projects.items():
            models = project.folder / "shop" / "models.py"
            before = models.read_text()
            models.write_text(before.replace("max_length=50, db_index=True", "max_length=50"))
            times[side].append(project.manage("makemigrations", "--dry-run", "-v0"))
            models.write_text(before)
    report("makemigrations, 40 changes", times)


def report(what: str, times: dict[str, list[float]]) -> None:
    stock, ours = (statistics.median(times[side]) for side in SIDES)
    print(f"  {what:<30} stock {stock:6.2f} s   safemigrations {ours:6.2f} s   ratio {ours / stock:.2f}", flush=True)


# The worst wait of ordinary queries while an unrelated transaction holds the table.

BEFORE = MODEL.format(number=1, extra="")
AFTER = MODEL.format(number=1, extra="    status = models.CharField(max_length=10, default='new')\n")


@contextmanager
def held(project: Project, seconds: float) -> Iterator[None]:
    """A report, say: it read the table and stays in its transaction."""
    connection = project.connect()
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM shop_item1")
    timer = threading.Timer(seconds, connection.close)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def worst_wait(project: Project, stop: threading.Event, waits: list[float]) -> None:
    with project.connect() as connection:
        while not stop.is_set():
            began = time.perf_counter()
            connection.execute("SELECT id, name FROM shop_item1 ORDER BY id LIMIT 1")
            waits.append(time.perf_counter() - began)
            time.sleep(0.001)


def wait_while_held(folder: Path, dsn: str, seconds: float) -> None:
    for side in SIDES:
        project = Project(folder, dsn, side, "held")
        project.models(BEFORE)
        project.manage("makemigrations", "shop", "-v0")
        project.manage("migrate", "-v0")
        project.models(AFTER)
        project.manage("makemigrations", "shop", "-v0")
        waits: list[float] = []
        stop = threading.Event()
        reader = threading.Thread(target=worst_wait, args=(project, stop, waits))
        reader.start()
        with held(project, seconds):
            took = project.manage("migrate", "-v0")
        stop.set()
        reader.join()
        print(f"  {side:<15} migrate {took:5.1f} s   {len(waits):6} queries   worst wait {max(waits):6.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="safemigrations beside stock Django.")
    parser.add_argument("--migrations", type=int, default=200)
    parser.add_argument("--hold", type=float, default=10.0, help="seconds that the table is held")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server() as dsn:
        print(f"Worst wait of a query while an unrelated transaction holds the table for {options.hold:.0f} s:")
        wait_while_held(Path(folder), dsn, options.hold)
        print(f"The cost of a command in a project with {options.migrations} migrations:")
        ratios(Path(folder), dsn, options.migrations)


if __name__ == "__main__":
    main()
