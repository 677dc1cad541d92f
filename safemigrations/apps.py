"""The app: what has to be in place before a management command runs."""

from __future__ import annotations

import os
from typing import Any, cast

from django.apps import AppConfig

from .checking import checks
from .contracts import marks, quiet
from .hooks import autodetector, executor, grouping, one_command, writer, written_files
from .running import at_once

INSTALLED = (autodetector, executor, writer, written_files, checks, grouping, marks, quiet, one_command)
OF_A_REHEARSAL = "SAFEMIGRATIONS_REHEARSAL_TEMPLATES" in os.environ
if OF_A_REHEARSAL:
    from .rehearsing import borrowed  # of the project's own tests in a rehearsal, and of nobody else


class SafeMigrationsConfig(AppConfig):
    name = "safemigrations"
    verbose_name = "Zero-downtime migrations"

    def ready(self) -> None:
        for module in (*INSTALLED, *cast(Any, self.models_module).AT_READY):
            module.install()
        at_once.remember_names()
        if OF_A_REHEARSAL:
            borrowed.install()
