"""What a message tells people to type is safe to type, whoever is connected."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from safemigrations.errors import to_type
from tests import started, three_releases
from tests.project import Project
from tests.test_contracting import columns, session

__all__ = ["session"]  # a fixture

PACKAGE = Path(__file__).parents[1] / "safemigrations"

# What messages print -> what somebody types who reads it.
TYPED = {
    "migrate": ["migrate"],
    "migrate --contract": ["migrate --contract"],
    "migrate --catch-up": ["migrate --catch-up"],
    "migrate {} {} --contract --only": ["migrate shop 0003_title --contract --only"],
    "migrate {} {}": ["migrate shop 0002_size"],
    "migrate APP MIGRATION": ["migrate shop 0001_initial"],
    "migrate --to-release MARK": ["migrate --to-release v1"],
    "sqlmigrate APP MIGRATION --backwards": ["sqlmigrate shop 0002_size --backwards"],
    "safemigrations lint": ["safemigrations lint"],
    "safemigrations accept {} {}": ["safemigrations accept shop 0001"],
    "safemigrations history --last 0": ["safemigrations history --last 0"],
    "safemigrations verify": ["safemigrations verify"],
    "safemigrations verify --sql": ["safemigrations verify --sql"],
    "safemigrations status": ["safemigrations status"],
    "safemigrations contract {} {}": [
        "safemigrations contract resume 1",
        "safemigrations contract adopt 1 --as shop.0001_initial --reason because",
    ],
    "safemigrations contract skip {}": ["safemigrations contract skip 1 --reason because"],
    "safemigrations contract trust {}": ["safemigrations contract trust 1 --reason because"],
    "safemigrations contract postpone|skip NUMBER --reason WHY": [
        "safemigrations contract postpone 2 --reason because",
        "safemigrations contract skip 2 --reason because",
    ],
    "safemigrations plan --format json": ["safemigrations plan --format json"],
    "safemigrations preflight": ["safemigrations preflight"],
    "safemigrations preflight{}": ["safemigrations preflight", "safemigrations preflight --contract"],
    "safemigrations backfill run": ["safemigrations backfill run"],
    "safemigrations backfill resume": ["safemigrations backfill resume"],
    "safemigrations backfill status": ["safemigrations backfill status"],
    "safemigrations backfill cancel": ["safemigrations backfill cancel"],
    "safemigrations backfill {} {}": ["safemigrations backfill pause 1", "safemigrations backfill pace 1 --rest 0"],
    "safemigrations backfill cancel {}": ["safemigrations backfill cancel 1"],
}
TYPE = """
import shlex, sys
import django
django.setup()
from django.core.management import CommandError, call_command
for line in sys.argv[1:]:
    try:
        call_command(*shlex.split(line), stdout=sys.stdout)
    except CommandError as refused:
        print(line, "->", refused)
"""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "errors.py":
            yield path, ast.parse(path.read_text())


def printed() -> set[str]:
    """The commands in messages, with {} for what differs."""
    calls = (node for _, tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {template(call.args[0]) for call in calls if ast.unparse(call.func) == "to_type"}


def template(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    assert isinstance(node, ast.Constant), ast.unparse(node)
    return str(node.value)


def test_every_command_that_a_message_prints_is_typed_here():
    assert printed() == set(TYPED)


def test_every_command_about_a_database_names_it():
    """Only what works on files alone is printed without to_type()."""
    files = ("safemigrations baseline", "safemigrations lint", "check", "makemigrations")
    by_hand = [
        (path.name, part)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and "python manage.py " in str(node.value) and not is_docstring(node, tree)
        for part in str(node.value).split("python manage.py ")[1:]
        if not part.startswith(files)
    ]
    assert by_hand == []


def is_docstring(node: ast.Constant, tree: ast.Module) -> bool:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    first = [owner.body[0] for owner in ast.walk(tree) if isinstance(owner, owners) and owner.body]
    return any(isinstance(one, ast.Expr) and one.value is node for one in first)


@pytest.mark.parametrize(("alias", "option"), [("default", ""), ("other", " --database other")])
def test_a_command_is_for_the_database_of_its_message(alias, option):
    assert to_type("safemigrations status", alias) == f"python manage.py safemigrations status{option}"


def state(project: Project) -> tuple[object, ...]:
    return columns(project), project.sql("SELECT app, name FROM django_migrations ORDER BY id")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_release_that_is_up_is_harmed_by_what_a_message_says(tmp_path, at, session, number):
    """All three releases are connected; somebody types all of it, in the tree of each."""
    project = three_releases.tree(tmp_path, at("v3"), number)
    for other in (1, 2, 3):
        session(project, other)
    project.write("type.py", TYPE)
    before = state(project)
    lines = [line for typed in TYPED.values() for line in typed]
    environment = project._environment()
    said, error, status = started.run(["type.py", *lines], folder=project.folder, env=environment, input="")
    assert (error, status) == ("", 0), said
    assert state(project) == before, said
