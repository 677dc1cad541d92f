"""Who may import whom: a room knows those above it here, so that each can be read without what comes later."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import safemigrations

PACKAGE = Path(safemigrations.__file__).parent
ROOMS = [
    {"", "conf", "errors", "data", "typed"},
    {"postgres"},
    {"plans"},
    {"running"},
    {"contracts"},
    {"operations"},
    {"checking"},
    {"hooks"},
    {"management"},
    {"apps", "tasks", "django_tasks", "celery_tasks"},
]


def modules() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """The module's name; a package's own, for its __init__."""
    return ".".join(part for part in ("safemigrations", *path.with_suffix("").parts) if part != "__init__")


MODULES = {dotted(path): path for path in modules()}


def room(module: str) -> str:
    """The room of a module: "operations" for safemigrations.operations.base."""
    return module.removeprefix("safemigrations").strip(".").partition(".")[0]


def imports(path: Path) -> Iterator[str]:
    """Every module of ours that this one imports, inside functions too."""
    package = ["safemigrations", *path.parent.parts]
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("safemigrations"))
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            if module.partition(".")[0] == "safemigrations":
                named = [f"{module}.{alias.name}" for alias in node.names]
                yield from (name if name in MODULES else module for name in named)


def floor(name: str) -> int:
    (number,) = (number for number, names in enumerate(ROOMS) if name in names)
    return number


def test_every_module_has_its_place():
    assert {room(module) for module in MODULES} == set().union(*ROOMS)


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_imports_only_from_rooms_above(path):
    here = floor(room(dotted(path)))
    assert [module for module in imports(path) if floor(room(module)) > here] == []


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({module: set(imports(path)) - {module} for module, path in MODULES.items()}).prepare()


def test_what_is_read_first_imports_nothing_else_of_this_package():
    assert list(imports(Path("conf.py"))) == []
    assert list(imports(Path("data.py"))) == []
    assert list(imports(Path("typed.py"))) == []


def test_an_operation_plans_without_what_runs_plans():
    planners = [path for path in modules() if path.parts[0] == "operations" and path.name != "base.py"]
    assert [path for path in planners if any(room(module) == "running" for module in imports(path))] == []


TABLES = {"safemigrations.contracts.queue", "safemigrations.running.backfill.progress"}


@pytest.mark.parametrize("command", ["check", "makemigrations --check --dry-run"])
def test_a_command_that_runs_no_step_loads_no_table_of_ours(command):
    """With the runner they would take a tenth of it: 35 of 360 ms."""
    code = (
        "import sys, django; from django.core.management import ManagementUtility as Command;"
        f"sys.argv = ['manage.py', *{command.split()}]; Command(sys.argv).execute(); print(*sys.modules)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "safemigrations.operations.base" in loaded
    assert not loaded & TABLES
