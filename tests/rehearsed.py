"""The app of the cases as a project with two releases, for the command that rehearses them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Literal

from django.db.migrations import Migration
from django.db.migrations.state import ModelState

from safemigrations.hooks.writer import MigrationWriter

from .cases import LABEL, STORE, Case, base, ours, state_after, stock
from .project import Project

QUICK = ("--seconds", "0.3", "--clients", "1", "--rows", "5")


def git(project: Project, *arguments: str) -> str:
    name = ["-c", "user.name=tests", "-c", "user.email=tests@example.com", "-c", "init.defaultBranch=main"]
    command = ["git", *name, *arguments]
    return subprocess.run(command, cwd=project.folder, check=True, capture_output=True, text=True).stdout


def commit(project: Project) -> None:
    """What the project is now becomes its release, on the branch main."""
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "Release")


def rehearse(project: Project, *arguments: str) -> tuple[int, Any]:
    """The exit status, and what was found."""
    done = project.manage("safemigrations", "rehearse", *QUICK, *arguments, "--format", "json")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout or json.dumps({"said": done.stderr}))


def write_case(project: Project, case: Case, how: Literal["stock", "ours"]) -> None:
    """The release before the case is committed, that after it is in the working tree."""
    migrations = ours(case) if how == "ours" else stock(case)
    project.set(INSTALLED_APPS=["django.contrib.postgres", "safemigrations", LABEL, STORE])
    _write(project, [base()])
    commit(project)
    _write(project, [base(), *migrations])


def _write(project: Project, migrations: list[Migration]) -> None:
    folder = project.folder / LABEL / "migrations"
    shutil.rmtree(folder)
    project.write(f"{LABEL}/migrations/__init__.py", "")
    for migration in migrations:
        project.write_migration(LABEL, migration.name, MigrationWriter(migration).as_string())
    project.write(f"{STORE}/migrations/__init__.py", "")
    project.write(f"{STORE}/__init__.py", "")
    for label in (LABEL, STORE):
        project.write(f"{label}/models.py", models_after(migrations, label))


def models_after(migrations: list[Migration], label: str) -> str:
    """The models of an app as a person would have written them."""
    left = [model for model in state_after(migrations).models.values() if model.app_label == label]
    lines, imports = list[str](), {"from django.db import models"}
    known: set[str] = set()
    while left:
        ready = [model for model in left if all(base in known for base in _bases(model))]
        for model in ready:
            lines += ["", "", *_model(model, imports)]
            known.add(f"{label}.{model.name_lower}")
        left = [model for model in left if model not in ready]
    return "\n".join([*sorted(imports), *lines, ""])


def _bases(model: ModelState) -> list[str]:
    return [base.lower() for base in model.bases if isinstance(base, str)]


def _model(model: ModelState, imports: set[str]) -> Iterator[str]:
    bases = [base.partition(".")[2].capitalize() for base in _bases(model)] or ["models.Model"]
    yield f"class {model.name}({', '.join(bases)}):"
    for name, field in model.fields.items():
        yield f"    {name} = {_serialized(field, imports)}"
    yield "    class Meta:"
    yield f"        app_label = {model.app_label!r}"
    for name, value in model.options.items():
        demanded = sorted(value) if name == "unique_together" else value  # a list, by models.E010
        yield f"        {name} = {_serialized(demanded, imports)}"


def _serialized(value: Any, imports: set[str]) -> str:
    text, needed = MigrationWriter.serialize(value)
    imports |= needed
    return str(text)
