"""Nothing is drift in a database that stock Django has just made, whatever a package's models and migrations are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.packages.apps import PACKAGES
from tests.started import ROOT


def manage(package: str, database: Any, *command: str, apps: str) -> str:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.packages.settings",
        "PACKAGE": package,
        "PACKAGE_APPS": apps,
        "PACKAGE_DATABASE": database.settings_dict["NAME"],
    }
    django = [sys.executable, "-W", "ignore", "-m", "django", *command]
    done = subprocess.run(django, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_a_fresh_database_of_stock_django_has_no_drift(package, database):
    manage(package, database, "migrate", "--skip-checks", "--verbosity", "0", apps="stock")
    found = json.loads(manage(package, database, "safemigrations", "verify", "--format", "json", apps="all"))
    assert (found["drift"], found["notes"]) == ([], [])
    assert found["tables"] > 10  # those of Django's own apps alone
