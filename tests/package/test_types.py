"""A type checker reads the package's own types from the installed wheel."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Environment

MIGRATION = """
from django.db import migrations, models
from safemigrations.operations import AddFieldWithDefault, AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [
        AddFieldWithDefault("order", "status", models.CharField(max_length=10, default="new")),
        AddIndexConcurrently("order", models.Index(fields=["status"], name="order_status")),
    ]
"""


@pytest.fixture(scope="module")
def typed(make: Any) -> Environment:
    environment: Environment = make("mypy>=1.17", "django-stubs>=5.2", extra="[binary]")
    return environment


def mypy(environment: Environment, text: str) -> str:
    environment.write(migration=text)
    return environment.run("-m", "mypy", "--strict", "migration.py").stdout


def test_a_migration_passes(typed):
    assert mypy(typed, MIGRATION) == "Success: no issues found in 1 source file\n"


def test_a_wrong_argument_is_found(typed):
    told = mypy(typed, MIGRATION.replace('AddIndexConcurrently("order"', "AddIndexConcurrently(7"))
    assert 'Argument 1 to "AddIndexConcurrently" has incompatible type "int"; expected "str"' in told
    assert "Found 1 error" in told
