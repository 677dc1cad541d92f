"""The app: what has to be in place before a management command runs."""

from __future__ import annotations

import os

from django.apps import AppConfig, apps


class SafeMigrationsConfig(AppConfig):
    name = "safemigrations"
    verbose_name = "Zero-downtime migrations"

    def ready(self) -> None:
        # Not at the top: Django imports this module before any model may be loaded.
        from .checking import checks
        from .console import pushing
        from .contracts import marks, quiet
        from .hooks import autodetector, executor, grouping, writer, written_files
        from .running import at_once

        autodetector.install()
        executor.install()
        writer.install()
        written_files.install()
        checks.install()
        grouping.install()
        marks.install()
        quiet.install()
        pushing.install()
        at_once.remember_names()
        if apps.is_installed("django_tenants"):
            from .management.tenants import install

            install.install()
        if "SAFEMIGRATIONS_REHEARSAL_TEMPLATES" in os.environ:
            from .rehearsing import borrowed  # of the project's own tests in a rehearsal, and of nobody else

            borrowed.install()
