"""Prints a line for each unsafe operation that a command is about to run and nobody has decided about."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.core.management.base import BaseCommand
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from safemigrations.checking import suspects
from safemigrations.checking.finding import LintFinding
from safemigrations.checking.findings import report
from safemigrations.checking.source import Source
from safemigrations.errors import to_type


def say_undecided(command: BaseCommand, connection: BaseDatabaseWrapper, applied: Collection[Migration]) -> None:
    """The command goes on: what has been merged must be deployable."""
    found = list(_undecided(applied)) if connection.vendor == "postgresql" else []
    for each in found:
        line = each.message.partition("\n")[0]
        said = f"Unsafe, and nobody has decided about it: {each.file}:{each.line}: {line} ({each.id})"
        command.stdout.write(command.style.WARNING(said))
    if found:
        command.stdout.write(f"What to write instead: {to_type('safemigrations lint', None)}")


def _undecided(migrations: Collection[Migration]) -> Iterator[LintFinding]:
    sources = {(migration.app_label, migration.name): Source.of(migration) for migration in migrations}
    files = {source.path.resolve() for source in sources.values() if suspects.mentions_suspects(source.text)}
    for finding in report(files).findings if files else ():
        if finding.level == "error" and (finding.app_label, finding.migration) in sources:
            yield finding
