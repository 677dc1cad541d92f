"""Django's own tests, in a project that has the app: they fail where ours means to do something else, and nowhere else.

The tests are in Django's source distribution, which pip gets. They need a PostgreSQL with ICU.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import django
import pytest

from testproject.postgres import settings_for

from ..started import ROOT
from .expected import EXPECTED

LABELS = """
aggregation aggregation_regress annotations auth_tests backends bulk_create check_framework constraints
contenttypes_tests custom_pk db_functions distinct_on_fields expressions expressions_window flatpages_tests indexes
inspectdb introspection lookup m2m_through migrate_signals migration_test_data_persistence migrations model_inheritance
multiple_database ordering postgres_tests proxy_models queries redirects_tests schema sessions_tests sites_tests
swappable_models test_runner transactions user_commands
"""
FAILED = re.compile(r"^(?:FAIL|ERROR): \w+ \(([\w.]+)\)", re.MULTILINE)
APPS = "ALWAYS_INSTALLED_APPS = [\n"
SETTINGS = """
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = False
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    """The folder of Django's tests, of the version that is installed."""
    folder: Path = tmp_path_factory.mktemp("django")
    wanted = [f"django=={django.get_version()}", "--no-deps", "--no-binary", "django", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests


def failures(suite: Path, dsn: str, *, app: str = "") -> set[str]:
    """The names of the tests that fail; `app` is installed besides Django's."""
    runner = (suite / "runtests.py").read_text()
    assert runner.count(APPS) == 1
    (suite / "run.py").write_text(runner.replace(APPS, f"{APPS}    {app!r},\n" if app else APPS))
    databases: dict[str, Any] = {name: settings_for(dsn, f"django_{name}") for name in ("default", "other")}
    (suite / "on_postgres.py").write_text(f"DATABASES = {databases!r}\n{SETTINGS}")
    command = [sys.executable, "run.py", "--settings=on_postgres", "--parallel=1", "--noinput", *LABELS.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True)
    assert re.search(r"^Ran \d{4} tests in ", done.stderr, re.MULTILINE), done.stderr[-2000:]
    return set(FAILED.findall(done.stderr))


def test_they_fail_where_it_is_meant_and_nowhere_else(suite, dsn):
    without = failures(suite, dsn)
    assert failures(suite, dsn, app="safemigrations") - without == EXPECTED.keys()
