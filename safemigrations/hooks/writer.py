"""Writes migration files: bare names of our operations, `atomic = False` (Django 5.2 can't), and why it is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import makemigrations, squashmigrations
from django.db.migrations import Migration, writer
from django.db.migrations.operations.base import Operation

from ..operations.base import Change
from ..operations.written import PACKAGE, OperationWriter
from ..typed import set_on
from .autodetector import needs_a_transaction

LINE = 89  # of Black, which Django runs over the file where it is installed, and a line break
ATOMIC = "\n    atomic = False\n"
EMPTY = "    operations = [\n    ]\n"  # of makemigrations --empty; of --merge too, which has two dependencies
HINT = """\
        # To fill rows, import Backfill from safemigrations.operations, set atomic = False above, and write
        # Backfill("order", set={"region": F("country__code")}, where=Q(region=None)),
"""


def why_not_atomic(operations: Sequence[Operation]) -> str:
    """The reason for `atomic = False` that a reviewer reads."""
    reasons = {operation.takes_time for operation in operations if isinstance(operation, Change)} - {""}
    return " and ".join(sorted(reasons)) or "each step is a short transaction of its own"


class MigrationWriter(writer.MigrationWriter):
    def as_string(self) -> str:
        migration: Any = self.migration
        ours = any(isinstance(operation, Change) for operation in migration.operations)
        if ours:
            if not migration.replaces:
                refuse_mixture(migration)
            migration.atomic = False
        text = super().as_string()
        if not migration.atomic:
            text = _not_atomic(text, why_not_atomic(migration.operations) if ours else "")
        if not migration.operations and not migration.replaces and len(migration.dependencies) < 2:
            text = text.replace(EMPTY, f"    operations = [\n{HINT}    ]\n")
        return _with_merged_imports(text)


def refuse_mixture(migration: Migration) -> None:
    """A stock operation in a migration that isn't atomic can't be run again after a crash."""
    if stock := [operation for operation in migration.operations if needs_a_transaction(operation)]:
        raise CommandError(
            f"{migration.app_label}.{migration.name} can't hold both '{stock[0].describe()}', which needs a "
            "transaction, and operations that must run outside of one. Run makemigrations without --update: it writes "
            "a migration of its own."
        )


def _not_atomic(text: str, reason: str) -> str:
    if ATOMIC not in text:  # Django 5.2
        head, class_line, rest = text.partition("class Migration(migrations.Migration):\n")
        text = head + class_line + ATOMIC + rest
    return text.replace(ATOMIC, f"{ATOMIC[:-1]}  # {reason}\n", 1) if reason else text


def _with_merged_imports(text: str) -> str:
    """One line for all names of our package, sorted."""
    line = re.compile(rf"^from {re.escape(PACKAGE)} import (\w+)\n", re.MULTILINE)
    names = sorted(set(line.findall(text)))
    if len(names) < 2:
        return text
    merged = f"from {PACKAGE} import {', '.join(names)}\n"
    if len(merged) > LINE:
        listed = "".join(f"    {name},\n" for name in names)
        merged = f"from {PACKAGE} import (\n{listed})\n"
    first = line.search(text)
    assert first
    return text[: first.start()] + merged + line.sub("", text[first.start() :])


def install() -> None:
    set_on(writer, OperationWriter=OperationWriter)
    for module in (writer, makemigrations, squashmigrations):
        set_on(module, MigrationWriter=MigrationWriter)
