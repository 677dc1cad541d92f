"""Who may import whom: a module knows those that stand above it, so that each can be read without what comes later."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import safemigrations

PACKAGE = Path(safemigrations.__file__).parent
LAYERS = [
    {"", "conf", "catalog", "data", "storage", "grouping"},
    {"steps"},
    {"defaults", "casts"},
    {"locks"},
    {"runner"},
    {"queue", "backfill", "report"},
    {"columns"},
    {"tables", "counterparts"},
    {"constraints"},
    {"views"},
    {"sync"},
    {"twins", "exchange", "conversions", "expressions"},
    {"operations"},
    {"rules"},
    {"questioner", "writer", "autodetector", "checks", "executor"},
    {"management", "apps", "tasks", "django_tasks", "celery_tasks"},
]
# The runner hands backfills over when it meets one.
LATE = {("runner", "backfill")}


def modules() -> list[Path]:
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    """The part of the package that a module belongs to: "operations" for safemigrations.operations.base."""
    return module.removeprefix("safemigrations").strip(".").partition(".")[0]


def dotted(path: Path) -> list[str]:
    return ["safemigrations", *path.with_suffix("").parts]


def imports(path: Path) -> Iterator[str]:
    """Every module of ours that this one imports, inside functions too."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("safemigrations"))
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(dotted(path)[: -node.level]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            if module == "safemigrations":
                yield from (f"{module}.{alias.name}" for alias in node.names)
            elif module.startswith("safemigrations."):
                yield module


def layer(name: str) -> int:
    (number,) = (number for number, names in enumerate(LAYERS) if name in names)
    return number


def test_every_module_has_its_place():
    parts = {path.with_suffix("").parts[0] for path in modules()}
    assert parts - {"__init__"} == set().union(*LAYERS) - {""}


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_imports_only_from_above(path):
    here = part(".".join(dotted(path)))
    if here == "__init__":
        here = ""
    wrong = [
        module for module in imports(path) if layer(part(module)) > layer(here) and (here, part(module)) not in LATE
    ]
    assert wrong == []


def test_what_is_read_first_imports_nothing_else_of_this_package():
    assert list(imports(Path("catalog.py"))) == []
    assert list(imports(Path("conf.py"))) == []
