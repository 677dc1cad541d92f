"""Every rule as a system check: file, operation, why it would hurt, and what to write instead.

Nothing is imported or computed for an app whose migrations after the baseline don't even mention an operation that a
rule could object to; reading the text of a few files costs a `manage.py check` nothing that one notices.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import sysconfig
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management.commands import makemigrations
from django.db import migrations
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from .. import conf
from ..data import Data
from ..operations.base import Change, Context
from ..operations.written import written
from ..typed import set_on
from . import rules

# What a rule could object to, and decisions of a person; our own operations don't match.
UNSAFE = (
    "AddConstraint",
    "AddField",
    "AddIndex",
    "AlterField",
    "AlterModelTable",
    "AlterOrderWithRespectTo",
    "AlterUniqueTogether",
    "DeleteModel",
    "RemoveConstraint",
    "RemoveField",
    "RemoveIndex",
    "RenameField",
    "RenameModel",
)
SUSPECTS = re.compile(rf"\b({'|'.join(UNSAFE)})\(|allow_unsafe")
OURS_IN_A_TRANSACTION = re.compile(r"(?s)(?!.*atomic = False).*\bsafemigrations\.operations\b")

OUTSIDE_TRANSACTION = "safemigrations.E090"
BAD_DECISION = "safemigrations.E091"
BAD_VALUE = "safemigrations.E101"

_silent: ContextVar[bool] = ContextVar("safemigrations_silent", default=False)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """For commands that must work although a migration is unsafe."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


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


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """A key that doesn't exist, or a value that makes no sense."""
    value = getattr(settings, "SAFEMIGRATIONS", {})
    if not isinstance(value, dict):
        return [Error("SAFEMIGRATIONS must be a dictionary.", id="safemigrations.E100")]
    errors: list[CheckMessage] = [
        Error(
            f"SAFEMIGRATIONS has no key {key!r}.",
            hint=f"The keys are: {', '.join(sorted(conf.KEYS))}.",
            id="safemigrations.E100",
        )
        for key in value
        if key not in conf.KEYS
    ]
    for read in conf.readers():
        try:
            read()
        except ImproperlyConfigured as error:
            errors.append(Error(str(error), id=BAD_VALUE))
    return errors


def check_migrations(**kwargs: Any) -> list[CheckMessage]:
    if _silent.get() or any(error.id == BAD_VALUE for error in check_settings()):
        return []
    return [finding.as_error() for finding in findings()]


def labels() -> list[str]:
    """The apps that are checked: CHECK_APPS, or those that aren't installed packages."""
    chosen = conf.check_apps()
    if chosen is not None:
        return chosen
    packages = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    return [
        config.label
        for config in apps.get_app_configs()
        if not any(Path(config.path).resolve().is_relative_to(folder) for folder in packages)
        and config.name != "safemigrations"
    ]


def findings() -> list[LintFinding]:
    """All that is unsafe in migrations after the baseline, in the order of the graph."""
    suspected = [label for label in labels() if _is_suspected(label)]
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


def _is_suspected(label: str) -> bool:
    name, _ = MigrationLoader.migrations_module(label)
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError):
        return False
    baseline = conf.baseline().get(label, "")
    return any(
        SUSPECTS.search(text) or OURS_IN_A_TRANSACTION.match(text)
        for folder in (spec.submodule_search_locations if spec else None) or ()
        for path in Path(folder).glob("*.py")
        if path.stem > baseline
        for text in (path.read_text(errors="ignore"),)
    )


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


def install() -> None:
    register(check_settings)
    register(check_migrations)
    stock = makemigrations.Command.check

    def check(self: Any, *args: Any, **kwargs: Any) -> Any:
        # The command that writes the safe form must not be stopped by the unsafe one.
        with silenced():
            return stock(self, *args, **kwargs)

    if not hasattr(makemigrations.Command, "_checks_without_safemigrations"):
        set_on(makemigrations.Command, _checks_without_safemigrations=True, check=check)
