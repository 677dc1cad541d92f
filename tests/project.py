"""A Django project in a folder of its own, whose commands run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from testproject.postgres import settings_for

from . import processes, started

ROOT = started.ROOT
MODELS = "from __future__ import annotations\n\nfrom django.db import models\n\n\n"
MANAGE = """import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


@dataclass(frozen=True)
class Result:
    """What a command said and how it ended."""

    stdout: str
    stderr: str
    returncode: int

    def check(self) -> Result:
        """The same; an AssertionError that shows all of it when the command failed."""
        assert self.returncode == 0, f"exit status {self.returncode}\n{self.stdout}{self.stderr}"
        return self

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


class Running:
    """A command that has been started; its output can be read while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.read = ""

    def read_until(self, text: str) -> str:
        """What it has written so far, as soon as that holds `text`."""
        assert self.process.stdout
        while text not in self.read:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"The command ended without saying {text!r}:\n{self.read}{self.wait().stderr}")
            self.read += line
        return self.read

    def kill(self) -> Result:
        self.process.kill()
        return self.wait()

    def wait(self, input: str | None = None) -> Result:
        stdout, stderr = self.process.communicate(input, timeout=120)
        return Result(self.read + stdout, stderr, self.process.returncode)


class Project:
    """`settings` are added to those of the project or take their place; `databases` are further aliases -> dsn.

    `fresh`: each command gets an interpreter that is started for it, and has imported nothing.
    """

    def __init__(
        self,
        folder: Path,
        dsn: str,
        *,
        apps: Sequence[str] = ("shop",),
        databases: Mapping[str, str] | None = None,
        fresh: bool = False,
        **settings: Any,
    ) -> None:
        self.folder, self.dsn, self.fresh = folder, dsn, fresh
        entries = {
            alias: settings_for(conninfo, psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"])  # type: ignore[arg-type]
            for alias, conninfo in {"default": dsn, **(databases or {})}.items()
        }
        self.settings: dict[str, Any] = {
            "SECRET_KEY": "tests",
            "USE_TZ": True,
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "INSTALLED_APPS": ["safemigrations", *apps],
            "DATABASES": entries,
        }
        self.write("manage.py", MANAGE)
        self.set(**settings)
        for app in apps:
            self.write(f"{app}/__init__.py", "")
            self.write(f"{app}/migrations/__init__.py", "")
            self.write_models(app, "")

    def set(self, **settings: Any) -> None:
        """Give the project's settings other values; they must be spelled by repr(). The gate looks only once."""
        self.settings.update(settings)
        own = self.settings.get("SAFEMIGRATIONS", {})
        self.settings["SAFEMIGRATIONS"] = {"GATE_WATCH": 0, **own} if isinstance(own, dict) else own
        self.write("settings.py", "".join(f"{name} = {value!r}\n" for name, value in self.settings.items()))

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def write_models(self, app: str, source: str) -> None:
        """`models` of Django is imported already."""
        self.write(f"{app}/models.py", MODELS + source)

    def write_migration(self, app: str, name: str, source: str) -> None:
        self.write(f"{app}/migrations/{name}.py", source)

    def migration_files(self, app: str) -> list[str]:
        """The names of the app's migrations."""
        return sorted(path.stem for path in (self.folder / app / "migrations").glob("[!_]*.py"))

    def read_migration(self, app: str, name: str) -> str:
        return (self.folder / app / "migrations" / f"{name}.py").read_text()

    def manage(self, *args: str, input: str | None = None) -> Result:
        """Run a command to its end; `input` answers its questions, without it nobody can."""
        if self.fresh:
            return Running(self._start(args, stdin=subprocess.PIPE)).wait(input)
        script, environment = ["manage.py", *args], self._environment()
        return Result(*started.run(script, folder=self.folder, env=environment, input=input or ""))

    def migrate_and_contract(self) -> Result:
        """Both halves, where no old release is left; what the contract said."""
        self.manage("migrate").check()
        return self.manage("migrate", "--contract").check()

    def start(self, *args: str, group: bool = False) -> Running:
        """`group`: with the processes that it starts it is one of its own, as a command at a terminal is."""
        return Running(self._start(args, stdin=subprocess.DEVNULL, group=group))

    def _start(self, args: Sequence[str], *, stdin: int, group: bool = False) -> subprocess.Popen[str]:
        return processes.start(
            [sys.executable, "-W", "error", "-u", "manage.py", *args],
            cwd=self.folder,
            env=self._environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0 if group else None,
        )

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": str(ROOT),
            # A model file that is written twice within a second would be taken from the first one's bytecode.
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "80",  # as wide as where there is no terminal
        }

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, or none; on a connection of its own, in autocommit mode."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []
