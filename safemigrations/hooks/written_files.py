"""makemigrations writes no file that can't be imported, and none that `migrate` would refuse."""

from __future__ import annotations

import traceback
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import makemigrations
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from ..checking.in_words import DoesNotFit, in_words
from ..checking.refused import refused_alone
from ..typed import set_on
from .writer import MigrationWriter


def refuse_unimportable(migration: Migration) -> None:
    """Raises DoesNotFit, with the line of the file."""
    writer: Any = MigrationWriter(migration)
    text, name = writer.as_string(), f"{migration.app_label}.{migration.name}"
    try:
        exec(compile(text, name, "exec"), {"__name__": name})
    except Exception as error:
        if writer.needs_manual_porting:
            return
        numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
        line = text.splitlines()[(numbers[-1] or 1) - 1].strip() if numbers else ""
        raise DoesNotFit(
            f"The file of {name} couldn't be imported: {line}\n{type(error).__name__}: {error}",
            "What deconstruct() of a field, an index or a constraint gives, the class that it names must take. Nothing "
            "was written.",
        ) from error


def refuse_clash(migration: Migration) -> None:
    """Raises CommandError if --update would put two changes into one file that need one name."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    state = loader.project_state([key for key in migration.dependencies if key in loader.graph.nodes])
    for _, why in refused_alone(migration, state, ()):
        raise CommandError(f"{why}\nmakemigrations wrote nothing. Without --update it writes the second one.")


def install() -> None:
    command: Any = makemigrations.Command
    if hasattr(command, "_stock_write_migration_files"):
        return
    write, execute = command.write_migration_files, command.execute

    def write_migration_files(self: Any, changes: Any, updated: Any = None) -> None:
        for migration in (one for migrations in changes.values() for one in migrations):
            refuse_unimportable(migration)
            if updated:
                refuse_clash(migration)
        write(self, changes, updated)

    def executed(self: Any, *args: Any, **options: Any) -> Any:
        with in_words():
            return execute(self, *args, **options)

    set_on(command, write_migration_files=write_migration_files, execute=executed, _stock_write_migration_files=write)
