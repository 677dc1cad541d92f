"""migrate: expands the schema so that both releases work; `--contract` finishes when the old one has gone."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import migrate

from safemigrations.checking import checks
from safemigrations.management import arguments, json_lines
from safemigrations.management.interruptible import Interruptible
from safemigrations.management.migrating import Migrating


class Command(Interruptible, migrate.Command):
    """The options, and Django's own work, with ours around it (management/migrating.py)."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        arguments.add_to(parser)
        json_lines.add_argument(parser)

    def check(self, *args: Any, **kwargs: Any) -> None:
        """What has been merged must be deployable: unsafe migrations are for `check`, not for `migrate`."""
        with checks.silenced():
            super().check(*args, **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        self.verbosity = options["verbosity"]
        self.migrating = Migrating(self, options, lambda: super(Command, self).handle(*args, **options))
        self.migrating.run()

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        with self.migrating.progress(action):
            super().migration_progress_callback(action, migration, fake)
