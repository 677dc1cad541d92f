"""Who may import whom: a room knows those below it, so that each can be read without what comes later."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.house import MODULES, PACKAGE, PICTURE, ROOMS, dotted, drawn, floor, imports, modules, room


def test_every_module_has_its_place():
    assert {room(module) for module in MODULES} == {name for names in ROOMS for name in names}


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_imports_only_from_rooms_below(path):
    assert [module for module in imports(path) if floor(module) > floor(dotted(path))] == []


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({module: set(imports(path)) - {module} for module, path in MODULES.items()}).prepare()


def test_what_is_read_first_imports_nothing_else_of_this_package():
    assert list(imports(Path("conf.py"))) == []
    assert list(imports(Path("data.py"))) == []
    assert list(imports(Path("typed.py"))) == []


def test_an_operation_plans_without_what_runs_plans():
    planners = [
        path for path in modules() if path.parts[0] == "operations" and path.name not in ("base.py", "of_migration.py")
    ]
    assert [path for path in planners if any(room(module) == "running" for module in imports(path))] == []


def test_only_postgres_makes_questions_of_text():
    """And the reader of stored plans, of the text that postgres/ has made."""
    makers = [path for path in modules() if path.parts[0] != "postgres" and "Probe(" in (PACKAGE / path).read_text()]
    assert list(map(str, makers)) == ["plans/stored.py"]


TABLES = {
    "safemigrations.contracts.table",
    "safemigrations.contracts.queue",
    "safemigrations.running.backfill.progress",
    "safemigrations.running.ledger",
}


OF_OTHERS = {"rich", "opentelemetry", "pglast"}


@pytest.mark.parametrize("command", ["check", "makemigrations --check --dry-run"])
def test_a_command_that_runs_no_step_loads_no_table_of_ours(command):
    """With the runner they would take 16 of 330 ms."""
    code = (
        "import sys, django; from django.core.management import ManagementUtility as Command;"
        f"sys.argv = ['manage.py', *{command.split()}]; Command(sys.argv).execute(); print(*sys.modules)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "safemigrations.operations.base" in loaded
    assert not loaded & {*TABLES, *OF_OTHERS}


def late(path: Path) -> list[str]:
    """What is imported inside functions."""
    tree = ast.parse((PACKAGE / path).read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = {node for function in functions for node in ast.walk(function)}
    return sorted(ast.unparse(node) for node in found if isinstance(node, ast.Import | ast.ImportFrom))


# Module -> what it imports late, and why: CPU, the least of 12 runs, where `manage.py check` takes 330 ms.
LATE = {
    "checking/grammar.py": ("from .sql import reader", "27 ms with pglast; few commands meet SQL that people wrote"),
    "contracts/__init__.py": (
        "from . import applying",
        "16 ms with the runner and its tables; most commands run no step",
    ),
    "management/migrating.py": (
        "from safemigrations.management import at_work",
        "10 ms of the 390 of a migrate that has nothing to do, or is the first; 8 of check, which loads its command",
    ),
    "plans/triggers.py": (
        "from .trigger_sql import FunctionSql, TriggerSql",
        "django-pgtrigger can't be imported without libpq; elsewhere, on SQLite, 57 ms with psycopg",
    ),
    "pytest_plugin.py": (
        "from . import testing",
        "217 ms with Django and psycopg; pytest loads a plugin wherever it runs",
    ),
}


def test_at_most_five_imports_are_late():
    assert {str(path): late(path) for path in modules() if late(path)} == {
        path: [one] for path, (one, _) in LATE.items()
    }
    assert len(LATE) <= 5


def test_the_picture_is_of_this_house():
    assert PICTURE.read_text() == drawn(), "Draw it anew: python -m tests.house"
