"""The wheel works with the oldest and the newest of what it needs, and without what it doesn't need yet."""

from __future__ import annotations

import re
import shutil
from typing import Any

import pytest

from safemigrations.checking.catalogue import KINDS

from .conftest import ROOT, Environment, uv

SETTINGS = """
SECRET_KEY = "package"
INSTALLED_APPS = ["safemigrations", "shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.%s", "NAME": "package.db"}}
"""
MODELS = """
from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=20%s)
"""
# Each room of the package is run, and nothing in them reads the sources of a checkout.
CHOSEN = (
    "stored",
    "steps",
    "runner",
    "makemigrations",
    "lint",
    "project",
    "queue",
    "gate",
    "add_field",
    "set_not_null",
)


@pytest.fixture(scope="module")
def bare(make: Any) -> Environment:
    """As `pip install safemigrations` leaves it: psycopg has no compiled parts."""
    environment: Environment = make()
    environment.write(settings=SETTINGS % "sqlite3", shop____init__="", shop__models=MODELS % "")
    return environment


def manage(environment: Environment, *arguments: str, **more: str) -> str:
    return environment.checked("-m", "django", *arguments, DJANGO_SETTINGS_MODULE="settings", PYTHONPATH=".", **more)


def test_every_check_is_explained_by_its_page(bare):
    for kind in KINDS:
        told = manage(bare, "safemigrations", "lint", "--explain", kind.id)
        assert not kind.page or "\n# " in told, kind.id


def test_without_libpq_all_works_but_a_postgresql(bare):
    """As where the system has none: psycopg can't be imported."""
    none = {"PSYCOPG_IMPL": "binary"}
    assert bare.run("-c", "import psycopg", **none).returncode == 1
    manage(bare, "makemigrations", "shop", **none)
    bare.write(shop__models=MODELS % ", db_index=True")
    assert "concurrently" in manage(bare, "makemigrations", "shop", **none)
    for command in (["check"], ["safemigrations", "lint"], ["migrate"], ["migrate", "--contract"]):
        manage(bare, *command, **none)
    bare.write(other=SETTINGS % "postgresql")
    result = bare.run("-m", "django", "check", "--settings", "other", PYTHONPATH=".", **none)
    assert "Error loading psycopg2 or psycopg module" in result.stderr


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_tests_pass_with_the_oldest_and_the_newest(resolution, make, tmp_path):
    wanted = tmp_path / "requirements.txt"
    extras = [part for name in ("binary", "celery", "lint", "tasks") for part in ("--extra", name)]
    arguments = ["--group", "test", "--resolution", resolution, "--output-file", wanted]
    uv("pip", "compile", "pyproject.toml", *extras, *arguments)
    environment: Environment = make("--requirements", wanted)
    for name in ("tests", "testproject"):
        shutil.copytree(ROOT / name, environment.folder / name)
    shutil.copy(ROOT / "pyproject.toml", environment.folder)
    chosen = [f"tests/test_{name}.py" for name in CHOSEN]
    told = environment.checked("-m", "pytest", "-q", "-n", "2", *chosen)
    passed = re.search(r"(\d+) passed", told)
    assert passed
    assert int(passed[1]) > 400
    where = environment.checked("-c", "import safemigrations; print(safemigrations.__file__)")
    assert where.startswith(str(environment.folder / "venv"))
