"""The app: what has to be in place before a management command runs."""

from __future__ import annotations

from django.apps import AppConfig


class SafeMigrationsConfig(AppConfig):
    name = "safemigrations"
    verbose_name = "Zero-downtime migrations"

    def ready(self) -> None:
        # Not at the top: Django imports this module before any model may be loaded.
        from .checking import checks
        from .contracts import marks, quiet
        from .hooks import autodetector, executor, grouping, writer

        autodetector.install()
        executor.install()
        writer.install()
        checks.install()
        grouping.install()
        marks.install()
        quiet.install()
