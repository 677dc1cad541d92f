from __future__ import annotations

import os
from typing import Any

from testproject.postgres import settings_for

SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "pgtrigger",
    "safemigrations",
]


def _database(alias: str) -> dict[str, Any]:
    # The environment is what reaches a subprocess, so it sees the database of the test that started it.
    server = os.environ.get("SAFEMIGRATIONS_TEST_DSN", "")
    name = os.environ.get(f"SAFEMIGRATIONS_TEST_DATABASE_{alias.upper()}", "this_test_asked_for_no_database")
    return settings_for(server, name)


DATABASES = {"default": _database("default"), "other": _database("other")}
