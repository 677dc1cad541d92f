"""The distributions, and environments into which the wheel is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_OF_THE_SOURCES = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "venv")
CHECKOUT = ("PYTHONPATH", "VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE")
CLEAN = {name: value for name, value in os.environ.items() if name not in CHECKOUT}


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env={**CLEAN, **environment}, capture_output=True, text=True)


def checked(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = run(*command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel in it, and a folder that isn't the checkout."""

    folder: Path
    python: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(self.python, *arguments, cwd=self.folder, **environment)

    def checked(self, *arguments: str, **environment: str) -> str:
        return checked(self.python, *arguments, cwd=self.folder, **environment)

    def write(self, **files: str) -> None:
        """The files of a project: `shop__models` is `shop/models.py`."""
        for name, text in files.items():
            path = self.folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: Any) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it, by their suffixes."""
    sources, built = tmp_path_factory.mktemp("sources") / "clone", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, sources, ignore=NOT_OF_THE_SOURCES)
    checked(sys.executable, "-m", "build", "--outdir", built, cwd=sources)
    return {path.suffix: path for path in built.iterdir()}


@pytest.fixture(scope="session")
def in_sdist(distributions: dict[str, Path]) -> set[str]:
    with tarfile.open(distributions[".gz"]) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="session")
def in_wheel(distributions: dict[str, Path]) -> set[str]:
    with zipfile.ZipFile(distributions[".whl"]) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def make(tmp_path_factory: Any, distributions: dict[str, Path]) -> Any:
    """Makes an environment with the wheel, `extra` of it and these requirements besides."""

    def made(*requirements: str | Path, extra: str = "") -> Environment:
        folder = tmp_path_factory.mktemp("environment")
        uv("venv", folder / "venv", "--python", sys.executable)
        python = folder / "venv" / "bin" / "python"
        uv("pip", "install", "--python", python, f"{distributions['.whl']}{extra}", *requirements)
        return Environment(folder, python)

    return made


def uv(*arguments: str | Path, cwd: Path = ROOT) -> str:
    return checked(sys.executable, "-m", "uv", "--quiet", *arguments, cwd=cwd)
