"""What is unsafe in the migrations of a project: file, operation, why it would hurt, and what to write instead."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.checks import Error
from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from .. import conf
from ..data import Data
from ..operations.base import Change
from ..operations.rule import Context
from ..operations.written import written
from . import rules, suspects

OUTSIDE_TRANSACTION = "safemigrations.E090"
BAD_DECISION = "safemigrations.E091"


class LintFinding(Data):
    """An unsafe operation of a migration file; `operation` is its index (None: the migration as a whole), `line` is
    where it begins."""

    app_label: str
    migration: str
    operation: int | None
    id: str
    message: str
    hint: str
    file: str
    line: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_error(self) -> Error:
        return Error(f"{self.file}:{self.line}: {self.message}", hint=self.hint, id=self.id)


def findings() -> list[LintFinding]:
    """All that is unsafe in migrations after the baseline, in the order of the graph."""
    suspected = [label for label in suspects.labels() if suspects.is_suspected(label)]
    if not suspected:
        return []
    loader = MigrationLoader(None, ignore_no_migrations=True)
    exempt = _exempt(loader)
    state = ProjectState(real_apps=loader.unmigrated_apps)
    found = []
    initial: dict[str, set[str]] = {}  # app label -> models that its initial migrations create: nobody uses them yet
    for key in _all_in_order(loader):
        migration = loader.graph.nodes[key]
        created = {op.name_lower for op in migration.operations if isinstance(op, migrations.CreateModel)}
        if migration.initial:
            created = initial.setdefault(key[0], set())
            created |= {op.name_lower for op in migration.operations if isinstance(op, migrations.CreateModel)}
        if key[0] in suspected and key not in exempt:
            found += list(_of_migration(migration, state, created))
        else:
            migration.mutate_state(state, preserve=False)
    return found


def _all_in_order(loader: MigrationLoader) -> Iterator[tuple[str, str]]:
    seen: dict[tuple[str, str], None] = {}
    for leaf in sorted(loader.graph.leaf_nodes()):
        seen.update(dict.fromkeys(loader.graph.forwards_plan(leaf)))
    return iter(seen)


def _exempt(loader: MigrationLoader) -> set[tuple[str, str]]:
    """The baseline migrations and everything that they need, of their own app."""
    exempt: set[tuple[str, str]] = set()
    for label, name in conf.baseline().items():
        if (label, name) not in loader.graph.nodes:
            continue  # squashed away, and so long past
        exempt.update(key for key in loader.graph.forwards_plan((label, name)) if key[0] == label)
    return exempt


def _of_migration(migration: Migration, state: ProjectState, created: set[str]) -> Iterator[LintFinding]:
    """The findings that nobody has decided about, and decisions that are not worth their name.

    A person decides on the Migration class: allow_unsafe = {"safemigrations.E012": "currencies has 180 rows"}.
    """
    allowed = getattr(migration, "allow_unsafe", {})
    if not isinstance(allowed, dict):
        hint = 'Write allow_unsafe = {"safemigrations.E001": "the reason"}.'
        yield _finding(migration, None, BAD_DECISION, "allow_unsafe must be a dictionary.", hint)
        allowed = {}
    found = list(_all_of_migration(migration, state, created))
    yield from (finding for finding in found if not str(allowed.get(finding.id, "")).strip())
    known, needed = {rule.id for rule in rules.RULES} | {OUTSIDE_TRANSACTION}, {finding.id for finding in found}
    for id, reason in allowed.items():
        if id not in known:
            message, hint = f"allow_unsafe names {id}, which no rule has.", f"The ids are: {', '.join(sorted(known))}."
        elif not str(reason).strip():
            message, hint = f"allow_unsafe gives no reason for {id}.", "Write why it is safe here, for the next reader."
        elif id not in needed:
            message, hint = f"allow_unsafe names {id}, which nothing here needs.", "Remove the entry."
        else:
            continue
        yield _finding(migration, None, BAD_DECISION, message, hint)


def _all_of_migration(migration: Migration, state: ProjectState, created: set[str]) -> Iterator[LintFinding]:
    release = [(migration.app_label, operation) for operation in migration.operations]
    before = state
    start = state.clone() if any(isinstance(op, migrations.RenameField) for op in migration.operations) else None
    for index, operation in enumerate(migration.operations):
        model_name = rules.model_named_by(operation)
        known = bool(model_name) and model_name.lower() not in created
        kept = before.clone() if known else before
        operation.state_forwards(migration.app_label, before)
        if known:
            yield from _of_operation(
                migration, index, operation, Context(migration.app_label, kept, before, release, start)
            )


def _of_operation(migration: Migration, index: int, operation: Operation, context: Context) -> Iterator[LintFinding]:
    if isinstance(operation, Change) and migration.atomic and not migration.replaces:
        yield _finding(
            migration,
            index,
            OUTSIDE_TRANSACTION,
            f"{type(operation).__name__} can't run inside a transaction.",
            "Set atomic = False on the migration.",
        )
    if found := rules.find(operation, context):
        rule, finding = found
        hint = finding.way_by_hand
        if finding.replacement:
            lines = "\n".join(written(safe) for safe in finding.replacement)
            hint = f"Write\n{_indented(lines)}\nor delete the file and run makemigrations again."
        yield _finding(migration, index, rule.id, finding.message, hint)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _finding(migration: Migration, index: int | None, id: str, message: str, hint: str) -> LintFinding:
    spec = importlib.util.find_spec(type(migration).__module__)
    path = Path(spec.origin) if spec and spec.origin else Path(f"{migration.name}.py")
    return LintFinding(
        app_label=migration.app_label,
        migration=migration.name,
        operation=index,
        id=id,
        message=message,
        hint=hint,
        file=_relative(path),
        line=_line_of(path, index),
    )


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _line_of(path: Path, index: int | None) -> int:
    """Where the operation of this index, or allow_unsafe, begins; 1 where the file builds its list in another way."""
    try:
        tree = ast.parse(path.read_text())
    except (OSError, SyntaxError):
        return 1
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if index is None and "allow_unsafe" in names:
            return node.lineno
        elements = getattr(node.value, "elts", ())
        if index is not None and "operations" in names and index < len(elements):
            return int(elements[index].lineno)
    return 1
