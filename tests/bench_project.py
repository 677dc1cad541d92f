"""A project for the benchmarks, with safemigrations and without it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psycopg

from testproject.postgres import settings_for

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = """
SECRET_KEY = "bench"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = {apps!r}
DATABASES = {{"default": {database!r}}}
{more}
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


class Side(NamedTuple):
    """What is compared: a project with these apps, and the checkout that they are imported from."""

    name: str
    apps: tuple[str, ...] = ("safemigrations",)
    code: Path = ROOT
    settings: str = ""


STOCK = Side("stock", ())
OURS = Side("safemigrations", settings='SAFEMIGRATIONS = {"GATE_WATCH": 0}')
SIDES = (STOCK, OURS)


class Took(NamedTuple):
    """Seconds that a command took: by the clock, and of the processor, in its process and in the server."""

    wall: float
    cpu: float


class Project:
    """A Django project in a folder, with a database of its own."""

    def __init__(self, folder: Path, dsn: str, side: Side, name: str) -> None:
        self.side, self.dsn, self.name = side, dsn, f"{name}_{side.name}"
        self.folder = folder / self.name
        (self.folder / "shop").mkdir(parents=True)
        (self.folder / "shop" / "__init__.py").touch()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{self.name}"')
        apps = [*side.apps, "django.contrib.contenttypes", "django.contrib.auth", "shop"]
        text = SETTINGS.format(apps=apps, database=settings_for(dsn, self.name), more=side.settings)
        (self.folder / "settings.py").write_text(text)

    def models(self, source: str) -> None:
        (self.folder / "shop" / "models.py").write_text(source)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": f"{self.folder}{os.pathsep}{self.side.code}",
            "PYTHONDONTWRITEBYTECODE": "",  # an installed package, as Django is here, has been compiled
        }

    def manage(self, *arguments: str, answers: str = "") -> Took:
        """Run a management command."""
        command = [sys.executable, "-W", "ignore", "-m", "django", *arguments]
        with psycopg.connect(self.dsn) as connection:
            before, began = processor_time(connection), time.perf_counter()
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, text=True, input=answers
            )
            took = Took(time.perf_counter() - began, processor_time(connection) - before)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return took

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


def processor_time(connection: psycopg.Connection) -> float:
    """Seconds that the commands of this process and the server have taken until now."""
    commands = resource.getrusage(resource.RUSAGE_CHILDREN)
    return commands.ru_utime + commands.ru_stime + _of_server(connection)


def _of_server(connection: psycopg.Connection) -> float:
    """All processes of a server on this machine, those that have ended included; 0 where /proc says nothing of it."""
    backend = Path("/proc", str(connection.info.backend_pid), "stat")
    if not backend.exists():
        return 0
    postmaster = _fields(backend)[1]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _fields(stat)
        except (FileNotFoundError, ProcessLookupError):  # it ended
            continue
        if stat.parent.name == postmaster:
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and those of the children that have ended
        elif fields[1] == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _fields(stat: Path) -> list[str]:
    """Those after the name, which may hold spaces: the state, the parent, and so on (proc_pid_stat(5))."""
    return stat.read_text().rpartition(")")[2].split()
