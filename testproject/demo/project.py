"""Copies of this project, each at one release, so that no migration is written in the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from safemigrations.rehearsing.processes import Processes
from safemigrations.rehearsing.releases import Release

HERE = Path(__file__).resolve().parents[1]
TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Project:
    directory: Path
    settings: str
    conninfo: str
    database: str

    def check_out(self, release: str, *, migrations_of: Project | None = None) -> None:
        """Copy the project with the models of this release and the migrations that another copy has."""
        ignored = shutil.ignore_patterns("__pycache__", "releases", "migrations")
        shutil.copytree(HERE, self.directory / HERE.name, ignore=ignored)
        shop = self.migrations.parent
        shutil.copy(HERE / "shop" / "releases" / f"{release}.py", shop / "models.py")
        if migrations_of is not None:
            shutil.copytree(migrations_of.migrations, self.migrations, ignore=ignored)

    @property
    def migrations(self) -> Path:
        return self.directory / HERE.name / "shop" / "migrations"

    def written(self) -> dict[str, str]:
        """The migrations by the names of their files."""
        return {file.name: file.read_text() for file in self.migrations.glob("*.py")}

    def manage(self, *arguments: str) -> Iterator[str]:
        """Run ``manage.py`` and yield its lines as they come; raise CalledProcessError when it fails."""
        with self.start(*arguments) as process:
            assert process.stdout
            try:
                yield from without_traceback(line.rstrip() for line in process.stdout)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, ["manage.py", *arguments])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=self.directory / HERE.name,
            env=self._environment() | {"DJANGO_SETTINGS_MODULE": self.settings, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends its processes in good order
        )

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        return os.environ | {"PYTHONPATH": path, "SHOP_CONNINFO": self.conninfo, "SHOP_DATABASE": self.database}

    def processes(self, release: str, stack: ExitStack) -> Processes:
        """Those of a rehearsal, of this code and on this database."""
        os.environ["SHOP_CONNINFO"] = self.conninfo
        path = (str(self.directory), str(HERE.parent))
        folder = self.directory / HERE.name
        of_code = Release(release, release, self.directory, folder, path, sys.executable, self.settings)
        return Processes(of_code, stack, {"default": self.database})


def without_traceback(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines; of a traceback only the error itself."""
    traceback: list[str] = []
    for line in lines:
        if traceback or TRACEBACK in line:
            traceback.append(line)
        else:
            yield line
    if traceback:
        yield traceback[0].removesuffix(TRACEBACK)
        last_frame = max(number for number, line in enumerate(traceback) if line.startswith("  "))
        yield from traceback[last_frame + 1 :]
